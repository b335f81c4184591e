"""Small files that a recipe names: regular ones, within a size, in UTF-8."""

from __future__ import annotations

import fcntl
import os
import termios
import threading
from pathlib import Path

import pytest

from curate.core.errors import UserError
from curate.core.localfiles import digest_bytes, read_small, read_text
from tests.terminal import wait_until


@pytest.mark.timeout(600)
def test_what_is_no_file_is_told_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    faults = {
        str(tmp_path / "pipe"): r"it is a named pipe",
        str(tmp_path / "dangling"): "No such file",
        str(tmp_path / "loop"): "Too many levels",
        str(tmp_path / "gone"): "No such file",
        str(tmp_path): "Is a directory",
        "/dev/zero": r"it is a device",
        "a\0b": "null",
        "x" * 5_000: "too long",
    }
    for path, why in faults.items():
        with pytest.raises(UserError, match=rf"the list cannot be read \(.*{why}"):
            read_text(Path(path), "the list")


@pytest.mark.timeout(600)
def test_a_pipe_is_read_once_where_that_will_do(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_small(tmp_path / "pipe", "the config", pipe=True) == b""
    # As a shell's <(command) does it: written before it is opened by name.
    both = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(both, b"name: x")
    writer = threading.Thread(target=close_once_empty, args=(both,))
    writer.start()
    assert read_small(tmp_path / "pipe", "the config", pipe=True) == b"name: x"
    writer.join()


def close_once_empty(pipe: int) -> None:
    """Close a pipe when all that was written into it has been read."""
    wait_until(lambda: fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)) == bytes(4))
    os.close(pipe)


def test_a_file_has_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"x" * 2**20)
    assert len(read_small(path, "the list", most=2**20)) == 2**20
    path.write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(UserError, match="list: the list is larger than 1 MiB"):
        read_small(path, "the list", most=2**20)


def test_text_comes_without_a_mark_and_with_plain_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path, "the list") == "a\nb\nc\n"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"list: the list is not UTF-8 \(byte 3\)"):
        read_text(path, "the list")


def test_a_file_that_has_another_digest_than_it_had_is_told(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"a")
    assert read_small(path, "the list", digest=digest_bytes(b"a")) == b"a"
    with pytest.raises(
        UserError, match="list: the file changed while it was being read; run again"
    ):
        read_small(path, "the list", digest=digest_bytes(b"b"))
