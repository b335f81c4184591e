"""A messy folder as `curate check` reads it: each thing that makes no row is named, and named once."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import polars as pl
import pytest

from curate.core.calls import StoreRunner
from curate.core.store import Store
from curate.pool.files import find_files
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from tests.core.test_faults import curate

LINE = b'{"prompt": "a", "completion": "b"}\n'
NO_DATA = (
    ".DS_Store",
    "._a.jsonl",
    ".ipynb_checkpoints/a.jsonl",
    "dataset_info.json",
    "__MACOSX/a.jsonl",
)
COLUMNS = {"prompt": pl.String, "completion": pl.String}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one file of records, empty shards of every kind, broken links and housekeeping."""
    pool = tmp_path / "pool"
    for name in ("a.jsonl", "sub/b.jsonl", *NO_DATA):
        (pool / name).parent.mkdir(parents=True, exist_ok=True)
        (pool / name).write_bytes(LINE)
    for name in EMPTY[:5]:
        (pool / name).write_bytes(b"")
    (pool / "blank.jsonl").write_bytes(b"\n \n")
    (pool / "list.json").write_bytes(b"[]")
    (pool / "head.csv").write_bytes(b"prompt,completion\n")
    (pool / "packed.jsonl.gz").write_bytes(gzip.compress(b""))
    pl.DataFrame(schema=COLUMNS).write_parquet(pool / "rows.parquet")
    pl.DataFrame(schema=COLUMNS).write_ipc(pool / "rows.arrow")
    (pool / "gone.jsonl").symlink_to("nowhere")
    (pool / "sub" / "circle").symlink_to(pool)
    monkeypatch.chdir(tmp_path)
    return pool


EMPTY = (
    "0.jsonl", "0.json", "0.csv", "0.parquet", "0.arrow",
    "blank.jsonl", "list.json", "head.csv", "packed.jsonl.gz", "rows.parquet", "rows.arrow",
)  # fmt: skip


@pytest.mark.system
def test_empty_shards_of_every_container_hold_no_record_and_are_named_once(
    folder: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    entry = RowFile(path=str(folder), source="s")
    rows = row_set("pool", [entry], seed=0, max_rejected=0.0).read(StoreRunner(store)).artifact
    expected = {"rows_in": 2, "rows_out": 2, "rejected": {}, "empty_files": len(EMPTY)}
    assert rows.counts == expected
    [line] = [message for message in caplog.messages if "without any record" in message]
    assert all(len(re.findall(rf"[( ]{re.escape(name)}[,)]", line)) == 1 for name in EMPTY)


@pytest.mark.system
def test_check_names_once_what_it_leaves_out(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe = "name: r\npool: {path: pool, source: s}\nselect: length\nbudget: 1\nstore: store\n"
    Path("recipe.yaml").write_text(recipe)
    assert curate(monkeypatch, "check", "recipe.yaml") == 0
    said = capsys.readouterr().out
    for name in (*NO_DATA, "gone.jsonl", "circle"):
        assert caplog.text.count(name) == 1
    for name in EMPTY:
        assert said.count(f"pool s/{name}: ") == 1
    assert "pool s/0.parquet: an empty file; 0 records" in said


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train.jsonl", "test.jsonl", "dev/a.jsonl"], "train, dev, test"),
        (["train/a.jsonl", "validation/a.jsonl"], "train, validation"),
        (["train-a.jsonl", "train-b.jsonl", "contest.jsonl"], ""),
        (["test.jsonl", "eval.jsonl"], ""),
    ],
)
def test_files_of_several_splits_that_are_read_together_are_warned_of(
    tmp_path: Path, names: list[str], splits: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(LINE)
    assert [file.name for file in find_files(str(tmp_path))] == sorted(names)
    warnings = [f"files of the splits {splits} are read together; `split: train`"] if splits else []
    assert [
        text.partition(": ")[2].removesuffix(" reads those of one") for text in caplog.messages
    ] == warnings
    caplog.clear()
    if splits:
        assert all("train" in file.name for file in find_files(str(tmp_path), "train"))
        assert not caplog.messages
