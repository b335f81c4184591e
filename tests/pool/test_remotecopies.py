"""Copies of remote files: each file is fetched once while they are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.core.errors import UserError
from curate.pool.files import PoolFile, digest_url, find_files, open_checked, read_head
from curate.pool.remotecopies import remote_copies
from tests.httpserver import serving

pytestmark = pytest.mark.system

LINE = b'{"instruction": "Say a.", "output": "b"}\n'
NAMES = ("a.jsonl", "b.jsonl")


class CountingHandler(SimpleHTTPRequestHandler):
    """Serves files whole, and counts how often each is fetched."""

    fetched: Counter[str] = Counter()

    def do_GET(self) -> None:
        """Count the file, and serve it."""
        self.fetched[self.path.strip("/")] += 1
        super().do_GET()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[str]:
    """The address of a folder with two files of records."""
    CountingHandler.fetched = Counter()
    for name in NAMES:
        (tmp_path / "pool" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "pool" / name).write_bytes(LINE * 20)
    with serving(partial(CountingHandler, directory=str(tmp_path / "pool"))) as url:
        yield url


def read_twice(file: PoolFile) -> bytes:
    """Return a file's bytes after a digest of them and a look at its head."""
    assert digest_url(file) and read_head(file, 10) == LINE[:10]
    with open_checked(file) as stream:
        return stream.read()


def test_each_file_is_fetched_once_while_copies_are_kept(pool: str) -> None:
    files = find_files(f"{pool}/")
    CountingHandler.fetched.clear()
    with remote_copies():
        assert [read_twice(file) for file in files] == [LINE * 20] * 2
    assert CountingHandler.fetched == dict.fromkeys(NAMES, 1)
    read_twice(files[0])
    assert CountingHandler.fetched["a.jsonl"] == 4


def test_what_does_not_fit_is_read_from_where_it_is(pool: str) -> None:
    files = find_files(f"{pool}/")
    CountingHandler.fetched.clear()
    with remote_copies(most_bytes=len(LINE) * 30):
        assert [read_twice(file) for file in files] == [LINE * 20] * 2
    assert CountingHandler.fetched == {"a.jsonl": 1, "b.jsonl": 3}


def test_what_cannot_be_fetched_is_said_as_without_copies(pool: str) -> None:
    with remote_copies(), pytest.raises(UserError, match=r"gone.jsonl.*no such file"):
        digest_url(PoolFile(f"{pool}/gone.jsonl", "gone.jsonl"))


def test_check_fetches_each_file_of_a_recipe_once(pool: str, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"name: r\npool: '{pool}/'\nselect: length\nbudget: 1\nstore: {tmp_path / 'store'}\n"
    )
    done = CliRunner().invoke(app, ["check", str(recipe)])
    assert done.exit_code == 0, done.output
    assert {name: CountingHandler.fetched[name] for name in NAMES} == dict.fromkeys(NAMES, 1)
