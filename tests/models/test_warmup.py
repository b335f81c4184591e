"""The warm-up: the draw, scaled defaults, and Adam's state by the names of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import StoreRunner
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.store import Artifact, Store
from curate.models.chat import build_example
from curate.models.load import load_causal, load_tokenizer
from curate.models.lora import set_adapters
from curate.models.lora_values import WarmupTuning
from curate.models.training import linear_rate, training_rows
from curate.models.warmup import (
    adapt,
    checkpoint_shares,
    draw_rows,
    fill_in,
    load_adapted,
    read_checkpoint,
    read_warmup,
    warm_up,
    write_checkpoints,
)
from tests.conftest import row, stored_rows, turns
from tests.selectors.lossruns import ModelRun

TEXTS = [turns(f"What is {i} plus one?", f"It is {i + 1}.") for i in range(7)]
TUNING: WarmupTuning = {
    "epochs": 2, "rank": 4, "alpha": 8, "learning_rate": 1e-2, "batch_rows": 7,
    "targets": ["q_proj", "k_proj", "v_proj", "o_proj"],
}  # fmt: skip
LORA: dict[str, Any] = {"fraction": 0.05, **TUNING}
DEFAULTS = {**LORA, "rank": None, "alpha": None, "learning_rate": None, "batch_rows": None}


def checkpoints(
    store: Store,
    folder: Path,
    texts: Sequence[Any] = TEXTS,
    max_length: int = 96,
    **settings: Any,
) -> Artifact:
    rows = stored_rows(store, "pool", [row(f"r{i}", t) for i, t in enumerate(texts)])
    texts_read = training_rows([rows], [f"r{i}" for i in range(len(texts))])
    model = ModelSource({"dtype": "float32"}, folder)
    lora = {**LORA, **settings}
    return StoreRunner(store)(write_checkpoints, texts_read, lora, max_length, model, 3)


# --- the published recipe -------------------------------------------------------------------------


def test_mean_rates_of_the_epochs_are_the_published_weights() -> None:
    """Weights in the authors' README, for checkpoints 105, 211, 317 and 420 of a linear schedule."""
    published = [1.6877e-05, 1.2859e-05, 7.7030e-06, 2.5616e-06]
    rates = [2e-5 * linear_rate(step, 420, 13) for step in range(420)]
    for start, stop, rate in zip([0, 105, 211, 317], [105, 211, 317, 420], published, strict=True):
        assert np.mean(rates[start:stop]) == pytest.approx(rate, rel=0.01)


def test_at_the_published_size_the_defaults_are_the_published_ones() -> None:
    settings = fill_in(DEFAULTS, 4096, 13_534)
    assert (settings["rank"], settings["alpha"], settings["batch_rows"]) == (128, 512, 128)
    assert settings["learning_rate"] == 2e-5


@pytest.mark.parametrize(
    ("width", "rank"), [(64, 8), (256, 8), (576, 16), (960, 32), (2048, 64), (8192, 128)]
)
def test_smaller_models_get_smaller_ranks_and_larger_rates(width: int, rank: int) -> None:
    settings = fill_in(DEFAULTS, width, 1000)
    assert (settings["rank"], settings["alpha"]) == (rank, 4 * rank)
    assert settings["learning_rate"] == pytest.approx(2e-5 * 4096 / width)


@given(st.integers(1, 5000))
def test_an_epoch_has_sixteen_steps_where_there_are_as_many_rows(rows: int) -> None:
    batch = fill_in(DEFAULTS, 576, rows)["batch_rows"]
    assert 1 <= batch <= 128
    assert rows / batch >= min(rows, 16)


def test_what_is_given_is_taken() -> None:
    assert fill_in(TUNING, 4096, 1000) == TUNING


@given(st.integers(1, 3000), st.floats(0.001, 1), st.integers(0, 3))
def test_the_draw_is_a_share_that_depends_on_ids_and_seed_alone(
    count: int, fraction: float, seed: int
) -> None:
    ids = pl.Series([f"r{i}" for i in range(count)])
    drawn = draw_rows(ids, fraction, seed)
    assert len(drawn) == len(set(drawn)) == min(max(round(fraction * count), 64), count)
    assert set(drawn) <= set(ids)
    assert draw_rows(ids.reverse(), fraction, seed) == drawn


def test_another_seed_draws_other_rows() -> None:
    ids = pl.Series([f"r{i}" for i in range(2000)])
    one, two = (set(draw_rows(ids, 0.05, seed)) for seed in (0, 1))
    assert len(one) == 100
    assert len(one & two) < 20


# --- checkpoints ----------------------------------------------------------------------------------


def clipped_gradients(model: Any, folder: Path) -> Mapping[str, torch.Tensor]:
    """Return the gradient of the mean token loss over all rows, computed plainly, row by row."""
    tokenizer = load_tokenizer(folder)
    model.zero_grad()
    total, labels = torch.zeros(()), 0
    for messages in TEXTS:
        example = build_example(tokenizer, messages, 96)
        own = sum(token >= 0 for token in example.labels[1:])
        ids, targets = torch.tensor([example.ids]), torch.tensor([example.labels])
        total = total + model(input_ids=ids, labels=targets).loss * own
        labels += own
    torch.autograd.backward(total / labels)
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    norm = float(torch.cat([g.flatten() for g in gradients.values()]).norm())
    return {name: gradient / max(norm, 1.0) for name, gradient in gradients.items()}


def test_adams_state_belongs_to_the_parameter_of_its_name(store: Store, tiny: Path) -> None:
    """Two steps of Adam by hand: one whole batch an epoch."""
    warmup = checkpoints(store, tiny)
    one, two = read_checkpoint(warmup, 0), read_checkpoint(warmup, 1)
    model = adapt(load_causal(tiny, "float32"), TUNING, [3, 0x1E55])
    start = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    first = clipped_gradients(model, tiny)
    assert one.weight.keys() == one.exp_avg.keys() == one.exp_avg_sq.keys() == start.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(one.exp_avg[name], 0.1 * gradient, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(one.exp_avg_sq[name], 1e-3 * gradient**2, rtol=1e-2, atol=1e-9)
    set_adapters(model, one.weight)
    second = clipped_gradients(model, tiny)
    assert any(g.abs().max() > 1e-4 for n, g in second.items() if "lora_A" in n)
    for name, gradient in second.items():
        m = 0.9 * one.exp_avg[name] + 0.1 * gradient
        torch.testing.assert_close(two.exp_avg[name], m, rtol=1e-3, atol=1e-6)
        v = 0.999 * one.exp_avg_sq[name] + 1e-3 * gradient**2
        torch.testing.assert_close(two.exp_avg_sq[name], v, rtol=1e-2, atol=1e-9)
    assert (one.steps, two.steps) == (1, 2)
    drawn = [name for name in start if "lora_A" in name]
    assert all(torch.equal(one.weight[name], start[name]) for name in drawn), "no gradient yet"


def test_each_epoch_leaves_its_steps_and_mean_rate(store: Store, tiny: Path) -> None:
    warmup = checkpoints(store, tiny, epochs=3, batch_rows=2)
    rates = [1e-2 * linear_rate(step, 12, 1) for step in range(12)]
    epochs = read_warmup(warmup)["checkpoints"]
    assert [t["steps"] for t in epochs] == [4, 8, 12]
    means = [np.mean(rates[i : i + 4]) for i in (0, 4, 8)]
    assert [t["rate"] for t in epochs] == pytest.approx(means)
    assert checkpoint_shares(warmup) == pytest.approx(means / np.sum(means))
    assert warmup.counts["rows_out"] == 7
    assert warmup.counts["lora"]["rank"] == 4


def test_rows_without_a_response_within_the_limit_are_left_out(store: Store, tiny: Path) -> None:
    long = turns("word " * 60, "too far")
    warmup = checkpoints(store, tiny, [*TEXTS, long], batch_rows=1)
    assert (warmup.counts["rows_in"], warmup.counts["rows_out"]) == (8, 7)
    assert read_warmup(warmup)["checkpoints"][0]["steps"] == 7
    with pytest.raises(
        UserError, match=r"none of its 1 rows .* within 96 tokens; raise select\.max"
    ):
        checkpoints(store, tiny, [long])


def test_the_same_warm_up_gives_the_same_bytes(tmp_path: Path, tiny: Path) -> None:
    one, two = (checkpoints(Store(tmp_path / name), tiny) for name in "ab")
    assert one.digest == two.digest


def test_a_loss_that_is_not_finite_stops_the_warm_up(store: Store, tiny: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"lower select\.warmup\.learning_rate"):
        checkpoints(store, tiny, learning_rate=1e30, epochs=4)


def test_adapters_are_set_by_name_and_shape(store: Store, tiny: Path) -> None:
    warmup = checkpoints(store, tiny)
    model = load_adapted(warmup, ModelSource({"dtype": "float32"}, tiny))
    assert not model.training
    weights = dict(reversed(list(read_checkpoint(warmup, 1).weight.items())))
    set_adapters(model, weights)
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters() if "lora_" in n)
    name = next(iter(weights))
    with pytest.raises(ValueError, match="adapters differ"):
        set_adapters(model, {n: w for n, w in weights.items() if n != name})
    with pytest.raises(ValueError, match="is not"):
        set_adapters(model, {**weights, name: weights[name].T.contiguous()})


# --- models that are refused ----------------------------------------------------------------------


def test_a_model_that_carries_adapters_is_refused(tiny: Path) -> None:
    model = load_causal(tiny, "float32")
    adapt(model, TUNING, [0])
    with pytest.raises(UserError, match="carries adapters of its own; merge them"):
        adapt(model, TUNING, [0])


def test_a_model_without_such_layers_is_told_the_names_it_has(tiny: Path) -> None:
    with pytest.raises(
        UserError, match=r"no layer named c_attn, wq; .*targets.* down_proj, .*q_proj"
    ):
        adapt(load_causal(tiny, "float32"), {**TUNING, "targets": ["q_proj", "c_attn", "wq"]}, [0])


# --- the key --------------------------------------------------------------------------------------


def key(run: ModelRun, max_length: int = 64, **settings: Any) -> str:
    run.skipped, run.calls = ["less-warmup"], []
    warm_up(run, {**LORA, **settings}, max_length)
    (own,) = run.keys("less-warmup")
    return own


def test_the_key_follows_texts_seed_model_and_settings(store: Store, tiny: Path) -> None:
    texts = [turns(f"q{i}", f"a{i}") for i in range(5)]
    run = ModelRun(store, folder=tiny, texts=texts)
    other = ModelRun(store, folder=tiny, texts=[*texts[:4], turns("q", "a")])
    fewer = ModelRun(store, folder=tiny, texts=texts, kept_positions=[0, 1, 2, 3])
    seeded = ModelRun(store, seed=1, folder=tiny, texts=texts)
    rough = ModelRun(store, folder=tiny, texts=texts, dtype="bfloat16")
    keys = [key(some) for some in (run, other, fewer, seeded, rough)]
    keys += [key(run, 65), key(run, rank=8), key(run, targets=["q_proj"])]
    assert len(set(keys)) == len(keys)
    assert key(run, fraction=0.2) == key(run), "the same rows are drawn"
    assert key(ModelRun(store, folder=tiny, texts=texts)) == key(run)
