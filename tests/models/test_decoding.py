"""Greedy decoding in batches: the same text as one by one, to the end marker or the limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.models import decoding
from curate.models.decoding import greedy_answers
from curate.models.load import load_causal
from tests.conftest import examples

PROMPTS = st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=40), min_size=1, max_size=6)


def plain_greedy(model: torch.nn.Module, prompt: list[int], limit: int) -> list[int]:
    """Return greedy tokens by whole passes, without cache, padding or batch."""
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(limit):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.fixture(scope="module")
def model(tiny: Path) -> torch.nn.Module:
    model: torch.nn.Module = load_causal(tiny, "float32")
    return model.eval()


@examples(0.4)
@given(prompts=PROMPTS)
def test_a_batch_is_answered_as_each_prompt_alone(
    model: torch.nn.Module, prompts: list[list[int]]
) -> None:
    limits = [3 + 2 * k for k in range(len(prompts))]
    answers = greedy_answers(model, prompts, limits, frozenset())
    expected = [plain_greedy(model, p, n) for p, n in zip(prompts, limits, strict=True)]
    assert [answer.tokens for answer in answers] == expected
    assert all(answer.cut for answer in answers)


def test_an_answer_ends_with_its_end_marker(model: torch.nn.Module) -> None:
    prompts = [[5, 6, 7], [9] * 12, [200, 3]]
    whole = [plain_greedy(model, prompt, 12) for prompt in prompts]
    end = whole[0][4]
    answers = greedy_answers(model, prompts, [12] * 3, frozenset({end}))
    for tokens, answer in zip(whole, answers, strict=True):
        stop = tokens.index(end) + 1 if end in tokens else 12
        assert answer.tokens == tokens[:stop]
        assert answer.cut == (end not in tokens)


def test_the_size_of_batches_changes_no_answer(
    model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 256, rng.integers(1, 60)).tolist() for _ in range(12)]
    whole = greedy_answers(model, prompts, [20] * 12, frozenset({7}))
    monkeypatch.setattr(decoding, "BATCH_TOKENS", 100)
    assert greedy_answers(model, prompts, [20] * 12, frozenset({7})) == whole
