"""Sets of rows: a step a file, one table of all, and what of it is read again after a change."""

import gzip
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from curate.core.calls import StoreRunner, Table
from curate.core.store import Artifact, Computation, Store
from curate.core.tables import read_batches
from curate.pool import entries
from curate.pool.rowset import read_sets, row_set
from curate.pool.settings import RowFile


def write(path: Path, *numbers: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    lines = [json.dumps({"prompt": f"q{n}", "completion": f"a{n}"}) + "\n" for n in numbers]
    path.write_text("".join(lines))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, numbers in (("a", (1, 2)), ("b", (3,)), ("c", (4, 5, 6))):
        write(tmp_path / "pool" / f"{name}.jsonl", *numbers)
    return tmp_path / "pool"


class CountingRunner(StoreRunner):
    """A runner that keeps the names of the steps that it has to run."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.steps: list[str] = []

    def execute_all(self, computations: list[Computation]) -> list[Artifact]:  # type: ignore[override]
        artifacts = super().execute_all(computations)
        self.steps += [artifact.name for artifact in artifacts if not artifact.cached]
        return artifacts


def read(run: StoreRunner, pool: Path, **settings: int) -> Table:
    entry = RowFile.model_validate({"path": str(pool), "source": "s", **settings})
    return row_set("pool", [entry], seed=0, max_rejected=0.5).read(run)


def prompts(table: Table) -> list[str]:
    return [messages[0]["content"] for messages in table.read()["messages"]]


def test_a_file_that_changes_or_is_new_is_all_that_is_read_again(
    store: Store, folder: Path
) -> None:
    run = CountingRunner(store)
    assert prompts(read(run, folder)) == ["q1", "q2", "q3", "q4", "q5", "q6"]
    assert run.steps == ["ingest", "ingest", "ingest", "pool"]
    run.steps.clear()
    write(folder / "b.jsonl", 30, 31)
    assert prompts(read(run, folder)) == ["q1", "q2", "q30", "q31", "q4", "q5", "q6"]
    assert run.steps == ["ingest", "pool"]
    run.steps.clear()
    write(folder / "d.jsonl", 7)
    assert prompts(read(run, folder))[-1] == "q7"
    assert run.steps == ["ingest", "pool"]
    run.steps.clear()
    (folder / "a.jsonl").unlink()
    assert prompts(read(run, folder)) == ["q30", "q31", "q4", "q5", "q6", "q7"]
    assert run.steps == ["pool"]


def test_rows_of_several_files_take_their_place_on_the_disk_once(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read(StoreRunner(store), folder)
    assert [path.stat().st_nlink for path in table.paths] == [2, 2, 2]

    def refuse(*_: object) -> None:
        raise PermissionError

    # A file system that has no links.
    monkeypatch.setattr("os.link", refuse)
    copied = read(StoreRunner(Store(store.root.parent / "other")), folder)
    assert [path.stat().st_nlink for path in copied.paths] == [1, 1, 1]
    assert copied.artifact.digest == table.artifact.digest


def test_what_a_store_forgets_of_the_files_their_table_keeps(store: Store, folder: Path) -> None:
    run = CountingRunner(store)
    table = read(run, folder)
    for entry in store.entries():
        if entry.step == "ingest":
            store.remove(entry.name)
    assert store.damage(table.artifact.path.name) == []
    assert prompts(table) == ["q1", "q2", "q3", "q4", "q5", "q6"]


def test_a_table_of_parts_is_read_as_one_is(store: Store, folder: Path, tmp_path: Path) -> None:
    table = read(StoreRunner(store), folder)
    whole = pl.concat([pl.read_parquet(path) for path in table.paths])
    assert len(table.paths) == 3
    assert table.height == 6
    assert table.read().equals(whole)
    assert table.scan().slice(1, 3).collect().equals(whole[1:4])
    assert table.read(["row_id"]).equals(whole.select("row_id"))
    batches = [pl.DataFrame(batch) for batch in read_batches(table.paths, 2, ["row_id"])]
    assert [batch.height for batch in batches] == [2, 1, 2, 1]
    assert pl.concat(batches).equals(whole.select("row_id"))


def test_very_many_files_share_steps(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MOST_PARTS", 4)
    for number in range(9):
        write(tmp_path / "pool" / f"{number}.jsonl", number)
    run = CountingRunner(store)
    assert prompts(read(run, tmp_path / "pool")) == [f"q{n}" for n in range(9)]
    assert run.steps == ["ingest", "ingest", "ingest", "pool"]


def test_a_sample_is_drawn_from_all_files(store: Store, folder: Path) -> None:
    run = CountingRunner(store)
    few = prompts(read(run, folder, sample=3))
    assert run.steps == ["ingest", "pool"]
    assert len(few) == 3
    assert {*few} < {*prompts(read(run, folder))}


def test_a_file_that_is_read_for_two_purposes_is_read_once(store: Store, folder: Path) -> None:
    run = CountingRunner(store)
    files = [RowFile(path=str(folder / "a.jsonl"), source="s")]
    pool, target = (row_set(n, files, seed=0, max_rejected=0.0) for n in ("pool", "target"))
    one, two = read_sets(run, [pool, target])
    assert prompts(one) == prompts(two) == ["q1", "q2"]
    assert run.steps.count("ingest") <= 2
    assert one.artifact.digest == two.artifact.digest
    run.steps.clear()
    read_sets(run, [row_set("eval", files, seed=0, max_rejected=0.0)])
    assert run.steps == ["eval"]


def test_remarks_on_files_are_made_whenever_they_are_read(
    store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "none.jsonl").write_text("\n")
    record = b'{"prompt": "q", "prompt": "r", "completion": "a"}\n'
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(record))
    for _ in range(2):
        caplog.clear()
        table = read(StoreRunner(store), folder)
        assert "files without any record: 1 (none.jsonl)" in caplog.text
        assert (
            "a key that comes twice, of which the last counts: 1 (packed.jsonl.gz:1" in caplog.text
        )
    assert table.artifact.counts["empty_files"] == 1
    assert table.artifact.counts["repeated_keys"] == 1


def test_a_pool_gives_the_same_table_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    one = read(StoreRunner(Store(tmp_path / "one")), folder)
    shutil.move(folder, tmp_path / "moved")
    two = read(StoreRunner(Store(tmp_path / "two")), tmp_path / "moved")
    assert (one.artifact.key, one.artifact.digest) == (two.artifact.key, two.artifact.digest)
