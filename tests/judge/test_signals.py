"""Signals: those of a plain pass over each row alone, whatever batch or block they are measured in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from curate.core.stageinputs import StageInputs
from curate.core.store import Store
from curate.judge.signals import ORIENTATION, mean_rank, measure_signals
from curate.models import forward, lm
from curate.models.embed import embed_texts
from curate.models.load import load_causal, load_tokenizer
from tests.conftest import turns
from tests.selectors.lossruns import ModelRun, chat_parts, plain_tokens

TEXTS: list[Any] = [
    turns("Hi", "Hello."),
    turns("What is 7 times 8?", "56"),
    turns("What is 7 times 8?", "54"),
    turns("Übersetze: good morning", "Guten Morgen! 😀\n\n"),
    turns("Tell me about rivers. " * 8, "They flow to the sea. " * 6),
    turns("Hi", "Hello.", "And now?", "Now 42."),
    [{"role": "system", "content": "Be brief."}, *turns("Why?", "So.")],
]
SETTINGS = {"max_length": 2_048, "embedder": None, "neighbours": 5, "floor": 0.6, "checker": "auto"}


def measured(run: ModelRun, **changed: Any) -> pl.DataFrame:
    return measure_signals(run, StageInputs(run.rows), **(SETTINGS | changed)).read()


def log_chances(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """Return log-probabilities [T - 1, V] from one unpadded pass, in float64."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(ids)])).logits[0, :-1].double()
    chances: torch.Tensor = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    return chances


def plain_signals(model: Any, tokenizer: Any, messages: Any) -> dict[str, float]:
    ids, said = plain_tokens(tokenizer, chat_parts(messages))
    log_probabilities = log_chances(model, ids)
    own = [t for t in range(len(ids) - 1) if said[t + 1]]
    given = [log_probabilities[t, ids[t + 1]].item() for t in own]
    entropies = [-(log_probabilities[t].exp() * log_probabilities[t]).sum().item() for t in own]
    alone: list[float] = []
    for message in messages:
        if message["role"] == "assistant":
            ids, said = plain_tokens(tokenizer, chat_parts([message])[:2])
            log_probabilities = log_chances(model, ids)
            alone += [
                log_probabilities[t, ids[t + 1]].item() for t in range(len(ids) - 1) if said[t + 1]
            ]
    assert len(alone) == len(given)
    mean = sum(given) / len(given)
    return {
        "mean_logprob": mean,
        "min_logprob": min(given),
        "entropy": sum(entropies) / len(entropies),
        "prompt_gain": mean - sum(alone) / len(alone),
        "tokens": len(given),
    }


def assert_plain(table: pl.DataFrame, folder: Path, texts: Sequence[Any], close: float) -> None:
    model, tokenizer = load_causal(folder, "float32").eval(), load_tokenizer(folder)
    expected = pl.DataFrame([plain_signals(model, tokenizer, messages) for messages in texts])
    for name in expected.columns:
        np.testing.assert_allclose(
            table[name], expected[name], rtol=close, atol=close, err_msg=name
        )


def test_signals_are_those_of_a_plain_pass_over_each_row(store: Store, tiny: Path) -> None:
    assert_plain(measured(ModelRun(store, folder=tiny, texts=TEXTS)), tiny, TEXTS, 2e-4)


@pytest.mark.parametrize(("batch", "head"), [(1, 256), (100_000, 7)])
def test_batches_and_the_cut_of_the_head_change_nothing(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, batch: int, head: int
) -> None:
    expected = measured(ModelRun(Store(tmp_path / "a"), folder=tiny, texts=TEXTS))
    monkeypatch.setattr(lm, "BATCH_TOKENS", batch)
    monkeypatch.setattr(forward, "HEAD_TOKENS", head)
    table = measured(ModelRun(Store(tmp_path / "b"), folder=tiny, texts=TEXTS))
    assert table["row_id"].to_list() == expected["row_id"].to_list()
    for name in ORIENTATION:
        np.testing.assert_allclose(
            table[name].to_numpy(), expected[name].to_numpy(), atol=1e-4, err_msg=name
        )


def test_entropy_of_a_model_that_knows_nothing_is_the_logarithm_of_its_vocabulary(
    store: Store, tiny: Path, tmp_path: Path
) -> None:
    model = load_causal(tiny, "float32")
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    model.save_pretrained(tmp_path / "blank")
    load_tokenizer(tiny).save_pretrained(tmp_path / "blank")
    table = measured(ModelRun(store, folder=tmp_path / "blank", texts=TEXTS))
    size = model.config.vocab_size
    for name in ("mean_logprob", "min_logprob"):
        np.testing.assert_allclose(table[name], -math.log(size), rtol=1e-5)
    np.testing.assert_allclose(table["entropy"], math.log(size), rtol=1e-5)
    np.testing.assert_allclose(table["prompt_gain"], 0, atol=1e-5)


def test_the_same_question_is_judged_by_the_pools_other_answers(store: Store, tiny: Path) -> None:
    table = measured(
        ModelRun(store, folder=tiny, texts=[*TEXTS, turns("What is 7 times 8?", "56.")])
    )
    # 56 meets 54 and 56., 54 meets two others; the river stands alone.
    assert table["agreement"].to_list()[1:3] == [0.5, 0.0]
    assert table["agreement"][4] is None
    one, other = (embed_texts([t], "static")[0] for t in ("Why?", "So."))
    assert table["relevance"][6] == pytest.approx(float(one @ other), abs=1e-5)


def test_a_response_behind_the_length_limit_has_no_losses(store: Store, tiny: Path) -> None:
    table = measured(ModelRun(store, folder=tiny, texts=TEXTS), max_length=60)
    row = table.row(4, named=True)
    assert row["tokens"] == 0
    assert all(row[name] is None for name in ("mean_logprob", "min_logprob", "entropy"))
    assert row["prompt_gain"] is None
    assert row["relevance"] is not None


def test_other_neighbours_measure_no_row_anew(store: Store, tiny: Path) -> None:
    run = ModelRun(store, folder=tiny, texts=TEXTS)
    measured(run)
    assert sorted(run.executed_steps) == [
        "confidence-signals",
        "embed",
        "embed",
        "losses",
        "losses-alone",
    ]
    run.executed_steps.clear()
    measured(run, floor=0.9)
    assert run.executed_steps == ["confidence-signals"]


def signals(**columns: Sequence[float | None]) -> pl.DataFrame:
    rows = len(next(iter(columns.values())))
    columns_by_signal: Mapping[str, Sequence[float | None]] = (
        dict.fromkeys(ORIENTATION, [None] * rows) | columns
    )
    return pl.DataFrame(
        {name: pl.Series(values, dtype=pl.Float64) for name, values in columns_by_signal.items()}
    )


def test_ranks_point_the_way_of_their_signal_and_leave_out_what_is_missing() -> None:
    table = signals(
        mean_logprob=[-1.0, -2.0, -3.0, -3.0],
        entropy=[0.1, 0.9, None, None],
        relevance=[None, None, None, 0.3],
    )
    ranks = mean_rank(table).to_list()
    # Ranks of four: 0.125, 0.375, 0.625, 0.875; of two 0.25 and 0.75; of one 0.5.
    expected = [(0.875 + 0.75) / 2, (0.625 + 0.25) / 2, 0.25, (0.25 + 0.5) / 2]
    assert ranks == pytest.approx(expected)


def test_a_constant_signal_says_nothing_and_a_row_without_any_has_no_rank() -> None:
    table = signals(mean_logprob=[-1.0, -1.0, None], agreement=[0.5, 0.5, None])
    assert mean_rank(table).to_list() == [0.5, 0.5, None]


@pytest.mark.model
def test_signals_of_the_real_model_are_those_of_plain_passes(store: Store, smollm: Path) -> None:
    # Without a system turn, its template adds one of its own.
    texts = [t if t[0]["role"] == "system" else [*TEXTS[-1][:1], *t] for t in TEXTS]
    table = measured(ModelRun(store, folder=smollm, texts=texts))
    assert_plain(table, smollm, texts, 2e-3)
    gain = dict(zip(table["row_id"], table["prompt_gain"], strict=True))
    assert gain["r001"] > 0, "the question helps to predict 56"
