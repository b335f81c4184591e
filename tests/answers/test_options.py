"""Options listed in a prompt."""

from __future__ import annotations

import pytest

from curate.answers.options import split_options

QUESTION = "Which is a river?\nA) Rhine\nB) Alps\nC) Rome"


@pytest.mark.parametrize(
    ("prompt", "bare", "options"),
    [
        (QUESTION, "Which is a river?", ["Rhine", "Alps", "Rome"]),
        ("Pick.\n(A) x\n(B) y\n\nAnswer:", "Pick.\nAnswer:", ["x", "y"]),
        ("Pick.\n - A. x\n - B. y", "Pick.", ["x", "y"]),
        ("A: hello\nIs B here?", "A: hello\nIs B here?", []),
        ("Pick.\nB) x\nC) y", "Pick.\nB) x\nC) y", []),
    ],
)
def test_options_of_a_prompt(prompt: str, bare: str, options: list[str]) -> None:
    assert split_options(prompt) == (bare, options)
