"""Data sets of the hub: by name, configuration, split and revision, from a cache and without network."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from huggingface_hub import constants

from curate.core.calls import StoreRunner
from curate.core.errors import UserError
from curate.core.store import Store
from curate.pool.describe import summarise_files
from curate.pool.hubaddress import HubAddress, parse_address
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from tests.hubcache import cache_dataset

OLD, NEW = "a" * 40, "b" * 40
REPO = "owner/chats"
CARD = b"""---
configs:
- config_name: en
  default: true
  data_files: [{split: train, path: en/train*}, {split: test, path: en/test.jsonl}]
- config_name: fr
  data_files: fr/rows.jsonl.gz
---
# Chats
"""


def lines(*prompts: str) -> bytes:
    records = ({"prompt": prompt, "completion": f"to {prompt}"} for prompt in prompts)
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def parquet(*prompts: str) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"prompt": prompts, "completion": [f"to {p}" for p in prompts]}).write_parquet(
        buffer
    )
    return buffer.getvalue()


CHATS = {
    "README.md": CARD,
    ".gitattributes": b"*.gz filter=lfs",
    "en/train-00000-of-00002.jsonl": lines("a", "b"),
    "en/train-00001-of-00002.jsonl": lines("c"),
    "en/test.jsonl": lines("t"),
    "fr/rows.jsonl.gz": gzip.compress(lines("un", "deux"), mtime=0),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


@pytest.fixture
def chats(cache: Path) -> Path:
    return cache_dataset(cache, REPO, CHATS, OLD)


def ids(store: Store, **entry: object) -> list[str]:
    """Return the row ids of an entry, in order."""
    file = RowFile.model_validate({"path": REPO, "source": "s", **entry})
    rows = row_set("pool", [file], seed=0, max_rejected=0.0).read(StoreRunner(store))
    return rows.read()["row_id"].to_list()


def key(**entry: object) -> tuple[str, ...]:
    file = RowFile.model_validate({"path": REPO, "source": "s", **entry})
    return tuple(call.key for call in row_set("pool", [file], seed=0, max_rejected=0.0).calls)


def fault(**entry: object) -> str:
    """Return the sentence that an entry is refused with."""
    with pytest.raises(UserError) as caught:
        key(**entry)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_rows_of_a_split_are_named_by_split_file_and_position(store: Store, chats: Path) -> None:
    assert ids(store, split="train") == [
        "s/train/en/train-00000-of-00002.jsonl:1",
        "s/train/en/train-00000-of-00002.jsonl:2",
        "s/train/en/train-00001-of-00002.jsonl:1",
    ]
    assert ids(store, split="test") == ["s/test/en/test.jsonl:1"]
    assert ids(store, config="fr") == [f"s/train/fr/rows.jsonl.gz:{n}" for n in (1, 2)]


def test_a_repository_without_a_card_is_read_by_the_names_of_its_files(
    store: Store, cache: Path
) -> None:
    files = {f"data/{s}-00000-of-00001.parquet": parquet(s, s + "2") for s in ("train", "test")}
    cache_dataset(cache, REPO, files, OLD)
    name = "s/test/data/test-00000-of-00001.parquet"
    assert ids(store, split="test") == [f"{name}:1", f"{name}:2"]


def test_a_commit_makes_the_key_and_a_moved_branch_another(cache: Path) -> None:
    cache_dataset(cache, REPO, CHATS, OLD)
    before = key(split="train")
    assert key(split="train", revision=OLD) == before
    assert key(split="train", path=f"hf://datasets/{REPO}@{OLD}") == before
    # The same files at another commit, to which main now points.
    cache_dataset(cache, REPO, CHATS, NEW)
    assert key(split="train") != before
    assert key(split="train", revision=OLD) == before
    assert len({key(split="train"), key(split="test"), key(config="fr")}) == 3


def test_files_of_a_repository_by_their_paths(store: Store, chats: Path) -> None:
    path = f"hf://datasets/{REPO}"
    assert ids(store, path=f"{path}/en/test.jsonl") == ["s/test.jsonl:1"]
    assert ids(store, path=f"{path}@main/en/*-0000?-of-*") == [
        "s/train-00000-of-00002.jsonl:1",
        "s/train-00000-of-00002.jsonl:2",
        "s/train-00001-of-00002.jsonl:1",
    ]
    assert f"owner/chats at {OLD}: no file matches" in fault(path=f"{path}/gone/*.jsonl")


def test_a_tag_and_the_hubs_own_parquet_are_revisions(store: Store, cache: Path) -> None:
    cache_dataset(cache, REPO, {"t.jsonl": lines("tagged")}, OLD, ref="v1")
    converted = {"default/train/0000.parquet": parquet("a")}
    cache_dataset(cache, REPO, converted, NEW, ref="refs/convert/parquet")
    assert ids(store, revision="v1") == ["s/train/t.jsonl:1"]
    expected = ["s/train/default/train/0000.parquet:1"]
    assert ids(store, revision="refs/convert/parquet") == expected
    assert ids(store, path=f"hf://datasets/{REPO}@refs%2Fconvert%2Fparquet") == expected


def test_a_sample_is_the_same_rows_wherever_the_cache_lies(store: Store, chats: Path) -> None:
    sample = ids(store, split="train", sample=2)
    assert len(sample) == 2 and set(sample) < set(ids(store, split="train"))


# --- what is refused ----------------------------------------------------------------------------


def test_an_unknown_split_or_configuration_is_told_with_those_there_are(chats: Path) -> None:
    assert "several splits (train, test); name one, e.g. `split: train`" in fault()
    assert "has no split 'dev'; it has train, test" in fault(split="dev")
    assert "has no configuration 'de'; it has en, fr" in fault(config="de", split="train")


def test_several_configurations_without_a_default_are_listed(cache: Path) -> None:
    files = {**CHATS, "README.md": CARD.replace(b"  default: true\n", b"")}
    cache_dataset(cache, REPO, files, OLD)
    assert "several configurations (en, fr); name one, e.g. `config: en`" in fault()


@pytest.mark.parametrize(
    "entry", [{}, {"revision": "v9"}, {"path": f"hf://datasets/{REPO}/x.json"}]
)
def test_what_the_cache_has_not_is_told_with_the_command_that_fetches_it(
    cache: Path, entry: dict[str, str]
) -> None:
    sentence = fault(**entry)
    assert "no file or folder here" in sentence
    command = "hf download owner/chats --repo-type dataset"
    more = f" --revision {entry['revision']}" if "revision" in entry else ""
    assert f"HF_HUB_OFFLINE is set and the cache {cache} does not hold all of it" in sentence
    assert f"fetch the data set once with a network ({command}{more})" in sentence


def test_a_cache_with_some_of_the_shards_is_told(cache: Path) -> None:
    files = {name: data for name, data in CHATS.items() if "00001-of" not in name}
    cache_dataset(cache, REPO, files, OLD)
    assert "the cache has 1 of the 2 files en/train-*; fetch" in fault(split="train")
    assert key(split="test")


def test_a_cache_whose_own_list_names_more_files_is_told(cache: Path) -> None:
    tree_cache = pytest.importorskip("huggingface_hub._tree_cache", reason="of huggingface_hub 2")
    snapshot = cache_dataset(cache, REPO, {"a.jsonl": lines("a")}, OLD)
    entry = tree_cache.TreeCacheEntry(
        size=1, blob_id="0", lfs_sha256=None, lfs_size=None, xet_hash=None
    )
    folder = str(snapshot.parents[1])
    tree_cache.write_tree_cache(folder, OLD, {name: entry for name in ("a.jsonl", "b.jsonl")})
    assert "does not hold all of it" in fault()


def test_a_cache_that_datasets_would_take_for_a_pattern_is_told(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hub[1]", "hub1"):
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / name))
        cache_dataset(tmp_path / name, REPO, {"a.jsonl": lines(name)}, OLD)
    assert key()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub[1]"))
    assert "set HF_HOME to a folder without * ? [ in its path" in fault()


def test_a_data_set_made_by_a_script_is_refused(cache: Path) -> None:
    cache_dataset(cache, REPO, {"chats.py": b"import os", "a.jsonl": lines("a")}, OLD)
    sentence = fault()
    assert "a script of its own (chats.py), which is not run" in sentence
    assert "`revision: refs/convert/parquet`" in sentence


def test_a_data_set_of_pictures_and_one_of_nothing_are_refused(cache: Path) -> None:
    cache_dataset(cache, REPO, {"train/a.png": b"\x89PNG"}, OLD)
    assert "hold no records, e.g. train/a.png" in fault()
    cache_dataset(cache, REPO, {"README.md": b"# Soon"}, NEW)
    assert "has no file that `datasets` reads" in fault()


def test_a_revision_is_for_the_hub_and_a_configuration_for_what_has_some(
    tmp_path: Path, chats: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines("a"))
    assert "only those have a `revision:`" in fault(path="a.jsonl", revision="v1")
    assert "no configurations; leave out `config: en`" in fault(path="a.jsonl", config="en")
    inner = f"hf://datasets/{REPO}@v1/en/test.jsonl"
    assert "`revision:` is 'v2'; leave one out" in fault(path=inner, revision="v2")
    assert "`config: en` is for a whole data set" in fault(
        path=f"hf://datasets/{REPO}/en/test.jsonl", config="en"
    )


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("owner/name", HubAddress("owner/name")),
        ("HuggingFaceH4/ultrachat_200k", HubAddress("HuggingFaceH4/ultrachat_200k")),
        ("hf://datasets/o/n", HubAddress("o/n")),
        ("hf://datasets/o/n@v1/a/b.jsonl", HubAddress("o/n", "v1", "a/b.jsonl")),
        ("hf://datasets/o/n@refs/pr/3/x", HubAddress("o/n", "refs/pr/3", "x")),
        ("https://huggingface.co/datasets/o/n", HubAddress("o/n")),
        ("there/name", None),
        ("owner/rows.jsonl", None),
        ("owner/rows.csv.gz", None),
        ("name", None),
        ("a/b/c", None),
        ("owner/*", None),
        ("./owner/name", None),
        ("hf://buckets/o/n/x.jsonl", None),
    ],
)
def test_a_name_of_the_hub_is_told_from_a_path(
    cache: Path, path: str, address: HubAddress | None
) -> None:
    Path("there").mkdir()
    assert parse_address(path) == address


def test_a_name_below_a_folder_of_this_machine_is_a_path(cache: Path) -> None:
    Path("owner").mkdir()
    assert "a data set of the Hugging Face Hub is hf://datasets/owner/chats" in fault()


def summaries(entries: Sequence[RowFile]) -> list[str]:
    read = row_set("pool", entries, seed=0, max_rejected=0.0).entries
    return [line for file in summarise_files({"pool": read}, 0) for line in file.lines()]


def test_check_shows_commit_configuration_and_split(chats: Path) -> None:
    entries = [RowFile(path=REPO, split="test", source="chats")]
    first, of, *_ = summaries(entries)
    assert first.startswith("pool chats/test/en/test.jsonl: JSON Lines; 1 records")
    assert of == f"    of owner/chats, commit {OLD}, config en, split test"
