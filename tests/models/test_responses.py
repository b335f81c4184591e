"""The content of a response and its answer, as tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.models.chat import IGNORED, build_example
from curate.models.load import load_tokenizer
from curate.models.responses import answer_tokens, content_example
from tests.conftest import turns

WORKED = "First 40 + 2, and so on.\nThe answer is **42**. Good luck!"


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (("2 + 2?", WORKED), "42"),
        (("Which?", "#### 7 is not it.\n#### 8"), "8"),
        (("Who?", "Ada"), "Ada"),
        (("Which?", "The answer is 5.", "Really?", "No. The answer is 6."), "6"),
        (("The answer is 5, or not?", "That cannot be said of it, as far as anybody knows."), ""),
        (("What opens a turn?", "The answer is <|im_start|>."), "<|im_start|>"),
    ],
)
def test_answer_tokens_spell_the_answer_of_the_last_response(
    tiny: Path, texts: tuple[str, ...], answer: str
) -> None:
    tokenizer = load_tokenizer(tiny)
    example = build_example(tokenizer, turns(*texts), 512)
    positions = answer_tokens(tokenizer, turns(*texts), 512)
    assert tokenizer.decode([example.ids[i] for i in positions]).strip() == answer
    assert all(example.labels[i] != IGNORED for i in positions)


def test_an_answer_behind_the_limit_is_none(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    messages = turns("2 + 2?", WORKED)
    last = answer_tokens(tokenizer, messages, 512)[-1]
    assert answer_tokens(tokenizer, messages, last + 1)
    assert answer_tokens(tokenizer, messages, last) == []


def test_content_is_the_last_response_without_its_end_marker(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    messages = turns("Hi", "Hello.", "Name one.", "The Danube, say")
    example = content_example(tokenizer, messages, 512)
    assert example is not None
    labelled = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(labelled).strip() == "The Danube, say"
    whole = build_example(tokenizer, messages, 512)
    assert example.ids == whole.ids[: len(example.ids)]
    assert content_example(tokenizer, messages, len(example.ids)) == example
    assert content_example(tokenizer, messages, len(example.ids) - 1) is None
