"""Arrow tables: every type is rendered as JSON has it, or refused by the name of its column."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.pool.containers.record import Record
from curate.pool.files import PoolFile, digest_url
from curate.pool.records import read_records


def read(folder: Path, column: pa.Array, form: str = "arrow") -> list[Record]:
    table, path = pa.table({"n": range(len(column)), "x": column}), folder / "rows"
    if form == "arrow":
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        pq.write_table(table, path)
    return list(read_records(PoolFile(str(path), "f")))


MOMENT = datetime.datetime(2020, 1, 2, 3, 4, 5)
WORDS = pa.array(["x", "y"]).dictionary_encode()
TYPES: list[tuple[pa.Array, Any]] = [
    (WORDS, "x"),
    (pl.Series(["x", "y"], dtype=pl.Categorical).to_arrow(), "x"),
    (pa.array([MOMENT] * 2).dictionary_encode(), "2020-01-02 03:04:05.000000"),
    (pa.ListArray.from_arrays([0, 1, 2], WORDS), ["x"]),
    (pa.array([decimal.Decimal("1.50")] * 2), "1.50"),
    (pa.array([MOMENT] * 2, pa.timestamp("us")), "2020-01-02 03:04:05.000000"),
    (pa.array([{"at": MOMENT.date()}] * 2), {"at": "2020-01-02"}),
    (pa.array([datetime.timedelta(1)] * 2), "1 day, 0:00:00"),
    (pa.array([b"plain text"] * 2), "plain text"),
    (pa.array([[("a", 1)]] * 2, pa.map_(pa.string(), pa.int64())), {"a": 1}),
    (pa.array([[(7, MOMENT.date())]] * 2, pa.map_(pa.int64(), pa.date32())), {"7": "2020-01-02"}),
    (pa.array([float("nan"), 1.0]), None),
    (pa.array([[float("inf")]] * 2), [None]),
    (pa.array(["x"] * 2, pa.large_string()), "x"),
    (pa.array([[1, 2]] * 2, pa.list_(pa.int8(), 2)), [1, 2]),
    (pa.array([2**64 - 1] * 2, pa.uint64()), 2**64 - 1),
    (pa.array([{"a": None, "b": [{"c": None, "d": 1}]}] * 2), {"b": [{"d": 1}]}),
]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@pytest.mark.parametrize(("column", "value"), TYPES, ids=[str(c.type)[:40] for c, _ in TYPES])
def test_types_are_read_as_json_has_them(
    tmp_path: Path, column: pa.Array, value: Any, form: str
) -> None:
    first = read(tmp_path, column, form)[0]
    assert (first.position, first.value) == (1, {"n": 0, "x": value})


def test_a_null_is_a_field_that_is_not_there(tmp_path: Path) -> None:
    assert [r.value for r in read(tmp_path, pa.array([None, "y"]))] == [
        {"n": 0},
        {"n": 1, "x": "y"},
    ]


@pytest.mark.parametrize("image", [b"\x89PNG", {"bytes": b"\x89PNG", "path": "x.png"}])
def test_binary_data_costs_the_row_and_names_the_field(tmp_path: Path, image: Any) -> None:
    bad, good = read(tmp_path, pa.array([image, None]))
    field = "x" if isinstance(image, bytes) else "x.bytes"
    assert bad.fault == (Reason.UNSUPPORTED_CONTENT, f"{field}: binary data")
    assert good.value == {"n": 1}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
        pa.array([1], pa.timestamp("us", "Mars/Olympus")),
        pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array(["x"])]),
    ],
)
def test_a_type_without_counterpart_is_refused_by_the_columns_name(
    tmp_path: Path, column: pa.Array
) -> None:
    with pytest.raises(UserError, match=r"rows: the column 'x' has the type .*no counterpart"):
        read(tmp_path, column)


def test_a_key_that_comes_twice_in_a_map_is_told(tmp_path: Path) -> None:
    twice = pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))
    with pytest.raises(UserError, match=r"rows: a map in the Arrow data has a key twice"):
        read(tmp_path, twice)


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_a_table_of_no_rows_has_no_records(tmp_path: Path, form: str) -> None:
    assert read(tmp_path, pa.array([], pa.string()), form) == []


def test_rows_of_several_groups_are_numbered_through(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    pq.write_table(pa.table({"n": range(2_500)}), path, row_group_size=700)
    records = list(read_records(PoolFile(str(path), "f")))
    assert [(r.position, r.value["n"]) for r in records] == [(i + 1, i) for i in range(2_500)]


def test_a_parquet_file_that_changed_since_it_was_found_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    pq.write_table(pa.table({"n": [1]}), path)
    file = PoolFile(str(path), "f", digest=digest_url(PoolFile(str(path), "f")))
    assert len(list(read_records(file))) == 1
    pq.write_table(pa.table({"n": [2]}), path)
    with pytest.raises(UserError, match="rows: the file changed while it was being read"):
        list(read_records(file))
