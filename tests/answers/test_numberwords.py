"""Numbers in words beside their figures."""

from __future__ import annotations

import pytest

from curate.answers.numberwords import is_spelled


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"), (12, "Twelve"), (40, "forty"), (42, "forty-two"), (100, "one hundred"),
        (112, "one hundred and twelve"), (20_015, "twenty thousand fifteen"),
        (999_000, "nine hundred and ninety-nine thousand"),
    ],
)  # fmt: skip
def test_a_number_is_spelled(number: int, words: str) -> None:
    assert is_spelled(number, words)
    assert not is_spelled(number + 1, words)


@pytest.mark.parametrize("words", ["", "a dozen", "twelve or so", "about twelve", "1 2"])
def test_what_says_more_or_less_spells_nothing(words: str) -> None:
    assert not is_spelled(12, words)


def test_what_is_too_large_or_below_zero_is_never_spelled() -> None:
    assert not is_spelled(10**9, "one thousand million") and not is_spelled(-1, "one")
