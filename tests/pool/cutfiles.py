"""A file that is cut into ranges of a size, and read by these: lines and row groups alike."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.store import Store
from curate.pool import bigfiles, parts, records
from curate.pool.containers import lines as line_blocks
from curate.pool.rowset import RowSet, row_set
from curate.pool.settings import RowFile
from tests.pool.test_rowset import CountingRunner

COUNTER = itertools.count()
WHOLE = 10**9


@contextmanager
def ranges_of(size: int) -> Iterator[None]:
    """Have files cut into ranges of so many bytes, told by three records, of lines of 300 bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigfiles, "RANGE_BYTES", size)
        patch.setattr(parts, "DETECT_ROWS", 3)
        patch.setattr(records, "LONGEST", 300)
        patch.setattr(parts, "LONGEST", 300)
        patch.setattr(line_blocks, "BLOCK_BYTES", 64)
        yield


def rows_of(path: Path, size: int, **settings: Any) -> RowSet:
    """Return what is read of a file, cut into ranges of a size."""
    with ranges_of(size):
        entry = RowFile.model_validate({"path": str(path), "source": "s", **settings})
        return row_set("pool", [entry], seed=0, max_rejected=1.0)


def read(path: Path, size: int, **settings: Any) -> Table:
    """Return the rows of a file that is cut into ranges of a size."""
    rows = rows_of(path, size, **settings)
    with ranges_of(size):
        return rows.read(CountingRunner(Store(path.parent / f"store-{next(COUNTER)}")))


def outcome(path: Path, size: int, **settings: Any) -> Any:
    """Return rows, rejects and counts, or the sentence of a fault."""
    try:
        table = read(path, size, **settings)
    except UserError as error:
        return str(error)
    rejects = pl.read_parquet(table.artifact.file("rejects.parquet"))
    return table.read().to_dicts(), rejects.to_dicts(), table.artifact.counts


def steps(run: CountingRunner, path: Path, size: int) -> list[str]:
    """Return the steps that have to be run to read the file, whose rows are all good."""
    run.steps.clear()
    rows = rows_of(path, size)
    with ranges_of(size):
        ids = rows.read(run).read()["row_id"].to_list()
    assert ids == [f"s/{path.name}:{number}" for number in range(1, len(ids) + 1)]
    return list(run.steps)
