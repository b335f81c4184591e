"""Markup: what a reader sees of entities, tags, Markdown and escapes."""

from __future__ import annotations

import polars as pl
import pytest

from curate.overlap.markup import without_markup


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Isn&#39;t &quot;a&quot; &amp; b &lt; c?", 'Isn\'t "a" & b < c?'),
        ("Isn&amp;#x27;t it?", "Isn't it?"),
        ("the <b>capital</b> of", "the capital of"),
        ('<p class="q">What?</p>Yes', "\nWhat?\nYes"),
        ("the **cap**ital *of* *the* `sea`", "the capital of the `sea`"),
        ("see [the map](https://example.org/a_b)", "see the map"),
        (r"One\nTwo \"three\" 5\% snake\_case", 'One\nTwo "three" 5% snake_case'),
        ("问题：3 \u2212 1", "问题: 3 - 1"),
    ],
)
def test_markup_is_taken_away(text: str, seen: str) -> None:
    assert without_markup(pl.Series([text, "plain"])).to_list() == [seen, "plain"]


@pytest.mark.parametrize(
    "text", ["3 * 4 * 5", "2**3 + 4**5", "a < b and c > d", r"\nu + \frac{1}{2}", "R&D; x_1", "* a"]
)
def test_sums_code_and_formulas_stay_as_they_are(text: str) -> None:
    assert without_markup(pl.Series([text])).to_list() == [text]
