"""The loss of DPO and its gradient: by hand, by autograd, and as TRL's own trainer has them."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from curate.models import dpo
from curate.models.chat import IGNORED, TokenizedExample
from curate.models.dpo import (
    ReferencedPair,
    accumulate_preferences,
    answer_likelihoods,
    preference_losses,
)
from curate.models.head import split_model
from curate.models.load import load_causal, load_tokenizer
from curate.models.lora import add_adapters
from curate.models.lora_values import LoraValues
from curate.models.preferences import UNPAIRED, Preference, TokenizedPair, build_pairs
from curate.models.training import tune_by
from tests.conftest import turns, write_tiny_model

BETA = 0.3
TEXTS = [
    ("What is 2 + 2?", "It is 4.", "It is 5, since two and two make five."),
    ("Name a colour.", "Red.", "Tin."),
    ("Hi", "Hello there, how are you?", "x"),
    ("Say a.", "a", "b"),
    ("Spell cat, please, letter by letter.", "c, a, t", "d, o, g"),
]


def pairs_of(folder: Path) -> list[TokenizedPair]:
    preferences = [Preference(turns(p, good), turns(p, bad)) for p, good, bad in TEXTS]
    return build_pairs(load_tokenizer(folder), preferences, 200)


def model_of(folder: Path) -> Any:
    return load_causal(folder, "float32").eval()


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model than the reference, so that margins differ."""
    return write_tiny_model(tmp_path_factory.mktemp("policy"), seed=1)


def margins(model: Any, pairs: list[TokenizedPair]) -> list[float]:
    likelihoods = answer_likelihoods(model, pairs)
    return [float(margin) for margin in likelihoods[:, 0] - likelihoods[:, 1]]


def referenced(folder: Path, pairs: list[TokenizedPair]) -> list[ReferencedPair]:
    return list(map(ReferencedPair, pairs, margins(model_of(folder), pairs)))


# --- values -------------------------------------------------------------------------------------


def test_losses_by_hand() -> None:
    """A gain of ln(3) / beta makes the chosen answer three times as likely to be preferred."""
    gains = np.array([0.0, log(3) / 0.1, -log(3) / 0.1])
    expected = [log(2), log(4 / 3), log(4)]
    assert preference_losses(gains, 0.1).tolist() == pytest.approx(expected)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5), st.floats(0.01, 2))
def test_a_loss_is_below_log_2_where_the_chosen_answer_gained(
    gains: list[float], beta: float
) -> None:
    losses = preference_losses(np.array(gains), beta)
    for gain, loss in zip(gains, losses, strict=True):
        assert np.isfinite(loss)
        assert loss >= 0
        assert (loss < log(2)) <= (gain > 0)
        assert (loss > log(2)) <= (gain < 0)


def test_likelihoods_are_sums_over_the_answers_tokens(tiny: Path) -> None:
    model, pairs = model_of(tiny), pairs_of(tiny)
    likelihoods = answer_likelihoods(model, [*pairs, UNPAIRED])
    assert np.isnan(likelihoods[-1]).all()
    for pair, (chosen, rejected) in zip(pairs, likelihoods, strict=False):
        for example, expected in ((pair.chosen, chosen), (pair.rejected, rejected)):
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([example.ids])).logits[0]
            tokens = logits.log_softmax(dim=1)
            labels = enumerate(example.labels[1:])
            total = sum(float(tokens[i, t]) for i, t in labels if t != IGNORED)
            assert total == pytest.approx(expected, abs=1e-4)


# --- gradients ----------------------------------------------------------------------------------


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def own_gradients(folder: Path, batch: list[ReferencedPair]) -> tuple[float, Any]:
    model = model_of(folder)
    loss = accumulate_preferences(split_model(model), batch, BETA)
    assert loss is not None
    return loss, gradients(model)


def assert_close(one: Any, other: Any, tolerance: float = 1e-6) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], atol=tolerance, rtol=1e-4)


def test_the_loss_is_that_of_the_margins(tiny: Path, policy: Path) -> None:
    pairs = pairs_of(tiny)
    batch = referenced(tiny, pairs)
    loss, _ = own_gradients(policy, batch)
    gains = np.array(margins(model_of(policy), pairs)) - [row.reference for row in batch]
    assert np.abs(gains).max() > 0.5, "the models hardly differ"
    assert loss == pytest.approx(preference_losses(gains, BETA).mean(), abs=1e-6)


def test_parts_of_a_batch_and_slices_of_the_head_make_the_same_gradient(
    tiny: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = referenced(tiny, pairs_of(tiny))
    loss, whole = own_gradients(policy, batch)
    monkeypatch.setattr(dpo, "TRAINING_TOKENS", 1)
    monkeypatch.setattr(dpo, "HEAD_TOKENS", 3)
    again, parts = own_gradients(policy, [*batch, ReferencedPair(UNPAIRED, float("nan"))])
    assert again == pytest.approx(loss, abs=1e-6)
    assert_close(parts, whole)


def test_a_batch_without_a_pair_has_no_gradient(tiny: Path) -> None:
    model = model_of(tiny)
    assert accumulate_preferences(split_model(model), [ReferencedPair(UNPAIRED, 0.0)], 0.1) is None
    assert not gradients(model)


# --- TRL ----------------------------------------------------------------------------------------


def trl_ids(pair: TokenizedPair) -> dict[str, list[int]]:
    """Return the pair as TRL has it: the prompt's tokens, and both answers up to the last label."""

    def split(example: TokenizedExample) -> tuple[list[int], list[int]]:
        places = [i for i, token in enumerate(example.labels) if token != IGNORED]
        return example.ids[: places[0]], example.ids[places[0] : places[-1] + 1]

    (prompt, chosen), (_, rejected) = split(pair.chosen), split(pair.rejected)
    return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}


def trainer_of(model: Any, folder: Path, out: Path, reference: Any = None, **arguments: Any) -> Any:
    """Return TRL's trainer on the pairs, tokenised as the proof does."""
    trl = pytest.importorskip("trl", reason="TRL is not installed: the extra `trl` brings it")
    arguments = {"max_steps": 1, "beta": BETA, "max_length": None, **arguments}
    records = [
        {name: [turn] for name, turn in zip(("prompt", "chosen", "rejected"), parts, strict=True)}
        for parts in ((*turns(prompt, good), turns("", bad)[1]) for prompt, good, bad in TEXTS)
    ]
    trainer = trl.DPOTrainer(
        model=model,
        ref_model=reference,
        args=trl.DPOConfig(
            output_dir=str(out), use_cpu=True, bf16=False, report_to="none", **arguments
        ),
        train_dataset=Dataset.from_list(records),
        processing_class=load_tokenizer(folder),
    )
    trainer.train_dataset = Dataset.from_list(list(map(trl_ids, pairs_of(folder))))
    return trainer


def test_loss_and_gradient_are_those_of_trl(tiny: Path, policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(model_of(policy), tiny, tmp_path, model_of(tiny))
    inputs = trainer.data_collator(list(trainer.train_dataset))
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    own, own_gradient = own_gradients(policy, referenced(tiny, pairs_of(tiny)))
    assert own == pytest.approx(loss.item(), abs=1e-5)
    assert abs(own - log(2)) > 0.01
    theirs = gradients(trainer.model)
    # Adapters are beside every linear layer but the head, which is never trained.
    del theirs["lm_head.weight"]
    assert_close(own_gradient, theirs, 1e-5)


def test_a_step_is_that_of_trl(tiny: Path, tmp_path: Path) -> None:
    lora: LoraValues = {
        "rank": 4, "alpha": 8, "epochs": 1, "learning_rate": 1e-2, "batch_rows": 5, "max_length": 200,
    }  # fmt: skip
    own, other = (
        add_adapters(load_causal(tiny, "float32"), lora, "all-linear", [0]) for _ in range(2)
    )
    before = {n: p.detach().clone() for n, p in own.named_parameters() if p.requires_grad}
    trainer = trainer_of(
        other, tiny, tmp_path, learning_rate=1e-2, per_device_train_batch_size=5, weight_decay=0.0
    )
    trained = trainer.train()

    def accumulate(model: Any, batch: Any) -> float | None:
        return accumulate_preferences(model, batch, BETA)

    losses = tune_by(own, referenced(tiny, pairs_of(tiny)), lora, [0], accumulate)
    assert losses == pytest.approx([log(2)], abs=1e-5)
    assert trained.training_loss == pytest.approx(log(2), abs=1e-5)
    after = {n: p for n, p in trainer.model.named_parameters() if n in before}
    assert after.keys() == before.keys()
    moved = 0.0
    for name, weight in own.named_parameters():
        if name in before:
            torch.testing.assert_close(after[name], weight, atol=1e-4, rtol=0)
            moved = max(moved, float((weight.detach() - before[name]).abs().max()))
    assert moved > 5e-3
