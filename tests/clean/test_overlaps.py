"""Overlaps: the search itself, at its limits; that it is right is in test_leaks.py."""

from __future__ import annotations

import random
import time

import polars as pl
import pytest

from curate.overlap.coverage import SCHEMA, measure_pairs
from curate.overlap.prompts import index_prompts
from curate.overlap.search import PromptSearch
from tests.conftest import frame, row, turns


def overlaps(rows: pl.DataFrame, evals: pl.DataFrame, ngram: int = 8) -> pl.DataFrame:
    return pl.concat([SCHEMA.to_frame(), *parts_of(rows, evals, ngram)])


def parts_of(rows: pl.DataFrame, evals: pl.DataFrame, ngram: int) -> list[pl.DataFrame]:
    search = PromptSearch(index_prompts(evals, ngram))
    search.add(rows)
    return list(measure_pairs(search.index, search.hits, search.count()))


def alike(count: int, prefix: str, seed: int) -> pl.DataFrame:
    """Return rows of one template: all share its words with all, and some words besides."""
    rng = random.Random(seed)
    words = ["a", "b", "c", "d"]
    template = " ".join(f"t{i}" for i in range(12))
    return frame(
        [
            row(f"{prefix}{i}", turns(f"{template} {' '.join(rng.choices(words, k=20))}", template))
            for i in range(count)
        ]
    )


def test_pairs_come_in_the_order_of_rows_and_prompts() -> None:
    short = frame([row("short", turns("What is a comet?", "Ice."))])
    pairs = overlaps(pl.concat([alike(3, "r", 1), short]), pl.concat([short, alike(2, "e", 2)]))
    assert pairs.select("row_id", "eval_id").rows() == [
        *((f"r{i}", f"e{k}") for i in range(3) for k in range(2)), ("short", "short"),
    ]  # fmt: skip


@pytest.mark.parametrize("limit", [200, 1_000, 20_000])
def test_matches_that_are_looked_at_in_parts_give_the_same(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    rows, evals = alike(30, "r", 1), alike(3, "e", 2)
    whole = overlaps(rows, evals, ngram=2)
    monkeypatch.setattr("curate.overlap.coverage.MATCHES", limit)
    monkeypatch.setattr("curate.overlap.coverage.PAIRS", 7)
    parts = parts_of(rows, evals, 2)
    assert max(part.height for part in parts) == 7
    assert (
        pl.concat(parts)
        .select(pl.exclude("span", "run"))
        .equals(whole.select(pl.exclude("span", "run")))
    )
    if limit == 20_000:
        assert pl.concat(parts).equals(whole)


def test_a_text_that_repeats_one_word_without_end_is_searched_in_bounded_time() -> None:
    rows = frame([row("r", turns("ha " * 60_000, "x")), row("s", turns("ha " * 40, "x"))])
    evals = frame([row("e", turns("ha " * 2_000 + "end", "x")), row("f", turns("ha " * 30, "x"))])
    started = time.process_time()
    pairs = overlaps(rows, evals)
    assert time.process_time() - started < 20
    assert pairs["coverage"].to_list() == pytest.approx([2000 / 2001, 1.0, 2000 / 2001, 1.0])
    assert pairs["run"][0] > 100
    assert pairs["run"].to_list()[1:] == [30, 40, 30]


def test_a_prompt_longer_than_every_row_and_an_empty_word_list_are_no_trouble() -> None:
    evals = frame([row("e", turns("!!!", "x")), row("f", turns("one " * 500, "x"))])
    rows = frame([row("r", turns("?!", "x")), row("s", turns("one two", "..."))])
    assert overlaps(rows, evals).height == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u01f0 is a letter", "J\u030c IS A LETTER"),
        ("\u212b ngström", "\u00c5 NGSTRÖM"),
        ("İstanbul var mı", "I\u0307STANBUL VAR mı"),
    ],
)
def test_equal_letters_in_other_code_points_are_equal(one: str, other: str) -> None:
    long = " in a text of more than eight words that goes on"
    for end in ("", long):
        pairs = overlaps(
            frame([row("r", turns(one + end, "x"))]), frame([row("e", turns(other + end, "x"))])
        )
        assert pairs["whole"].to_list() == [True]
