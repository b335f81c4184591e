"""What the report says of compared methods and of the target, and what it leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from curate.core.numerals import correlation
from curate.report.comparison import SHADES, Cell
from curate.report.data import gather
from curate.report.wording import setting
from tests.report.test_report_page import words_of

MakeRun = Callable[..., Path]


def test_a_run_that_compares_nothing_has_no_such_section(make_run: MakeRun) -> None:
    report = gather(make_run())
    assert (report.comparison, report.coverage) == (None, None)
    words = words_of(make_run())
    assert "Methods compared" not in words
    assert "Target coverage" not in words


def test_matrices_are_symmetric_and_empty_on_the_diagonal(make_run: MakeRun) -> None:
    compared = gather(make_run(compared=("bm25", "random"))).comparison
    assert compared is not None
    for lines in (compared.jaccard, compared.correlation):
        assert [lines[i][i] for i in range(3)] == [None] * 3
        assert [list(line) for line in zip(*lines, strict=True)] == [list(line) for line in lines]
    values = [cell.value for cell in compared.correlation[0] if cell]
    assert values == [-1, -1]
    assert [cell.value for cell in compared.jaccard[1] if cell] == [0, 1]


def test_the_first_method_is_the_runs_own(make_run: MakeRun) -> None:
    compared = gather(make_run(compared=("bm25",))).comparison
    assert compared is not None
    own, other = compared.methods
    assert (own.name, own.shared, own.rows, own.alone) == ("rds", None, 10, 10)
    assert (other.name, other.shared, other.rows, other.alone) == ("bm25", 0, 10, 10)
    assert [line.rank for line in other.examples] == [1, 2, 3, 4, 5]
    assert {line.elsewhere for line in other.examples} == {"rds"}
    assert [line.elsewhere_rank for line in other.examples] == [52, 51, 50, 49, 48]
    assert all(line.row.text for line in other.examples)


def test_shares_of_sources_are_those_of_rows(make_run: MakeRun) -> None:
    run = make_run(compared=("bm25",))
    compared = gather(run).comparison
    assert compared is not None
    assert [mix.by for mix in compared.mixes] == ["source", "origin"]
    for mix in compared.mixes:
        assert sum(group.kept for group in mix.groups) == pytest.approx(1)
        assert sum(group.shares[1] for group in mix.groups) == pytest.approx(1)
    one = make_run("one-source", source=lambda i: "s", compared=("bm25",))
    single = gather(one).comparison
    assert single is not None
    assert [mix.by for mix in single.mixes] == ["origin"]


def test_thin_spots_are_named_with_their_texts(make_run: MakeRun) -> None:
    run = make_run(compared=("bm25",))
    coverage = gather(run).coverage
    assert coverage is not None
    assert (coverage.count, coverage.missed, coverage.gaps, coverage.thin) == (4, 1, 2, 3)
    assert [spot.state for spot in coverage.spots] == ["gap", "gap", "missed", "near"]
    assert [spot.target.row_id for spot in coverage.thin_examples] == [
        f"target/t:{q}" for q in (3, 2, 1)
    ]
    assert all(spot.target.text and spot.kept.text for spot in coverage.thin_examples)
    words = words_of(run)
    assert (
        "3 of 4 target examples are thin: 1 missed by the selection, 2 for want of rows in" in words
    )
    assert "Target 3?" in words


def test_no_thin_spot_and_no_limit_are_told(make_run: MakeRun) -> None:
    run = make_run(compared=("bm25",))
    path = run / "evidence" / "coverage.parquet"
    table = pl.read_parquet(path)
    table.with_columns(state=pl.lit("near")).write_parquet(path)
    assert "None of the 4 target examples is thin." in words_of(run)
    unlimited = pl.lit(None, dtype=pl.Float64)
    table.with_columns(limit=unlimited, state=pl.lit(None, pl.String)).write_parquet(path)
    assert "so nothing says what is near" in words_of(run)


def test_the_page_says_what_two_draws_share_by_chance(make_run: MakeRun) -> None:
    words = words_of(make_run(compared=("bm25", "random")))
    assert "Two random draws of these sizes would have 0.11." in words
    assert "over all 52 rows that both could score" in words


@pytest.mark.parametrize(
    ("value", "shade"),
    [(None, ""), (0.0, ""), (0.05, ""), (0.06, "heat1"), (1.0, f"heat{SHADES}"), (-0.5, "under4"),
     (-1.0, f"under{SHADES}")],
)  # fmt: skip
def test_cells_are_shaded_by_their_number(value: float | None, shade: str) -> None:
    assert Cell(value).shade == shade


def test_settings_and_correlations_are_told_in_words() -> None:
    assert setting([{"method": "bm25"}, {"method": "rds", "weight": 2}]) == "bm25 + rds"
    assert setting("round_robin") == "round robin"
    assert [correlation(v) for v in (None, 0.126, -0.5)] == ["–", "+0.13", "−0.50"]
