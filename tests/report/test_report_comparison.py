"""What the report says of compared methods and of the target, and what it leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from curate.core.numerals import correlation
from curate.core.section import Code, DataTable, Heat, Item, Section
from curate.report.build import SHADES, cell_shade
from curate.report.selection import selection_sections
from curate.report.wording import setting
from curate.runs.folder import open_run
from curate.selectors.comparison import KEPT
from curate.selectors.comparison_section import shares_of
from curate.selectors.coverage_section import target_coverage
from tests.report.sections import blocks_of, shown_ids
from tests.report.test_report_page import words_of

MakeRun = Callable[..., Path]


def part_of(run: Path, anchor: str) -> Section | None:
    """Return a section of the selection, None if the page has none of this anchor."""
    return next((s for s in selection_sections(open_run(run)) if s.anchor == anchor), None)


def compared_in(run: Path) -> Section:
    section = part_of(run, "methods")
    assert section is not None
    return section


def test_a_run_that_compares_nothing_has_no_such_section(make_run: MakeRun) -> None:
    run = make_run()
    assert [section.anchor for section in selection_sections(open_run(run))] == ["scores"]
    words = words_of(run)
    assert "Methods compared" not in words
    assert "Target coverage" not in words


def test_matrices_are_symmetric_and_empty_on_the_diagonal(make_run: MakeRun) -> None:
    section = compared_in(make_run(compared=("bm25", "random")))
    shared, order = [t for t in blocks_of(section, DataTable) if t.style == "matrix"]
    for table in (shared, order):
        lines = [line[1:] for line in table.lines]
        assert [lines[i][i] for i in range(3)] == [""] * 3
        assert [list(line) for line in zip(*lines, strict=True)] == [list(line) for line in lines]
    assert [heat.value for heat in blocks_of(order.lines[0], Heat)] == [-1, -1]
    assert [heat.value for heat in blocks_of(shared.lines[1], Heat)] == [0, 1]


def test_the_first_method_is_the_runs_own(make_run: MakeRun) -> None:
    section = compared_in(make_run(compared=("bm25",)))
    table = blocks_of(section, DataTable)[0]
    assert [line[0] for line in table.lines] == [Code("rds"), Code("bm25")]
    assert table.chosen == {0}
    # Rows, those also in the selection, those in no other.
    assert [(line[2], line[4], line[5]) for line in table.lines] == [
        ("10", "–", "10"), ("10", "0", "10"),
    ]  # fmt: skip
    alone = blocks_of(section, Item)[5:]
    assert [item.value for item in alone] == ["1", "2", "3", "4", "5"]
    assert [item.facts for item in alone] == [(f"rds: {rank}",) for rank in (52, 51, 50, 49, 48)]


def test_shares_of_sources_are_those_of_rows(make_run: MakeRun) -> None:
    run = make_run(compared=("bm25",))
    mix = pl.read_parquet(run / "evidence" / "comparison-mix.parquet")
    for by in ("source", "origin"):
        groups = shares_of(mix, by)
        for name in (KEPT, "rds", "bm25"):
            assert sum(shares.get(name, 0) for shares in groups.values()) == pytest.approx(1)
    heads = [table.columns[0] for table in blocks_of(compared_in(run), DataTable)]
    assert heads == ["Method", "", "", "Source", "Origin"]
    one = compared_in(make_run("one-source", source=lambda i: "s", compared=("bm25",)))
    assert [t.columns[0] for t in blocks_of(one, DataTable)] == ["Method", "", "", "Origin"]


def test_thin_spots_are_named_with_their_texts(make_run: MakeRun) -> None:
    run = make_run(compared=("bm25",))
    coverage = target_coverage(open_run(run), "rds")
    assert coverage is not None
    assert (coverage.count, coverage.missed, coverage.gaps, coverage.thin.height) == (4, 1, 2, 3)
    assert coverage.spots["state"].to_list() == ["gap", "gap", "missed", "near"]
    section = part_of(run, "coverage")
    assert shown_ids(section) == [f"target/t:{q}" for q in (3, 2, 1)]
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
    assert cell_shade(Heat("", value)) == shade


def test_settings_and_correlations_are_told_in_words() -> None:
    assert setting([{"method": "bm25"}, {"method": "rds", "weight": 2}]) == "bm25 + rds"
    assert setting("round_robin") == "round robin"
    assert [correlation(v) for v in (None, 0.126, -0.5)] == ["–", "+0.13", "−0.50"]
