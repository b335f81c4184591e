"""Prefect's record of past runs: kept whole, or moved out of the way of a new one."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from curate.orchestration import history


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the record, not yet there."""
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prefect"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a run's server, with a database that is still in use."""
    folder = tmp_path / "server"
    folder.mkdir()
    with closing(sqlite3.connect(folder / history.DATABASE)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table runs (name text)")
        database.executemany("insert into runs values (?)", [(f"run {i}",) for i in range(2000)])
        database.commit()
    return folder


def runs(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("select count(*) from runs").fetchone()[0])


def test_the_next_run_works_on_a_copy_of_what_the_last_left(
    cache: Path, folder: Path, tmp_path: Path
) -> None:
    history.keep_history(folder, None)
    assert [path.name for path in cache.iterdir()] == [history.DATABASE]
    assert (cache / history.DATABASE).stat().st_mode & 0o077 == 0
    following = tmp_path / "following"
    following.mkdir()
    assert history.copy_history(following)
    assert runs(following / history.DATABASE) == 2000


def flip_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(reversed(data[4096:8192]))
    path.write_bytes(bytes(data))


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HARM: dict[str, Callable[[Path], object]] = {
    "absent": lambda path: path.unlink(),
    "garbage": lambda path: path.write_bytes(b"no database at all" * 1000),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:9000]),
    "a damaged page": flip_page,
    "a folder": as_folder,
    "too large": lambda path: path.open("ab").truncate(history.LARGEST_BYTES + 1),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_what_is_no_sound_database_is_moved_aside_and_told(
    cache: Path, folder: Path, tmp_path: Path, harm: Callable[[Path], object],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    history.keep_history(folder, None)
    harm(cache / history.DATABASE)
    there = (cache / history.DATABASE).exists()
    following = tmp_path / "following"
    following.mkdir()
    assert not history.copy_history(following)
    assert list(following.iterdir()) == []
    assert (cache / history.ASIDE).exists() == there
    assert ("Prefect's record of past runs begins anew" in caplog.text) == there
    history.keep_history(folder, history.history_stamp())
    assert runs(cache / history.DATABASE) == 2000


def test_of_two_runs_at_once_the_first_ones_record_stays_beside_the_seconds(
    cache: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history.keep_history(folder, None)
    before = history.history_stamp()
    with closing(sqlite3.connect(folder / history.DATABASE)) as database:
        database.execute("insert into runs values ('of the first')")
        database.commit()
        history.keep_history(folder, before)
        assert caplog.text == ""
        database.execute("delete from runs")
        database.commit()
    history.keep_history(folder, before)
    assert runs(cache / history.DATABASE) == 0
    assert runs(cache / history.ASIDE) == 2001
    assert "another run, which ended while" in caplog.text


@pytest.mark.parametrize("harm", ["garbage", "a folder"])
def test_what_is_moved_aside_replaces_nothing_that_was_moved_before(
    cache: Path, folder: Path, harm: str
) -> None:
    history.keep_history(folder, None)
    database = cache / history.DATABASE
    for name in ("prefect-old.db", "prefect-old-2.db", "prefect-old-3.db"):
        HARM[harm](database)
        (database / name if database.is_dir() else database).write_text(name)
        history.set_aside("it is of no use")
        history.keep_history(folder, None)
        assert runs(database) == 2000
    for name in ("prefect-old.db", "prefect-old-2.db", "prefect-old-3.db"):
        place = cache / name
        assert (place / name if place.is_dir() else place).read_text() == name


def test_a_database_that_another_run_has_moved_first_leaves_no_empty_file(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    history.set_aside("it is of no use")
    assert [*cache.iterdir()] == []
    assert "cannot be moved" in caplog.text


def test_a_database_that_somebody_has_locked_is_read_all_the_same(
    cache: Path, folder: Path, tmp_path: Path
) -> None:
    history.keep_history(folder, None)
    following = tmp_path / "following"
    following.mkdir()
    with closing(sqlite3.connect(cache / history.DATABASE)) as holder:
        holder.execute("begin exclusive")
        assert history.copy_history(following)
        history.keep_history(folder, history.history_stamp())


def test_a_record_that_cannot_be_kept_is_told_and_no_fault(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "file"))
    history.keep_history(folder, None)
    assert "Prefect's record of this run is not kept" in caplog.text
