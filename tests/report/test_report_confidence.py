"""The section of cheap confidence: figures as in the tables, charts, and hostile texts escaped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.chart import Histogram, Histograms, ReliabilityChart
from curate.core.numerals import fraction
from curate.core.section import DataTable, Item
from curate.report.build import render
from curate.report.data import gather
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from tests.report.realrun import finish, recipe, write_inputs
from tests.report.sections import blocks_of, section_of, shown_ids

pytestmark = pytest.mark.system

TAINT = "</script><b>bold</b>{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    folder = tmp_path_factory.mktemp("confidence")
    write_inputs(folder, taint=TAINT, rows=20)
    lines = (folder / "pool.jsonl").read_text().splitlines()
    labels = [{"source": "web", "position": i + 1, "correct": i % 3 > 0} for i in range(len(lines))]
    (folder / "labels.jsonl").write_text("".join(json.dumps(x) + "\n" for x in labels))
    labelled = {"kind": "confidence", "labels": {"path": str(folder / "labels.jsonl")}, "drop": 0.1}
    stages: list[dict[str, Any]] = [{"kind": "confidence"}, labelled]
    return finish(recipe(folder, tiny, stages), folder / "run")


def test_what_is_told_is_what_the_tables_hold(run: Path) -> None:
    plain, labelled = (section_of(run, name) for name in ("confidence", "confidence-2"))
    evidence = pl.read_parquet(run / "evidence" / "confidence-2.parquet")
    dropped = (~evidence["keep"]).sum()
    assert dropped > 0
    (before,), (chart,) = blocks_of(plain, Histogram), blocks_of(labelled, Histogram)
    assert before.threshold is None and sum(b.dropped for b in before.bins) == 0
    assert chart.threshold == evidence["threshold"][0]
    assert sum(b.dropped for b in chart.bins) == dropped
    assert sum(b.kept + b.dropped for b in chart.bins) == evidence.height
    assert not blocks_of(plain, DataTable) and not blocks_of(plain, ReliabilityChart)
    (quality,) = blocks_of(labelled, DataTable)
    assert [line[0][0] for line in quality.lines][-2:] == ["mean rank", "confidence"]  # type: ignore[index]
    assert quality.chosen == {len(quality.lines) - 1}
    (reliability,) = blocks_of(labelled, ReliabilityChart)
    bins = pl.read_parquet(run / "evidence" / "confidence-2-reliability.parquet")
    assert list(reliability.points) == bins.select("confidence", "right").rows()
    lowest = evidence.sort("score", "row_id").head(6)
    assert shown_ids(labelled) == lowest["row_id"].to_list()
    assert blocks_of(labelled, Item)[0].facts == ("dropped",)
    signals = pl.read_parquet(run / "evidence" / "confidence-signals.parquet")
    (panels,) = blocks_of(plain, Histograms)
    for title, bars in panels.panels:
        assert sum(b.kept for b in bars) == signals[title.replace(" ", "_")].count()


def test_the_page_draws_both_stages_and_escapes_their_texts(run: Path) -> None:
    page = render(gather(run))
    plain, labelled = (
        page[page.index(f'<section id="stage-{name}">') :].split("</section>")[0]
        for name in ("confidence", "confidence-2")
    )
    assert "The score is the mean rank of the signals" in plain
    assert "No row&#39;s score was made with its own label" in labelled
    assert (plain.count("<svg"), labelled.count("<svg")) == (2, 3)
    assert "Expected calibration error" in labelled
    for section in (plain, labelled):
        assert "</script>" not in section and "<b>bold" not in section
        assert "{{ 7 * 7 }}" in section


def test_a_run_without_the_stage_has_no_section(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, rows=10)
    report = gather(finish(recipe(tmp_path, tiny, [{"kind": "exact"}]), tmp_path / "run"))
    assert 'id="stage-confidence"' not in render(report)


def test_a_dropped_row_is_said_to_be_among_the_least_likely_and_not_to_be_wrong(run: Path) -> None:
    evidence = pl.read_parquet(run / "evidence" / "confidence-2.parquet")
    low = evidence.filter(keep=False)["row_id"][0]
    line = explain_row(open_run(run), low)[2]
    assert "it has a response among the least likely tenth" in line and "wrong" not in line
    assert "were dropped: the least likely tenth of those with a score." in render(gather(run))


@pytest.mark.parametrize(
    ("share", "words"), [(0.1, "tenth"), (0.095, "tenth"), (0.5, "half"), (0.13, "13.0\u202f%")]
)
def test_shares_are_said_as_one_says_them(share: float, words: str) -> None:
    assert fraction(share) == words
