"""Tables of parts: what a stage reads of each file, and the names of these parts in keys."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import Table, cached_files
from curate.core.ledger import kept_rows
from curate.core.stageinputs import StageInputs
from curate.core.store import Counts, Store
from curate.core.tableparts import concatenated, kept_parts, survivor_parts, table_parts
from tests.conftest import StoreRun


@cached_files(version=1, name="test-parted")
def write_parted(out: Path, sizes: Sequence[int], group: int, first: int) -> Counts:
    """Write rows/00000.parquet ...: a file of each size, ids from `first` on."""
    (out / "rows").mkdir()
    for number, size in enumerate(sizes):
        ids = [f"r{first + i}" for i in range(size)]
        path = out / "rows" / f"{number:05d}.parquet"
        pl.DataFrame({"row_id": ids}, schema={"row_id": pl.String}).write_parquet(
            path, row_group_size=group
        )
        first += size
    return {"rows_out": sum(sizes)}


@cached_files(version=1, name="test-dropped")
def write_dropped(out: Path, ids: Sequence[str]) -> Counts:
    """Write evidence.parquet, which drops rows."""
    frame = pl.DataFrame({"row_id": ids}, schema={"row_id": pl.String})
    frame.with_columns(keep=False).write_parquet(out / "evidence.parquet")
    return {"rows_out": len(ids)}


def parted(store: Store, sizes: Sequence[int], group: int = 3, first: int = 0) -> Table:
    return Table(StoreRun(store)(write_parted, sizes, group, first), "rows")


def dropping(store: Store, ids: Sequence[str]) -> Table:
    return Table(StoreRun(store)(write_dropped, list(ids)), "evidence")


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    group=st.integers(1, 4),
    most=st.integers(1, 6),
    size=st.integers(1, 5),
    drops=st.sets(st.integers(0, 35)),
)
def test_parts_hold_the_rows_of_a_stage_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    group: int,
    most: int,
    size: int,
    drops: set[int],
) -> None:
    store = Store(tmp_path_factory.getbasetemp() / "parts")
    table = parted(store, sizes, group)
    data = StageInputs(table, (dropping(store, [f"r{i}" for i in sorted(drops)]),))
    frames = [
        batch.with_columns(pl.col("position") + part.offset)
        for part in survivor_parts(data, most)
        for batch in part.batches(["row_id"], size)
    ]
    left = [i for i in range(sum(sizes)) if i not in drops]
    assert [i for frame in frames for i in frame["position"]] == left
    assert [i for frame in frames for i in frame["row_id"]] == [f"r{i}" for i in left]
    assert all(0 < frame.height <= size for frame in frames)
    assert len({str(part.identity) for part in survivor_parts(data, most)}) <= len(frames) + 1


def test_a_part_is_named_by_its_file_and_its_dropped_rows_alone(store: Store) -> None:
    def names(table: Table, *drops: str) -> list[str]:
        data = StageInputs(table, (dropping(store, drops),) if drops else ())
        return [str(part.identity) for part in survivor_parts(data, 4)]

    before = names(parted(store, [5, 3]))
    assert len(before) == 3
    # Another file before and behind, and drops in the last part.
    assert names(parted(store, [2, 5, 3], first=-2))[1:] == before
    dropped = names(parted(store, [5, 3]), "r6")
    assert dropped[:2] == before[:2]
    assert dropped[2] != before[2]
    assert names(parted(store, [5, 3]), "r6", "elsewhere") == dropped


def test_parts_of_the_kept_rows_are_those_of_what_no_stage_drops(store: Store) -> None:
    table, run = parted(store, [5, 0, 3]), StoreRun(store)
    drops = (dropping(store, ["r1", "r5"]), dropping(store, ["r5", "r7"]))
    assert kept_parts(table, kept_rows(run, table, drops)) == survivor_parts(
        StageInputs(table, drops)
    )


def test_where_no_row_is_left_there_is_a_part_of_none(store: Store) -> None:
    table = parted(store, [2])
    [part] = survivor_parts(StageInputs(table, (dropping(store, ["r0", "r1"]),)))
    assert list(part.batches(["row_id"], 5)) == []
    [part] = survivor_parts(StageInputs(parted(store, [0]), ()))
    assert list(part.batches(["row_id"], 5)) == []


def test_tables_are_put_together_in_their_order(store: Store) -> None:
    run = StoreRun(store)
    tables = [dropping(store, ids) for ids in (["a", "b"], [], ["c"])]
    whole = concatenated(run, tables)
    assert whole.name == "evidence"
    assert whole.height == 3
    assert whole.read()["row_id"].to_list() == ["a", "b", "c"]
    assert concatenated(run, tables[:1]) == tables[0]


def test_a_file_of_a_table_is_known_by_its_bytes(store: Store) -> None:
    one, two = parted(store, [2, 3]), parted(store, [1, 2, 3], first=-1)
    assert [part.identity for part in table_parts(two)][1:] == [
        p.identity for p in table_parts(one)
    ]
    assert np.unique([part.identity for part in table_parts(two)]).size == 3
