"""Verdicts on many rows are not held in memory: what a stage needs for ten times as many rows."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import polars as pl
import pytest

from curate.clean.heuristics import measures
from curate.core.calls import Table
from curate.core.store import Store
from tests.conftest import Computed, frame, row, turns
from tests.peakmemory import peak_of

FEW, MANY = 50_000, 500_000
GROUP_ROWS = 8_192
# What may grow with a row: frames of verdicts took 90 bytes for rules and 390 for exact.
BYTES_A_ROW = {"rules": 60, "exact": 150}
CHILD = """
import pickle, sys, tempfile
from pathlib import Path
from curate.core.ledger import run_stage
from curate.core.stageinputs import StageInputs

stage, rows, prepared = pickle.loads(Path(sys.argv[1]).read_bytes())
with tempfile.TemporaryDirectory() as out:
    counts = run_stage(Path(out), StageInputs(rows), {"method": stage}, [], prepared)
assert counts["rows_in"] == rows.height, counts
"""


def peak_bytes(folder: Path, stage: str, count: int) -> int:
    """Return the peak memory of a process that lets a stage judge so many rows."""
    store = Store(folder / str(count))
    ids = pl.select(row_id=pl.format("pool/file.jsonl:{}", pl.int_range(count)))
    rows = ids.with_columns(text_hash=pl.col("row_id").hash().cast(pl.String))
    one = measures.measure(frame([row("r", turns("What is 2 + 2?", "It is 4."))]))
    measured = one[[0] * count].with_columns(ids["row_id"])
    prepared = {measures.NAME: in_groups(store, measures.NAME, measured)}
    job = folder / f"{count}.pickle"
    job.write_bytes(pickle.dumps((stage, in_groups(store, "rows", rows), prepared)))
    return peak_of(CHILD, job)


def in_groups(store: Store, name: str, table: pl.DataFrame) -> Table:
    """Return a stored table in row groups of few rows, as a stage writes what it measures."""

    def write(out: Path) -> dict[str, int]:
        table.write_parquet(out / f"{name}.parquet", row_group_size=GROUP_ROWS)
        return {"rows_in": table.height, "rows_out": table.height}

    return Table(store.ensure(Computed(name, write, [])), name)


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("stage", BYTES_A_ROW)
def test_verdicts_on_more_rows_take_hardly_more_memory(tmp_path: Path, stage: str) -> None:
    few, many = (peak_bytes(tmp_path, stage, count) for count in (FEW, MANY))
    assert (many - few) / (MANY - FEW) < BYTES_A_ROW[stage], (few / 2**20, many / 2**20)
