"""A big file read range by range: the rows, rejects and places of the file as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.store import Store
from curate.orchestration.engines import run_on_engine
from curate.pool import bigfiles, entries
from curate.pool.describe import summarise_files
from tests.pool.cutfiles import COUNTER, WHOLE, outcome, ranges_of, read, rows_of, steps
from tests.pool.test_rowset import CountingRunner
from tests.report.realrun import recipe, write_inputs

GOOD = st.builds(
    lambda n, text: json.dumps({"prompt": f"q{n}", "completion": text}).encode(),
    st.integers(0, 99),
    st.sampled_from(["a", "é" * 30, "x" * 200]),
)
OTHERS = st.sampled_from(
    [b"", b" ", b"\t", b"{bad", b"[1]", b'{"prompt": "a", "prompt": "b", "completion": "c"}',
     b'{"other": 1}', b"\xff", b'{"messages": [{"role": "user", "content": "u"}]}', b"\xef\xbb\xbf"]
)  # fmt: skip


@given(
    lines=st.lists(GOOD | GOOD | OTHERS, max_size=25),
    ends=st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=25, max_size=25),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    cut=st.integers(0, 2),
    size=st.integers(1, 700),
)
def test_ranges_give_the_rows_and_rejects_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    ends: list[bytes],
    bom: bytes,
    cut: int,
    size: int,
) -> None:
    """With lines longer than a range, and longer than may be; the last one perhaps without its end."""
    folder = tmp_path_factory.getbasetemp() / f"ranges-{next(COUNTER)}"
    folder.mkdir()
    data = bom + b"".join(line + end for line, end in zip(lines, ends, strict=False))
    (folder / "a.jsonl").write_bytes(data[: len(data) - cut])
    assert outcome(folder / "a.jsonl", size) == outcome(folder / "a.jsonl", WHOLE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, 0, 20)
    return tmp_path


def write(folder: Path, first: int, end: int) -> None:
    with (folder / "a.jsonl").open("a") as file:
        for number in range(first, end):
            file.write(json.dumps({"prompt": f"q{number:03d}", "completion": "a"}) + "\n")


def test_lines_that_are_added_are_read_with_those_of_the_last_range(
    store: Store, folder: Path
) -> None:
    run = CountingRunner(store)
    assert steps(run, folder / "a.jsonl", 150) == ["ingest"] * 5 + ["pool"]
    write(folder, 20, 22)
    assert steps(run, folder / "a.jsonl", 150) == ["ingest", "pool"]
    lines = (folder / "a.jsonl").read_text().splitlines(keepends=True)
    (folder / "a.jsonl").write_text("".join([*lines[:9], lines[9].replace("q", "Q"), *lines[10:]]))
    assert steps(run, folder / "a.jsonl", 150) == ["ingest", "pool"]
    (folder / "a.jsonl").write_text("".join([lines[0].replace("q", "Q"), *lines[1:]]))
    assert steps(run, folder / "a.jsonl", 150) == ["ingest"] * 6 + ["pool"], (
        "the head tells how all is read"
    )


def test_a_run_that_ended_goes_on_behind_the_ranges_that_are_read(
    store: Store, folder: Path
) -> None:
    path = folder / "a.jsonl"
    with ranges_of(150):
        for call in rows_of(path, 150).calls[:3]:
            store.ensure(call)
    assert steps(CountingRunner(store), path, 150) == ["ingest"] * 2 + ["pool"]


def test_a_range_that_changes_after_its_digest_leaves_no_artifact(
    store: Store, folder: Path
) -> None:
    first, *_, last = rows_of(folder / "a.jsonl", 150).calls
    text = (folder / "a.jsonl").read_text()
    (folder / "a.jsonl").write_text(text.replace("q019", "qqqq"))
    with ranges_of(150):
        store.ensure(first)
        with pytest.raises(UserError, match=r"a.jsonl: the file changed while it was being read"):
            store.ensure(last)
        (folder / "a.jsonl").write_text(text.replace("q001", "qqqq"))
        with pytest.raises(UserError, match=r"a.jsonl: the file changed while it was being read"):
            store.ensure(last)


@pytest.mark.parametrize(
    "settings", [{"sample": 4}, {"fields": {"prompt": "completion", "response": "prompt"}}]
)
def test_samples_and_fields_are_those_of_the_whole_file(folder: Path, settings: Any) -> None:
    whole = read(folder / "a.jsonl", WHOLE, **settings)
    cut = read(folder / "a.jsonl", 150, **settings)
    assert cut.read().equals(whole.read())
    assert len(cut.paths) == (1 if "sample" in settings else 5)


def test_a_file_whose_first_records_say_nothing_is_read_in_one_piece(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(("x" * 400 + "\n") * 9)
    write(tmp_path, 0, 20)
    table = read(tmp_path / "a.jsonl", 150)
    assert len(table.paths) == 1
    assert table.height == 20


def test_a_file_among_very_many_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several are read in one step, which knows each by the digest of its bytes."""
    monkeypatch.setattr(entries, "MOST_PARTS", 1)
    write(tmp_path, 0, 20)
    (tmp_path / "b.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes())
    table = read(tmp_path, 150)
    assert len(table.paths) == 1
    assert table.height == 40


def test_a_cut_file_is_summarised_as_it_is_in_one_piece(folder: Path) -> None:
    with (folder / "a.jsonl").open("a") as file:
        file.write("{bad\n")
    lines = []
    for size in (150, WHOLE):
        rows = rows_of(folder / "a.jsonl", size)
        assert len(rows.calls) == (6 if size == 150 else 1)
        with ranges_of(size):
            [summary] = summarise_files({"pool": rows.entries}, 0)
        lines.append(summary.lines())
    assert lines[0] == lines[1]
    assert "20 rows, 1 rejected" in lines[0][0]


@pytest.fixture(scope="module")
def on_ranges(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Callable[..., Any]:
    """Return a function that runs one pool, cut into ranges; the same run once."""
    folder = tmp_path_factory.mktemp("ranges")
    write_inputs(folder)
    plain = recipe(folder, tiny, [{"method": "exact"}]).model_dump(mode="json")
    plain["models"] = {"base": str(tiny), "embedder": "static"}
    pool = folder / "pool.jsonl"
    pool.write_text(pool.read_text() * (1 + 120 // pool.read_text().count("\n")))
    records = [json.loads(line) for line in pool.read_text().splitlines()]
    pl.DataFrame(records).write_parquet(folder / "pool.parquet", row_group_size=30)
    plain["pool"].append({"path": str(folder / "pool.parquet"), "source": "table"})

    @cache
    def run(on: str) -> tuple[pl.DataFrame, set[str]]:
        """Return the ledger, and the names of what is stored."""
        workers = {} if on == "inline" else {"workers": 2}
        settings = {"run": {"on": on, **workers}, "store": str(folder / f"store-{on}")}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bigfiles, "RANGE_BYTES", 200)
            result = run_on_engine(Config.model_validate(plain | settings), folder / f"run-{on}")
        return result.ledger, {path.name for path in (folder / f"store-{on}").glob("*-*")}

    return run


@pytest.mark.system
@pytest.mark.parametrize("on", ["threads", "dask", "ray"])
def test_a_run_on_workers_is_that_of_one_process(on: str, on_ranges: Callable[..., Any]) -> None:
    """The driver cuts, workers read: these know neither the size of ranges nor other files."""
    # Ray reads its environment when it is imported, so the engine imports it.
    if find_spec({"dask": "distributed", "ray": "ray"}.get(on, "threading")) is None:
        pytest.skip("the engine is not installed")
    ledger, names = on_ranges("inline")
    other_ledger, other_names = on_ranges(on)
    assert ledger.equals(other_ledger)
    assert names == other_names
    assert sum(name.startswith("ingest-") for name in names) > 10
