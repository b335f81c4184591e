"""Footers of Parquet files: where row groups are, and what their reading follows from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.pool.containers.footer import Footer, read_footer

NUMBERS = list(range(40))
FEATURES = {"huggingface": '{"info": {"features": {"n": {"_type": "ClassLabel"}}}}'}


def footer_of(folder: Path, table: pa.Table, **settings: Any) -> Footer:
    path = folder / "a.parquet"
    pq.write_table(table, path, row_group_size=10, **settings)
    with path.open("rb") as handle:
        return read_footer(handle)


@pytest.fixture
def footer(tmp_path: Path) -> Footer:
    return footer_of(tmp_path, pa.table({"n": NUMBERS, "s": ["x"] * 40}))


def test_all_bytes_behind_the_mark_and_before_the_footer_are_those_of_a_group(
    tmp_path: Path, footer: Footer
) -> None:
    data = (tmp_path / "a.parquet").read_bytes()
    starts = footer.starts()
    assert starts[0] == len(b"PAR1")
    assert starts == sorted(starts)
    assert len(starts) == len(footer.rows) + 1 == 5
    length = int.from_bytes(data[-8:-4], "little")
    assert len(data) - 8 - length == starts[-1] == footer.start


def test_groups_that_do_not_follow_one_another_have_no_starts(footer: Footer) -> None:
    assert replace(footer, start=footer.start - 1).starts() == []


def test_a_table_of_no_columns_has_no_starts(tmp_path: Path) -> None:
    empty = pa.table({"n": NUMBERS}).select([])
    assert footer_of(tmp_path, empty).starts() == []


def test_a_digest_is_that_of_its_groups_wherever_they_lie(tmp_path: Path, footer: Footer) -> None:
    longer = pa.table({"n": NUMBERS, "s": ["x" * 99, *["x"] * 49][:40]})
    other = footer_of(tmp_path, longer)
    assert other.starts()[2] != footer.starts()[2]
    assert other.digest(range(2, 4)) == footer.digest(range(2, 4))
    assert other.digest(range(2)) != footer.digest(range(2))
    assert footer.digest(range(2, 3)) != footer.digest(range(2, 4))


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        (pa.table({"n": NUMBERS, "t": ["x"] * 40}), {}),
        (pa.table({"s": ["x"] * 40, "n": NUMBERS}), {}),
        (pa.table({"n": pa.array(NUMBERS, pa.timestamp("us")), "s": ["x"] * 40}), {}),
        (pa.table({"n": NUMBERS, "s": ["x"] * 40}).replace_schema_metadata(FEATURES), {}),
        (pa.table({"n": NUMBERS, "s": ["x"] * 40}), {"compression": "zstd"}),
        (pa.table({"n": NUMBERS, "s": ["x"] * 40}), {"version": "1.0"}),
    ],
    ids=["name", "order", "type", "labels", "codec", "version"],
)
def test_a_digest_follows_what_the_rows_are_read_by(
    tmp_path: Path, footer: Footer, table: pa.Table, settings: Any
) -> None:
    assert footer_of(tmp_path, table, **settings).digest(range(2)) != footer.digest(range(2))


def test_a_digest_is_the_same_in_another_process(footer: Footer, tmp_path: Path) -> None:
    again = footer_of(tmp_path, pa.table({"n": NUMBERS, "s": ["x"] * 40}))
    assert again.digest(range(4)) == footer.digest(range(4))
