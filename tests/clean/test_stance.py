"""Stance of a response: equal for near copies, another one where the conclusion is another one."""

from __future__ import annotations

import polars as pl
import pytest

from curate.clean.stance import stances

OTHERWISE = [
    ("All in all, the answer is (B).", "All in all, the answer is (C)."),
    ("So it grows.\n#### 12", "So it grows.\n#### 13"),
    (r"Hence \boxed{x}", r"Hence \boxed{y}"),
    ("Yes, the passage says so.", "No, the passage says so."),
    ("The statement is true.", "The statement is false."),
    ("It was rebuilt.", "It was not rebuilt."),
    ("They did it.", "They didn't do it."),
    ("Ja, das stimmt.", "Nein, das stimmt."),
    ("Да, это верно.", "Нет, это неверно."),
    ("نعم، هذا ما يقوله النص", "لا، هذا ما يقوله النص"),
    ("हाँ, यह लिखा है।", "नहीं, यह लिखा है।"),
    ("这个说法是正确的。", "这个说法不是正确的。"),
    ("はい、そう書いてあります。", "いいえ、そう書いてあります。"),
]
SAME = [
    ("The answer is **B**.", "the answer is B"),
    ("The answer is (B).", "The answer is $B$."),
    ("A mill stood there; it was sold.", "A mill stood there and was sold!"),
    ("Nobody knows the nightly notes.", "Nobody knew the nightly notes."),
    ("这个磨坊很老。", "那个磨坊很老！"),
    ("", " "),
]


@pytest.mark.parametrize(("one", "other"), OTHERWISE)
def test_what_concludes_otherwise_has_another_stance(one: str, other: str) -> None:
    assert len(conclusions(one, other)) == 2


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_concludes_the_same_has_one_stance(one: str, other: str) -> None:
    assert len(conclusions(one, other)) == 1


def conclusions(*responses: str) -> set[str]:
    return set(pl.DataFrame({"text": responses}).select(stances(pl.col("text"))).to_series())
