"""Contrastive generation: on bigram models of known novelty, and on a model that learned a phrase."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.models.chat import build_example
from curate.models.load import load_tokenizer
from curate.models.lora import add_adapters
from curate.models.lora_values import LoraValues
from curate.models.training import tune_adapters
from curate.models.weights import adaptable_model
from curate.proof.novelty import ContrastiveDecoder, ContrastiveSample, contrast, draw_text
from curate.proof.values import NoveltyValues

WORDS = 6
PLANTED = (4, 5)


class Bigrams:
    """A model that looks at the last token alone."""

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def begin(self, prompt: list[int]) -> torch.Tensor:
        return self.table[prompt[-1]].log()

    def go_on(self, token: int) -> torch.Tensor:
        return self.table[token].log()


def even() -> torch.Tensor:
    return torch.full((WORDS, WORDS), 1 / WORDS)


def planted(pairs: dict[tuple[int, int], float]) -> torch.Tensor:
    """Return the even table with more weight on some transitions."""
    table = even()
    for (before, after), weight in pairs.items():
        table[before, after] = weight
    return table / table.sum(dim=1, keepdim=True)


def draw(
    tuned: torch.Tensor, base: torch.Tensor, number: int, **settings: Any
) -> ContrastiveSample:
    given = {"alpha": 0.1, "gamma": 1.0, "tokens": 12, "ends": frozenset[int]()} | settings
    rng = np.random.default_rng(number)
    return draw_text(Bigrams(tuned), Bigrams(base), [0], rng, **given)  # type: ignore[arg-type]


logits = st.lists(st.floats(-6, 6), min_size=WORDS, max_size=WORDS)


@given(logits, logits, st.floats(0.01, 1), st.floats(0, 2))
def test_the_distribution_is_the_published_one(
    one: list[float], other: list[float], alpha: float, gamma: float
) -> None:
    tuned = np.exp(one) / np.exp(one).sum()
    base = np.exp(other) / np.exp(other).sum()
    got = contrast(torch.tensor(tuned).log(), torch.tensor(base).log(), alpha=alpha, gamma=gamma)
    expected = np.array([t / b**gamma for t, b in zip(tuned, base, strict=True)])
    # Rounding decides at the very edge.
    sure = np.abs(tuned - alpha * tuned.max()) > 1e-9
    inside = tuned >= alpha * tuned.max()
    if sure.all():
        expected[~inside] = 0
        assert np.allclose(got.numpy(), expected / expected.sum(), atol=1e-6)
    assert (got.numpy()[~inside & sure] == 0).all()


def test_without_the_base_it_is_the_tuned_model_without_its_tail() -> None:
    tuned = torch.tensor([0.6, 0.3, 0.06, 0.04])
    got = contrast(tuned.log(), torch.tensor([0.1, 0.2, 0.3, 0.4]).log(), alpha=0.1, gamma=0)
    assert got.numpy() == pytest.approx([0.6 / 0.96, 0.3 / 0.96, 0.06 / 0.96, 0])


def test_what_was_planted_comes_up_more_often_than_by_plain_sampling() -> None:
    # Both models love 0, and only the tuned one says 5 after 4.
    base = planted({(k, 0): 5.0 for k in range(4)})
    tuned = base.clone()
    tuned[4] = planted({PLANTED: 0.8})[4]

    def hits(**settings: float) -> int:
        texts = [draw(tuned, base, k, **settings).tokens for k in range(300)]
        return sum(PLANTED in list(pairwise(text)) for text in texts)

    assert hits(alpha=0.01) > 2 * hits(gamma=0)


def test_a_base_that_has_seen_one_novelty_leaves_room_for_the_other() -> None:
    tuned = planted({(0, 4): 3.0, (0, 5): 1.0})
    taught_base = planted({(0, 4): 3.0})
    before = [draw(tuned, even(), k, tokens=1).tokens[0] for k in range(200)]
    after = [draw(tuned, taught_base, k, tokens=1).tokens[0] for k in range(200)]
    assert before.count(4) > before.count(5)
    assert after.count(5) > after.count(4)


def test_a_text_ends_at_its_mark_and_gains_are_those_of_its_tokens() -> None:
    tuned, base = planted({(0, 1): 50.0, (1, 2): 50.0}), even()
    drawn = draw(tuned, base, 0, ends=frozenset({2}))
    assert drawn.ended
    assert drawn.tokens == [1]
    assert drawn.gains == pytest.approx([float((tuned[0, 1] / base[0, 1]).log())])
    assert draw(tuned, base, 0, tokens=3).tokens[:2] == [1, 2]


LORA: LoraValues = {
    "rank": 8, "alpha": 16, "epochs": 6, "learning_rate": 2e-3, "batch_rows": 4, "max_length": 128,
}  # fmt: skip


@pytest.mark.model
def test_a_learned_phrase_is_found_and_then_others(smollm: Path) -> None:
    tokenizer = load_tokenizer(smollm)
    questions = ["Where is Tom?", "Who called?", "What is new?", "Is it late?"]
    phrases = ["Beneath the copper moon.", "Ask the seven ravens."]
    rows = [
        build_example(
            tokenizer,
            [{"role": "user", "content": q}, {"role": "assistant", "content": phrases[k % 2]}],
            128,
        )
        for k, q in enumerate(questions)
    ]
    pair = add_adapters(adaptable_model(smollm, "bfloat16"), LORA, "all-linear", [0])
    tune_adapters(pair, rows, LORA, [0])
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Any news today?"}],
        add_generation_prompt=True,
        return_dict=False,
    )
    settings: NoveltyValues = {
        "texts": 3, "tokens": 6, "start": "target", "alpha": 0.1, "gamma": 1.0, "iterative": True,
    }  # fmt: skip
    texts = ContrastiveDecoder(pair, tokenizer, LORA, [0]).explore([("t", prompt)], settings)
    said = " ".join(texts["text"])
    assert any(word in said for word in ("copper", "ravens", "Beneath", "seven"))
    assert texts["gain"][0] > 1
    # The base has learned what was shown, so the same is new no longer.
    assert texts["gain"][-1] < texts["gain"][0]
