"""The beginnings of rows' texts."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curate.runs.folder import open_run
from curate.view.excerpts import read_excerpts


def test_an_excerpt_is_the_beginning_of_all_turns(mapped_run: Path) -> None:
    run = open_run(mapped_run)
    rows = run.rows("pool")
    assert rows is not None
    row_id, messages = rows.select("row_id", "messages").head(1).collect().row(0)
    whole = " ".join(" | ".join(turn["content"] for turn in messages).split())
    assert read_excerpts(run, [row_id], chars=1_000) == {row_id: whole}
    assert read_excerpts(run, [row_id], chars=20) == {row_id: f"{whole[:16]} ..."}


def test_rows_that_are_nowhere_have_none(mapped_run: Path, tmp_path: Path) -> None:
    run = open_run(mapped_run)
    assert read_excerpts(run, ["nothing"]) == {}
    assert read_excerpts(run, []) == {}
    lost = type(run)(run.path, {**run.manifest, "store": str(tmp_path / "gone")})
    ids = pl.read_parquet(run.path / "ledger.parquet")["row_id"]
    assert read_excerpts(lost, ids) == {}


def test_an_example_of_the_target_has_its_own(mapped_run: Path) -> None:
    run = open_run(mapped_run)
    rows = run.rows("target")
    assert rows is not None
    [first, *_] = rows.select("row_id").collect()["row_id"]
    assert read_excerpts(run, [first], "target")[first].endswith("Eval answer.")
