"""Rows of a run by a condition, the list of runs: against plain loops over files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.errors import UserError
from curate.runs.folder import RunFolder, open_run
from curate.runs.listing import finished_runs, run_lines
from curate.runs.rowquery import RowQuery, json_lines, row_lines
from tests.report.realrun import FUZZY, finish, shared_recipe, write_inputs

STAGES: list[dict[str, Any]] = [{"kind": "exact"}, FUZZY, {"kind": "rules", "action": "flag"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("query")
    write_inputs(path)
    return path


@pytest.fixture(scope="module")
def run(folder: Path, tiny: Path) -> RunFolder:
    return open_run(finish(shared_recipe(folder, tiny, STAGES), folder / "runs" / "one"))


@pytest.fixture(scope="module")
def other(folder: Path, tiny: Path) -> RunFolder:
    stages: list[dict[str, Any]] = [{"kind": "exact"}, {**FUZZY, "threshold": 0.9}]
    return open_run(finish(shared_recipe(folder, tiny, stages), folder / "runs" / "two"))


def ids(run: RunFolder, where: str, **settings: object) -> list[str]:
    query = RowQuery(where, first=10_000, **settings)  # type: ignore[arg-type]
    count, rows = query.find(run)
    assert count == rows.height
    return rows["row_id"].to_list()


def test_a_condition_on_the_ledger_finds_the_rows_that_a_loop_finds(run: RunFolder) -> None:
    ledger = pl.read_parquet(run.path / "ledger.parquet").to_dicts()
    expected = [row["row_id"] for row in ledger if row["stage"] == "fuzzy" and row["score"] > 0.7]
    assert len(expected) > 5
    assert ids(run, "source = 'web' AND stage = 'fuzzy' AND score > 0.7") == expected
    assert ids(run, "fate = 'selected'", sort="rank") == [
        row["row_id"]
        for row in sorted(
            (row for row in ledger if row["fate"] == "selected"), key=lambda row: row["rank"]
        )
    ]
    scores = [
        row["score"] for row in RowQuery("stage = 'fuzzy'", "-score", 99).find(run)[1].to_dicts()
    ]
    assert scores == sorted(scores, reverse=True)


def test_a_condition_may_be_on_evidence_and_on_texts(run: RunFolder, folder: Path) -> None:
    lines = (folder / "pool.jsonl").read_text().splitlines()
    pool = {f"web/pool.jsonl:{n}": json.loads(line) for n, line in enumerate(lines, start=1)}
    expected = [row_id for row_id, row in pool.items() if "Guarded." in row["completion"]]
    assert ids(run, "response LIKE '%Guarded.%'") == expected
    evidence = pl.read_parquet(run.path / "evidence" / "fuzzy.parquet")
    high = evidence.filter(pl.col("score") > 0.6)["row_id"].to_list()
    assert ids(run, "fuzzy.score > 0.6") == high
    assert ids(run, "rules.copied OR rules.length") is not None
    # What stands in quotes is a text, not a column.
    assert ids(run, "prompt = 'fuzzy.score' AND fuzzy.score > 0") == []


def test_rows_are_listed_with_their_fate_and_their_texts(run: RunFolder) -> None:
    count, rows = RowQuery("stage = 'fuzzy'", first=2, text=True).find(run)
    lines = list(row_lines(count, rows, text=True))
    assert len(lines) == 2 * 3 + 1
    assert "dropped by fuzzy: fuzzy_duplicate" in lines[0]
    assert "duplicate_of web/pool.jsonl:" in lines[0]
    assert lines[1].startswith("    prompt: ")
    assert lines[-1] == f"{count} rows; the first 2 are listed"
    assert [json.loads(line)["row_id"] for line in json_lines(rows)] == rows["row_id"].to_list()
    assert list(row_lines(*RowQuery("stage = 'none'").find(run), text=False)) == ["0 rows"]


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("source =", "unable to parse"),
        ("sorce = 'web'", 'unable to find column "sorce"'),
        ("source", "must be of type `Boolean`"),
        ("1 = 1; DROP TABLE ledger", "invalid expression"),
    ],
)
def test_a_condition_at_fault_is_told_with_the_columns(
    run: RunFolder, where: str, fault: str
) -> None:
    with pytest.raises(UserError, match=f"{fault}.*columns here are row_id, source"):
        RowQuery(where).find(run)


def test_an_order_by_no_column_is_told(run: RunFolder) -> None:
    with pytest.raises(UserError, match="cannot be found"):
        RowQuery(sort="-scor").find(run)


def test_texts_that_are_gone_from_the_store_are_told(run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["store"] = str(tmp_path / "gone")
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    moved = open_run(tmp_path / "run")
    assert RowQuery("stage = 'fuzzy'").find(moved)[0] > 0
    with pytest.raises(UserError, match="the texts of its rows are gone from the store"):
        RowQuery("prompt LIKE '%a%'").find(moved)


def test_runs_are_listed_the_latest_first(run: RunFolder, other: RunFolder, folder: Path) -> None:
    (folder / "runs" / "no-run").mkdir(exist_ok=True)
    runs = finished_runs(folder / "runs")
    assert {one.folder.name for one in runs} == {"one", "two"}
    assert [one.ended for one in runs] == sorted((one.ended for one in runs), reverse=True)
    head, *lines = run_lines(runs)
    assert head.split() == ["run", "ended", "rows", "selected", "method", "verdict"]
    assert all("random  not proved" in line for line in lines)
    assert finished_runs(run.path)[0].selected == 5
    with pytest.raises(UserError, match="no such folder"):
        finished_runs(folder / "nowhere")
