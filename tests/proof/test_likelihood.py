"""Log-likelihoods of options: those of single rows, and what is made of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.models.chat import IGNORED, TokenizedExample
from curate.models.head import SplitModel, split_model
from curate.proof.likelihood import log_likelihoods, score_options
from tests.models.test_finetune import model_of

PROMPT = [5, 6, 7, 8, 9, 10]
OPTIONS = [[11], [11, 12, 13], [14, 15], [11, 12]]


def rows(prompt: list[int], options: list[list[int]]) -> list[TokenizedExample]:
    return [TokenizedExample(prompt + o, [IGNORED] * len(prompt) + o) for o in options]


def alone(model: Any, row: TokenizedExample) -> float:
    with torch.inference_mode():
        logs = model(input_ids=torch.tensor([row.ids])).logits[0].double().log_softmax(dim=-1)
    return sum(float(logs[i - 1, label]) for i, label in enumerate(row.labels) if label != IGNORED)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("batch", [1, 20, 10_000])
def test_options_read_behind_a_shared_context_are_as_likely_as_by_themselves(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, batch: int, whole: bool
) -> None:
    monkeypatch.setattr("curate.proof.likelihood.BATCH_TOKENS", batch)
    model = model_of(tiny)
    split = SplitModel(model, None) if whole else split_model(model)
    for prompt in (PROMPT, PROMPT[:1]):
        options = rows(prompt, OPTIONS)
        assert log_likelihoods(split, options) == pytest.approx(
            [alone(model, row) for row in options], abs=1e-4
        )


def test_contexts_that_differ_are_not_shared(tiny: Path) -> None:
    model = model_of(tiny)
    options = [*rows([5, 6, 7], [[11, 12]]), *rows([5, 9, 7, 4], [[11, 12]])]
    sums = log_likelihoods(split_model(model), options)
    assert sums == pytest.approx([alone(model, row) for row in options], abs=1e-4)


def test_the_context_is_read_once(tiny: Path) -> None:
    model = model_of(tiny)
    split, lengths = split_model(model), []
    hook = model.base_model.register_forward_pre_hook(
        lambda _, __, kwargs: lengths.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    log_likelihoods(split, rows(PROMPT, OPTIONS))
    hook.remove()
    assert lengths == [(1, len(PROMPT) - 1), (4, 4)]


def test_the_margin_and_the_two_accuracies() -> None:
    scores = score_options([-2.0, -3.0], [1, 3], [2, 9], 1)
    assert scores.gold_margin == pytest.approx(-1.0 - math.log(math.exp(-2) + math.exp(-1)))
    assert (scores.accuracy, scores.raw_accuracy) == (True, False)


def test_options_that_are_equally_likely_are_no_hit() -> None:
    scores = score_options([-2.0, -2.0], [1, 1], [1, 1], 0)
    assert (scores.accuracy, scores.raw_accuracy) == (False, False)
    assert scores.gold_margin == pytest.approx(-math.log(2))


@given(st.lists(st.floats(-300, 0), min_size=2, max_size=8), st.data())
def test_a_margin_is_the_log_of_a_share(likelihoods: list[float], data: st.DataObject) -> None:
    ones = [1] * len(likelihoods)
    margins = [score_options(likelihoods, ones, ones, i).gold_margin for i in range(len(ones))]
    assert sum(map(math.exp, margins)) == pytest.approx(1)
    best = max(likelihoods)
    i = data.draw(st.integers(0, len(ones) - 1))
    assert score_options(likelihoods, ones, ones, i).accuracy == (
        likelihoods[i] == best and likelihoods.count(best) == 1
    )
