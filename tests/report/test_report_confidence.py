"""The section of cheap confidence: figures as in the tables, charts, and hostile texts escaped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.numerals import fraction
from curate.report.build import render
from curate.report.confidence import gather_confidence
from curate.report.data import gather
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from tests.report.realrun import finish, recipe, write_inputs

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
    plain, labelled = gather_confidence(open_run(run))
    assert (plain.stage, labelled.stage) == ("confidence", "confidence-2")
    assert plain.labelled is None and plain.threshold is None and plain.dropped == 0
    evidence = pl.read_parquet(run / "evidence" / "confidence-2.parquet")
    assert labelled.dropped == (~evidence["keep"]).sum() > 0
    assert sum(b.dropped for b in labelled.bins) == labelled.dropped
    assert sum(b.kept + b.dropped for b in labelled.bins) == evidence.height == labelled.rows
    calibration = labelled.labelled
    assert calibration is not None
    assert [w.name for w in calibration.worths][-2:] == ["mean_rank", "confidence"]
    assert sum(b.rows for b in calibration.bins) == calibration.rows
    scores = [row.score for row in labelled.lowest]
    assert scores == sorted(evidence["score"])[: len(scores)]
    assert not labelled.lowest[0].keep
    signals = pl.read_parquet(run / "evidence" / "confidence-signals.parquet")
    for spread in plain.signals:
        assert spread.missing == signals[spread.name].null_count()
        assert sum(b.kept for b in spread.bins) == signals[spread.name].count()


def test_the_page_draws_both_stages_and_escapes_their_texts(run: Path) -> None:
    page = render(gather(run))
    section = page[page.index('<section id="confidence">') :]
    section = section[: section.index("</section>")]
    assert "The score is the mean rank of the signals" in section
    assert (
        "No row&#39;s score" in section or "No row's score was made with its own label" in section
    )
    assert section.count("<svg") == 2 + 3
    assert "Expected calibration error" in section
    assert "</script>" not in section and "<b>bold" not in section and "{{ 7 * 7 }}" in section


def test_a_run_without_the_stage_has_no_section(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, rows=10)
    report = gather(finish(recipe(tmp_path, tiny, [{"kind": "exact"}]), tmp_path / "run"))
    assert report.confidence == ()
    assert 'id="confidence"' not in render(report)


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
