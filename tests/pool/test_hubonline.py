"""Data sets of the hub over the network: streamed, pinned to a commit, refused by one sentence."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl
import pytest
from huggingface_hub import snapshot_download

from curate.pool.hubaddress import HubAddress
from curate.pool.hubrepo import find_hub_files
from curate.pool.records import read_records
from tests.commandline import curate
from tests.datahub import DataHub, serve_datahub
from tests.hubclient import hub_client

pytestmark = pytest.mark.system

OLD, NEW = "a" * 40, "b" * 40
REPO = "owner/chats"


def lines(name: str, count: int) -> bytes:
    records = ({"prompt": f"Say {name} {i}", "completion": f"{name} {i}"} for i in range(count))
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def parquet(groups: int) -> bytes:
    """Return a file of so many row groups of 500 rows, whose texts do not compress."""
    buffer = io.BytesIO()
    texts = [os.urandom(2_000).hex() for _ in range(groups * 500)]
    frame = pl.DataFrame({"prompt": texts, "completion": texts})
    frame.write_parquet(buffer, row_group_size=500, compression="uncompressed")
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[DataHub]:
    first = {"data/train.jsonl": lines("one", 3), "data/test.jsonl": lines("test", 1)}
    second = {**first, "data/train.jsonl": lines("two", 4)}
    hub = DataHub(REPO, {OLD: first, NEW: second}, {"main": NEW, "v1": OLD})
    with serve_datahub(hub):
        yield hub


def write_recipe(folder: Path, entry: str) -> None:
    recipe = f"name: r\npool: {entry}\nselect: random\nbudget: 1\nstore: store\n"
    (folder / "recipe.yaml").write_text(recipe)


def check(hub: DataHub, folder: Path, entry: str, *, offline: bool = False) -> tuple[int, str]:
    """Check a recipe with this entry as its pool; return exit code and what was said."""
    write_recipe(folder, entry)
    with hub_client(hub.url, folder / "home", offline=offline):
        done = curate("check", "recipe.yaml", folder=folder)
    return done.returncode, done.stdout + done.stderr


def check_elsewhere(hub: DataHub, folder: Path, entry: str) -> tuple[int, str]:
    """Do it in a process of its own, by the variables that users set."""
    write_recipe(folder, entry)
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "HF_TOKEN": ""}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "curate", "check", "recipe.yaml"],
        cwd=folder, env=env, capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_split_is_streamed_at_the_commit_of_its_branch(hub: DataHub, tmp_path: Path) -> None:
    code, said = check_elsewhere(hub, tmp_path, f"{{path: {REPO}, split: train}}")
    assert code == 0, said
    assert "pool chats/train/data/train.jsonl: JSON Lines; 4 records" in said
    assert f"of owner/chats, commit {NEW}, config default, split train" in said
    assert "Say two 0" in said
    assert said.endswith("nothing was run\n"), "libraries say nothing of their own"
    code, said = check(hub, tmp_path, f"{{path: {REPO}, split: train, revision: v1}}")
    assert f"commit {OLD}" in said and "3 records" in said and "Say one 0" in said, said
    code, said = check(hub, tmp_path, f"hf://datasets/{REPO}@{OLD}/data/t*.jsonl")
    assert code == 0 and "pool t/test.jsonl: JSON Lines; 1 records" in said, said
    assert not [*(tmp_path / "home").rglob("*.jsonl")], "nothing is downloaded as a whole"


def test_rows_of_parquet_come_before_the_whole_file_has(hub: DataHub, tmp_path: Path) -> None:
    data = parquet(groups=20)
    hub.commits = {NEW: {"rows.parquet": data}}
    with hub_client(hub.url, tmp_path / "home"):
        [file] = find_hub_files(HubAddress(REPO), None, None).files
        assert len(list(islice(read_records(file), 10))) == 10
    spans = [line.partition("bytes=")[2].split("-") for line in hub.requests if "bytes=" in line]
    assert 0 < sum(int(last) - int(first) + 1 for first, last in spans) < len(data) / 2


REFUSED = {
    "name": ("owner/other", "the hub has no data set of that name, or a private one"),
    "revision": (f"{{path: {REPO}, revision: v9}}", "but no branch, tag or commit 'v9'"),
    "split": (f"{{path: {REPO}, split: dev}}", "owner/chats has no split 'dev'; it has train, test"),
    "config": (f"{{path: {REPO}, config: de}}", "owner/chats has no configuration 'de'; it has default"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_what_the_hub_does_not_have_is_one_sentence(
    hub: DataHub, tmp_path: Path, fault: str
) -> None:
    entry, sentence = REFUSED[fault]
    code, said = check(hub, tmp_path, entry)
    assert code == 2 and sentence in said, said
    assert "Traceback" not in said


def test_a_gated_data_set_names_its_page_and_the_token(hub: DataHub, tmp_path: Path) -> None:
    hub.gated = True
    code, said = check(hub, tmp_path, f"{{path: {REPO}, split: train}}")
    assert code == 2
    assert f"accept them on {hub.url}/datasets/{REPO} and set HF_TOKEN" in said


def test_a_script_is_refused_with_the_way_out(hub: DataHub, tmp_path: Path) -> None:
    hub.commits = {NEW: {"chats.py": b"import os", "data.zip": b"PK"}}
    code, said = check(hub, tmp_path, REPO)
    assert code == 2 and "a script of its own (chats.py)" in said
    assert "`revision: refs/convert/parquet`" in said


def test_without_a_network_what_was_downloaded_is_read_at_its_commit(
    hub: DataHub, tmp_path: Path
) -> None:
    entry = f"{{path: {REPO}, split: train}}"
    code, said = check(hub, tmp_path, entry, offline=True)
    assert code == 2 and f"(hf download {REPO} --repo-type dataset)" in said
    with hub_client(hub.url, tmp_path / "home"):
        snapshot_download(REPO, repo_type="dataset")
    hub.branches["main"] = OLD
    code, said = check(hub, tmp_path, entry, offline=True)
    assert code == 0 and f"commit {NEW}" in said, said
    # With a network again the branch has moved.
    code, said = check(hub, tmp_path, entry)
    assert code == 0 and f"commit {OLD}" in said, said
