"""Data sets in folders: saved ones, those with a card, those of shards, and this program's exports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import UserError
from curate.pool.files import PoolFile, find_files
from curate.pool.records import read_records

LINE = b'{"instruction": "a", "output": "b"}\n'


def put(folder: Path, *names: str, data: bytes = LINE) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def names(files: Sequence[PoolFile]) -> list[str]:
    return [file.name for file in files]


def values(path: Path, split: str | None = None) -> list[object]:
    files = find_files(str(path), split)
    return [record.value for file in files for record in read_records(file)]


def test_what_datasets_saved_is_read_without_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"prompt": f"p{i}", "about": {"n": i}, "tags": ["x"] * (i + 1)} for i in range(7)]
    whole = datasets.Dataset.from_list(rows)
    whole.save_to_disk(tmp_path / "one", num_shards=2)
    assert values(tmp_path / "one") == rows
    both = datasets.DatasetDict(train=whole.select(range(5)), test=whole.select([6, 5]))
    both.save_to_disk(tmp_path / "both")
    assert values(tmp_path / "both", "train") == rows[:5]
    assert values(tmp_path / "both", "test") == [rows[6], rows[5]]
    with pytest.raises(UserError, match=r"several splits \(train, test\); .*`split: train`"):
        find_files(str(tmp_path / "both"))
    with pytest.raises(UserError, match="has no split 'dev'; it has train, test"):
        find_files(str(tmp_path / "both"), "dev")
    next((tmp_path / "one").glob("*.arrow")).unlink()
    with pytest.raises(UserError, match=r"\.arrow: this file of the saved data set is missing"):
        find_files(str(tmp_path / "one"))


def test_the_card_names_the_files_of_a_split(tmp_path: Path) -> None:
    put(tmp_path, "data/train-0.parquet", "raw/all.jsonl", "dev.jsonl", "LICENSE")
    card = """---
configs:
- config_name: default
  data_files:
  - {split: train, path: data/*.parquet}
  - {split: dev, path: ["dev.jsonl", "../outside.jsonl"]}
---
# Data
"""
    put(tmp_path, "README.md", data=card.encode())
    assert names(find_files(str(tmp_path), "train")) == ["data/train-0.parquet"]
    assert names(find_files(str(tmp_path), "dev")) == ["dev.jsonl"]
    with pytest.raises(UserError, match=r"several splits \(train, dev\)"):
        find_files(str(tmp_path))


def test_several_configurations_are_told(tmp_path: Path) -> None:
    card = "---\nconfigs:\n- {config_name: a, data_files: a.jsonl}\n- {config_name: b}\n---\n"
    put(put(tmp_path, "a.jsonl", "b.jsonl"), "README.md", data=card.encode())
    with pytest.raises(UserError, match=r"several configurations \(a, b\), by its README.md"):
        find_files(str(tmp_path))


CARDS = [b"# Notes", b"---\n: [\n---\n", b"---\nconfigs: 7\n---\n", b"---\n", b"caf\xe9"]


@pytest.mark.parametrize("card", CARDS)
def test_a_folder_whose_card_names_no_files_is_an_ordinary_one(tmp_path: Path, card: bytes) -> None:
    put(put(tmp_path, "a.jsonl", "b.csv"), "README.md", data=card)
    assert names(find_files(str(tmp_path))) == ["a.jsonl", "b.csv"]


def test_shards_are_read_by_split(tmp_path: Path) -> None:
    shards = [f"data/train-{i:05d}-of-00002.parquet" for i in range(2)]
    put(tmp_path, *shards)
    assert names(find_files(str(tmp_path))) == shards
    put(tmp_path, "data/test-00000-of-00001.parquet")
    with pytest.raises(UserError, match=r"several splits \(test, train\)"):
        find_files(str(tmp_path))
    assert names(find_files(str(tmp_path), "train")) == shards


def test_an_ordinary_folder_is_read_whole_unless_a_split_is_named(tmp_path: Path) -> None:
    put(tmp_path, "train.jsonl", "test/a.jsonl", "retrain.jsonl")
    assert names(find_files(str(tmp_path))) == ["retrain.jsonl", "test/a.jsonl", "train.jsonl"]
    assert names(find_files(str(tmp_path), "train")) == ["train.jsonl"]
    assert names(find_files(str(tmp_path), "test")) == ["test/a.jsonl"]


def test_a_split_can_lie_within_the_files_of_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.json", data=json.dumps({"train": [{"n": 1}], "test": [{"n": 2}]}).encode())
    assert values(tmp_path, "test") == [{"n": 2}]


def test_columns_of_nothing_but_null_are_no_fields(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["x"], "b": pa.nulls(1)}), tmp_path / "x.parquet")
    assert values(tmp_path) == [{"a": "x"}]
