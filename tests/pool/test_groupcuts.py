"""A big Parquet file read by its row groups: the rows, rejects and places of the file as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.core.store import Store
from curate.pool import parts
from curate.pool.containers.footer import Footer, read_footer
from curate.pool.groupcuts import cut_groups
from curate.pool.rowset import RowSet
from tests.pool.cutfiles import COUNTER, WHOLE, outcome, rows_of, steps
from tests.pool.test_rowset import CountingRunner

SCHEMA = pa.schema(
    [("prompt", pa.string()), ("completion", pa.string()), ("n", pa.uint64()), ("b", pa.binary())]
)
GOOD = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(["q", "é" * 30]),
        "completion": st.sampled_from(["a", "x" * 200]),
        "n": st.sampled_from([None, 0, 2**64 - 1]),
    }
)
OTHERS = st.sampled_from(
    [{}, {"prompt": "q"}, {"n": 3}, {"prompt": "q", "completion": " "},
     {"prompt": "q", "completion": "a", "b": b"\xff"}]
)  # fmt: skip


def write(folder: Path, records: Sequence[dict[str, Any]], group: int = 3, **more: Any) -> Path:
    path = folder / "a.parquet"
    table = pa.Table.from_pylist(list(records), schema=more.pop("schema", SCHEMA))
    pq.write_table(table, path, row_group_size=group, **more)
    return path


def write_groups(folder: Path, groups: Sequence[Sequence[dict[str, Any]]], **more: Any) -> Path:
    """Write a file with these row groups, some of which may have no row."""
    path = folder / "a.parquet"
    with pq.ParquetWriter(path, SCHEMA, **more) as writer:
        for records in groups:
            writer.write_table(pa.Table.from_pylist(list(records), schema=SCHEMA))
    return path


def pool(folder: Path, size: int, **settings: Any) -> RowSet:
    """Return what is read of the file, cut into ranges of a size."""
    return rows_of(folder / "a.parquet", size, **settings)


@given(
    records=st.lists(GOOD | GOOD | OTHERS, max_size=25),
    group=st.integers(1, 9),
    size=st.integers(1, 900),
    codec=st.sampled_from(["none", "snappy", "zstd"]),
    index=st.booleans(),
)
def test_ranges_give_the_rows_and_rejects_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[dict[str, Any]],
    group: int,
    size: int,
    codec: str,
    index: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"groups-{next(COUNTER)}"
    folder.mkdir()
    write(folder, records, group, compression=codec, write_page_index=index)
    assert outcome(folder / "a.parquet", size) == outcome(folder / "a.parquet", WHOLE)


@given(
    groups=st.lists(st.lists(GOOD | OTHERS, max_size=3), max_size=7),
    size=st.integers(1, 900),
    dictionary=st.booleans(),
)
def test_row_groups_without_rows_are_ranges_like_others(
    tmp_path_factory: pytest.TempPathFactory,
    groups: list[list[dict[str, Any]]],
    size: int,
    dictionary: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"empty-{next(COUNTER)}"
    folder.mkdir()
    write_groups(folder, groups, use_dictionary=dictionary)
    assert outcome(folder / "a.parquet", size) == outcome(folder / "a.parquet", WHOLE)


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_row_group_without_rows_leaves_the_ranges_of_the_others(
    store: Store, folder: Path, dictionary: bool
) -> None:
    """Its footer gives no place of its data, which is none: the file is cut all the same."""
    records = records_of(range(15))
    groups = [records[at : at + 3] for at in range(0, 15, 3)]
    write_groups(folder, groups, use_dictionary=dictionary)
    before = pool(folder, 1).calls
    write_groups(folder, [*groups[:2], [], *groups[2:], []], use_dictionary=dictionary)
    after = pool(folder, 1).calls
    assert len(before) == 5
    assert [call.key for call in after[:2]] == [call.key for call in before[:2]]
    assert len(steps(CountingRunner(store), folder / "a.parquet", 1)) > 5


@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=9), size=st.integers(1, 12))
def test_ranges_are_the_fewest_groups_of_a_size(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], size: int
) -> None:
    """All bytes of the groups stand in one of them."""
    path = write(tmp_path_factory.getbasetemp(), records_of(range(len(sizes))), group=1)
    with path.open("rb") as handle:
        footer = read_footer(handle)
        footer.__dict__["sizes"] = sizes
        groups = cut_groups(handle, footer, size)
    if not groups:
        assert sum(sizes[:-1]) < size
        return
    assert [one.group for one in groups] == [0, *(one.group + one.count for one in groups)][:-1]
    assert sum(one.count for one in groups) == len(sizes)
    data, starts = path.read_bytes(), footer.starts()
    for one in groups:
        taken = sizes[one.group : one.group + one.count]
        assert sum(taken[:-1]) < size
        assert sum(taken) >= size or one is groups[-1]
        assert one.first == one.group + 1
        part = data[starts[one.group] : starts[one.group + one.count]]
        assert one.digest == hashlib.blake2b(part, digest_size=16).hexdigest()


def records_of(numbers: Sequence[int]) -> list[dict[str, Any]]:
    return [{"prompt": f"q{n:03d}", "completion": "a"} for n in numbers]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a file of five row groups, each a range."""
    write(tmp_path, records_of(range(15)))
    return tmp_path


def test_groups_that_are_new_or_change_are_all_that_is_read_again(
    store: Store, folder: Path
) -> None:
    run = CountingRunner(store)
    assert steps(run, folder / "a.parquet", 1) == ["ingest"] * 5 + ["pool"]
    write(folder, records_of(range(21)))
    assert steps(run, folder / "a.parquet", 1) == ["ingest"] * 2 + ["pool"]
    write(folder, records_of([*range(6), 66, *range(7, 21)]))
    assert steps(run, folder / "a.parquet", 1) == ["ingest", "pool"]
    longer = records_of(range(21))
    longer[6]["completion"] = "longer, so that all behind it moves"
    write(folder, longer)
    assert steps(run, folder / "a.parquet", 1) == ["ingest", "pool"]
    write(folder, records_of([99, *range(1, 21)]))
    assert steps(run, folder / "a.parquet", 1) == ["ingest"] * 7 + ["pool"], (
        "the head tells how all is read"
    )


def test_a_footer_that_says_more_costs_all_ranges(store: Store, folder: Path) -> None:
    """The rows may be read in another way by it, though their bytes are the same."""
    run = CountingRunner(store)
    steps(run, folder / "a.parquet", 1)
    write(folder, records_of(range(15)), schema=SCHEMA.with_metadata({"huggingface": "{}"}))
    assert steps(run, folder / "a.parquet", 1) == ["ingest"] * 5


def test_files_with_the_same_pages_are_known_apart_by_their_footers(folder: Path) -> None:
    digests = []
    for metadata in ({"a": "b"}, {"a": "c"}):
        write(folder, records_of(range(15)), schema=SCHEMA.with_metadata(metadata))
        [entry] = pool(folder, 1).entries.files
        digests += [file["digest"] for file in entry.identity["files"]]
    assert digests[0] != digests[1]


def test_a_file_of_one_row_group_is_the_same_step_whatever_its_size(folder: Path) -> None:
    write(folder, records_of(range(15)), group=15)
    [small], [large] = pool(folder, WHOLE).calls, pool(folder, 1).calls
    assert small.key == large.key


def damage(path: Path, group: int) -> None:
    """Overwrite the pages of a row group."""
    start = pq.read_metadata(path).row_group(group).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)


def test_damage_of_one_group_is_told_as_that_of_the_file_and_costs_its_range(
    store: Store, folder: Path
) -> None:
    path = folder / "a.parquet"
    sound = path.read_bytes()
    damage(path, 3)
    whole = outcome(folder / "a.parquet", WHOLE)
    assert "a.parquet: the Parquet data is damaged or cut off" in whole
    assert outcome(folder / "a.parquet", 1) == whole
    calls = pool(folder, 1).calls
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "DETECT_ROWS", 3)
        for number, call in enumerate(calls):
            if number != 3:
                store.ensure(call)
    path.write_bytes(sound)
    assert steps(CountingRunner(store), folder / "a.parquet", 1) == ["ingest", "pool"]


def test_a_group_of_fewer_rows_than_the_footer_says_is_damage(folder: Path) -> None:
    """Rows that are missing would be dropped without a word, and all behind them be misnumbered."""
    path = write(folder, records_of(range(1_000)), 1_000, use_dictionary=False)
    data = path.read_bytes()
    footer = read_whole(path)
    # The last of the row counts in the footer is that of the row group: 1,000 as a varint of zigzag.
    at = data.rindex(b"\xd0\x0f")
    path.write_bytes(data[:at] + b"\xd2\x0f" + data[at + 2 :])
    assert read_whole(path).rows == [footer.rows[0] + 1]
    assert "row group 0 has 1000 rows, and 1001 by the footer" in outcome(
        folder / "a.parquet", WHOLE
    )


def read_whole(path: Path) -> Footer:
    with path.open("rb") as handle:
        return read_footer(handle)


@pytest.mark.parametrize("change", ["bytes", "footer", "shorter"])
def test_a_file_that_changes_after_its_digest_leaves_no_artifact(
    store: Store, folder: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "DETECT_ROWS", 3)
    first, *_, last = pool(folder, 1).calls
    if change == "bytes":
        write(folder, records_of([*range(14), 99]))
    elif change == "footer":
        write(folder, records_of(range(15)), schema=SCHEMA.with_metadata({"a": "b"}))
    else:
        write(folder, records_of(range(12)))
    with pytest.raises(UserError, match=r"a.parquet: the file changed while it was being read"):
        store.ensure(last)
    if change == "footer":
        with pytest.raises(UserError, match=r"a.parquet: the file changed while it was being"):
            store.ensure(first)
    else:
        store.ensure(first)


@pytest.mark.parametrize(
    "settings", [{"sample": 4}, {"fields": {"prompt": "completion", "response": "prompt"}}]
)
def test_samples_and_fields_are_those_of_the_whole_file(folder: Path, settings: Any) -> None:
    assert outcome(folder / "a.parquet", 1, **settings) == outcome(
        folder / "a.parquet", WHOLE, **settings
    )
    assert len(pool(folder, 1, **settings).calls) == (1 if "sample" in settings else 5)


def test_labels_of_a_template_are_those_of_the_whole_file(tmp_path: Path) -> None:
    """Their names are read from the footer, by each range."""
    names = '{"info": {"features": {"n": {"_type": "ClassLabel", "names": ["no", "yes"]}}}}'
    rows = [{"prompt": f"q{i}", "n": i % 2} for i in range(15)]
    write(tmp_path, rows, schema=SCHEMA.with_metadata({"huggingface": names}))
    template = tmp_path / "t.j2"
    template.write_text("{{ prompt }} ||| {{ n }}")
    cut = outcome(tmp_path / "a.parquet", 1, template=[str(template)])
    assert cut == outcome(tmp_path / "a.parquet", WHOLE, template=[str(template)])
    assert {row["messages"][-1]["content"] for row in cut[0]} == {"no", "yes"}
    assert len(pool(tmp_path, 1, template=[str(template)]).calls) == 5
