"""Temporary folders: gone with their process, and swept where that was killed."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curate.core.scratch import SETTLED_SECONDS, temporary_folder
from tests.terminal import REPO

HOLDER = """
import time
from curate.core.scratch import temporary_folder
with temporary_folder() as folder:
    (folder / "half.txt").write_text("half")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of all temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def holder() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Yield a process that works in a temporary folder, and the folder, which is not new."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert child.stdout is not None
    try:
        folder = Path(child.stdout.readline().strip())
        age(folder)
        yield child, folder
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def age(path: Path) -> None:
    then = path.lstat().st_mtime - SETTLED_SECONDS - 1
    os.utime(path, (then, then), follow_symlinks=False)


def test_a_temporary_folder_is_the_users_alone_and_gone_at_the_end(place: Path) -> None:
    with temporary_folder() as folder:
        assert list(place.iterdir()) == [folder]
        assert folder.stat().st_mode & 0o077 == 0
    assert list(place.iterdir()) == []


def test_a_killed_processs_folder_is_swept_and_a_living_ones_is_not(place: Path) -> None:
    with holder() as (child, folder):
        with temporary_folder():
            assert (folder / "half.txt").read_text() == "half"
        child.kill()
        child.wait()
        with temporary_folder() as other:
            assert list(place.iterdir()) == [other]


def test_a_folder_that_may_not_be_locked_yet_and_what_others_made_are_left(place: Path) -> None:
    (place / "curate-scratch-young").mkdir()
    names = ("curate-scratch-file", "curate-scratch-link", "curate-scratches")
    file, link, foreign = (place / name for name in names)
    file.write_text("a file")
    foreign.mkdir()
    link.symlink_to(foreign, target_is_directory=True)
    for path in (file, link, foreign):
        age(path)
    with temporary_folder() as folder:
        left = {path.name for path in place.iterdir() if path != folder}
    assert left == {"curate-scratch-young", *names}
