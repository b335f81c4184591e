"""Pools behind URLs: a server that speaks S3 and one of the web, both on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from uuid import uuid4

import fsspec
import polars as pl
import pytest

from curate.core.bucket import open_store
from curate.core.calls import StoreRunner
from curate.core.errors import UserError
from curate.core.store import Store
from curate.pool.files import PoolFile, digest_url, find_files
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from tests.httpserver import serving
from tests.s3server import use_s3

pytestmark = pytest.mark.system

LINE = b'{"instruction": "a", "output": "b"}\n'
HOUSEKEEPING = ("._b.jsonl", ".ipynb_checkpoints/c.jsonl", "dataset_info.json", "notes.txt")


def names(files: Sequence[PoolFile]) -> list[str]:
    return [file.name for file in files]


def fill(folder: Path) -> Path:
    """Put a pool into a folder: two files of records, a Parquet file, and what is no data."""
    for name in ("b.jsonl", "sub/c d.jsonl", *HOUSEKEEPING):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(LINE)
    frame = pl.DataFrame({"instruction": ["x", "y"], "output": ["1", "2"]})
    frame.write_parquet(folder / "a.parquet")
    return folder


def row_ids(store: Store, path: str) -> list[str]:
    entry = RowFile(path=path, source="s")
    rows = row_set("pool", [entry], seed=0, max_rejected=0.0).read(StoreRunner(store))
    return rows.read()["row_id"].to_list()


# --- S3 -----------------------------------------------------------------------------------------


@pytest.fixture
def bucket(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket with a pool in it, and the keys to it."""
    use_s3(monkeypatch, s3)
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    name = f"pools-{uuid4()}"
    filesystem.mkdir(name)
    filesystem.put(f"{fill(tmp_path / 'pool')}/", f"{name}/pool/", recursive=True)
    fsspec.filesystem("s3").clear_instance_cache()
    yield f"s3://{name}"
    fsspec.filesystem("s3").clear_instance_cache()


def test_a_folder_of_a_bucket_is_read_as_one_of_this_machine_is(
    bucket: str, tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    local = find_files(str(tmp_path / "pool"))
    caplog.clear()
    for path in (f"{bucket}/pool", f"{bucket}/pool/"):
        remote = find_files(path)
        assert names(remote) == names(local) == ["a.parquet", "b.jsonl", "sub/c d.jsonl"]
        assert all(caplog.text.count(name) == 1 for name in HOUSEKEEPING)
        caplog.clear()
    assert list(map(digest_url, remote)) == list(map(digest_url, local))
    assert row_ids(store, f"{bucket}/pool") == row_ids(store, str(tmp_path / "pool"))


def test_globs_and_files_of_a_bucket(bucket: str, store: Store) -> None:
    assert names(find_files(f"{bucket}/pool/*.jsonl")) == ["b.jsonl"]
    assert names(find_files(f"{bucket}/pool/**/*.jsonl")) == ["b.jsonl", "sub/c d.jsonl"]
    assert row_ids(store, f"{bucket}/pool/a.parquet") == ["s/a.parquet:1", "s/a.parquet:2"]


def test_a_split_of_shards_in_a_bucket_is_chosen(bucket: str, tmp_path: Path) -> None:
    filesystem = fsspec.filesystem("s3")
    for split in ("train", "test"):
        filesystem.pipe(f"{bucket}/shards/data/{split}-00000-of-00001.jsonl", LINE)
    filesystem.invalidate_cache()
    with pytest.raises(UserError, match=r"several splits \(test, train\)"):
        find_files(f"{bucket}/shards")
    assert names(find_files(f"{bucket}/shards", "test")) == ["data/test-00000-of-00001.jsonl"]
    card = "---\nconfigs:\n- {config_name: a, data_files: data/tr*}\n- {config_name: b}\n---\n"
    filesystem.pipe(f"{bucket}/shards/README.md", card.encode())
    filesystem.invalidate_cache()
    train = find_files(f"{bucket}/shards", config="a")
    assert names(train) == ["data/train-00000-of-00001.jsonl"]


@pytest.mark.parametrize("path", ["gone/", "pool/gone.jsonl", "pool/*.csv"])
def test_nothing_in_a_bucket_is_one_sentence(bucket: str, path: str) -> None:
    with pytest.raises(UserError, match=r"no file .* check the address") as caught:
        find_files(f"{bucket}/{path}")
    assert f"{bucket}/{path}" in str(caught.value)


def test_missing_keys_are_told_with_where_to_put_them(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(UserError, match=r"may not be read .*set AWS_ACCESS_KEY_ID") as caught:
        find_files(f"{bucket}/pool")
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(UserError, match=rf"{bucket}/pool: cannot be reached"):
        find_files(f"{bucket}/pool")


# --- Azure --------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["abfs://box/pool/", "az://box@acct.dfs.core.windows.net/a.jsonl"])
def test_missing_keys_of_azure_are_told_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    adlfs = pytest.importorskip("adlfs", reason="the driver of abfs://")
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acct")
    # Of all logins that of environment variables alone, so that no other machine is asked.
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    adlfs.AzureBlobFileSystem.clear_instance_cache()
    start = time.monotonic()
    fault = r"no login of Azure gave a token.*AZURE_STORAGE_ACCOUNT_KEY"
    with pytest.raises(UserError, match=fault):
        find_files(url)
    with pytest.raises(UserError, match=f"^store: .*used as a store.*{fault}"):
        open_store("abfs://box@acct.dfs.core.windows.net/curate").entries()
    # Its driver alone takes many minutes.
    assert time.monotonic() - start < 100
    adlfs.AzureBlobFileSystem.clear_instance_cache()


# --- the web ------------------------------------------------------------------------------------


class Handler(SimpleHTTPRequestHandler):
    """A server of files that sends no parts of them, and refuses the folder `private`."""

    def do_GET(self) -> None:
        if "/private/" in self.path:
            self.send_error(403)
        else:
            super().do_GET()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class PartsHandler(Handler):
    """A server that sends the part of a file that is asked for."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file() or "Range" not in self.headers:
            super().do_GET()
            return
        data = path.read_bytes()
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        stop = min(int(last) + 1 if last else len(data), len(data))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - int(first)))
        self.end_headers()
        self.wfile.write(data[int(first) : stop])


def serve(handler: type[Handler], folder: Path) -> AbstractContextManager[str]:
    """Return a server of a folder, entered for its address."""
    return serving(partial(handler, directory=str(folder)))


@pytest.fixture(params=[Handler, PartsHandler])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    fill(tmp_path / "web" / "pool")
    with serve(request.param, tmp_path / "web") as address:
        yield address


def test_a_file_of_the_web_is_read(web: str, store: Store) -> None:
    assert row_ids(store, f"{web}/pool/b.jsonl") == ["s/b.jsonl:1"]
    assert row_ids(store, f"{web}/pool/b.jsonl?download=true") == ["s/b.jsonl:1"]
    assert row_ids(store, f"{web}/pool/a.parquet") == ["s/a.parquet:1", "s/a.parquet:2"]
    assert row_ids(store, f"{web}/pool/sub/c%20d.jsonl") == ["s/c d.jsonl:1"]


def test_a_folder_of_the_web_is_what_its_page_links_to(
    web: str, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    files = find_files(f"{web}/pool/")
    assert names(files) == ["a.parquet", "b.jsonl", "sub/c d.jsonl"]
    assert all(caplog.text.count(name) == 1 for name in HOUSEKEEPING)
    assert names(find_files(f"{web}/pool/*.jsonl")) == ["b.jsonl"]
    assert "s/sub/c d.jsonl:1" in row_ids(store, f"{web}/pool/")


def test_what_the_web_refuses_is_one_sentence(web: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/gone.jsonl: the server has no such file"):
        find_files(f"{web}/gone.jsonl")
    with pytest.raises(UserError, match=r"/private/x.jsonl: may not be read"):
        find_files(f"{web}/private/x.jsonl")
    with pytest.raises(UserError, match=r"127.0.0.1:9/x.jsonl: cannot be reached"):
        find_files("http://127.0.0.1:9/x.jsonl")
    (tmp_path / "web" / "page").write_text("<!DOCTYPE html><html><body>Sign in</body></html>")
    with pytest.raises(UserError, match="web page"):
        page = row_set("pool", [RowFile(path=f"{web}/page")], seed=0, max_rejected=0.0)
        page.read(StoreRunner(Store(tmp_path / "store")))


def test_a_file_that_is_gone_when_it_is_read_is_told(
    web: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [file] = find_files(f"{web}/pool/b.jsonl")
    (tmp_path / "web/pool/b.jsonl").unlink()
    with pytest.raises(UserError, match=r"b.jsonl: the server has no such file"):
        digest_url(file)
