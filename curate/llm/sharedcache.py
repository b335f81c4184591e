"""Answers that machines with one bucket share: none pays for what another has put there.

An answer is in this machine's file before the next one is taken, and the table `outbox` of the file
says that it is not in the bucket yet. It is put there, with others in a segment (curate.llm.segments),
within SHARE_SECONDS and at the end of a step. So a machine that is lost takes with it what it was
answered since then; one that was only ended puts it there the next time. What others have put is added
to the file when an answer is missing in it. Two machines that ask the same at the same moment both pay,
and each keeps its own answer.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import orjson

from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.keyed import EngineSource
from curate.core.workspace import workspace
from curate.llm.cache import STORED, Cache
from curate.llm.requests import Completion
from curate.llm.segments import Segments, SharedAnswer, read_segment

LOG = logging.getLogger("curate")
SHARE_SECONDS = 30.0
SEGMENT_ANSWERS = 2_000
ENGINE_CHARS = 20
# `removed` is when the answer was made that was of no use, 0 where one is to be put into the bucket.
TABLES = """
CREATE TABLE IF NOT EXISTS outbox (
    engine TEXT, key TEXT, removed REAL, PRIMARY KEY (engine, key, removed)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS segments (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""
UNSHARED = """
SELECT key, made, completion, engine, model FROM completions
WHERE key IN (SELECT key FROM outbox WHERE engine = ? AND removed = 0) ORDER BY key LIMIT ?
"""
REMOVED = "SELECT key, removed FROM outbox WHERE engine = ? AND removed > 0 ORDER BY key, removed"
STRIKE_OUT = "DELETE FROM outbox WHERE engine = ? AND key = ? AND removed = ?"
REMOVE = "DELETE FROM completions WHERE key = ? AND made = ?"
ADD = "INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?, ?)"
NOTE_SEGMENT = "INSERT OR IGNORE INTO segments VALUES (?)"


def open_cache(engine: EngineSource) -> Cache:
    """Return the cache of an engine's answers: this machine's, or that of all who share a bucket."""
    if engine.bucket is None:
        return Cache(engine.cache)
    return SharedCache(engine.cache, engine.bucket, digest_of(engine.identity)[:ENGINE_CHARS])


class SharedCache(Cache):
    """A file of completions that takes in what others put into a bucket, and puts there its own.

    Args:
        path: of this machine's file.
        bucket: the URL of the store.
        engine: names the engine whose answers these are.

    Raises:
        UserError: the file is no SQLite database.
    """

    def __init__(self, path: Path, bucket: str, engine: str) -> None:
        super().__init__(path)
        self._engine, self._segments = engine, Segments(bucket, engine)
        self._looked = float("-inf")
        self._closing = threading.Event()
        self._sharer: threading.Thread | None = None
        with self._locked() as database:
            database.executescript(TABLES)

    def find(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Return what is stored under these keys, on this machine or in the bucket.

        Raises:
            UserError: the bucket cannot be read, so that nobody knows what is paid for.
        """
        completions = super().find(keys)
        old = time.monotonic() - self._looked > SHARE_SECONDS
        if old and len(completions) < len(set(keys)):
            self._take_in()
            self._looked = time.monotonic()
            completions = super().find(keys)
        return completions

    def keep(self, key: str, completion: Completion, identity: Mapping[str, JSON]) -> Completion:
        """Store a completion if it is of a kind to keep; return what is now stored under the key."""
        if completion.finish not in STORED:
            return completion
        # Before the answer itself: a process that is killed in between leaves a line without effect.
        self._note([(key, 0.0)])
        if self._sharer is None:
            self._sharer = threading.Thread(target=self._share_regularly, daemon=True)
            self._sharer.start()
        return super().keep(key, completion, identity)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove what is stored under these keys, for all who share the bucket."""
        keys = list(keys)
        query = "SELECT key, made FROM completions WHERE key = ?"
        with self._locked() as database:
            stored = [row for key in keys for row in database.execute(query, (key,))]
        self._note(stored)
        super().remove(keys)

    def close(self) -> None:
        """Put what is left into the bucket, and close the file."""
        self._closing.set()
        if self._sharer is not None:
            self._sharer.join()
        self._share()
        super().close()

    def _note(self, lines: Iterable[tuple[str, float]]) -> None:
        rows = [(self._engine, key, removed) for key, removed in lines]
        with self._locked() as database:
            database.executemany("INSERT OR IGNORE INTO outbox VALUES (?, ?, ?)", rows)

    def _share_regularly(self) -> None:
        while not self._closing.wait(SHARE_SECONDS):
            self._share()

    def _share(self) -> None:
        """Put into the bucket what is not there; what cannot be put waits for the next time."""
        try:
            while answers := self._unshared():
                name = self._segments.put(answers)
                self._strike_out(name, answers)
        except UserError as error:
            LOG.warning("%s; answers of %s wait on this machine", error, self._engine)

    def _unshared(self) -> list[SharedAnswer]:
        with self._locked() as database:
            rows = database.execute(UNSHARED, (self._engine, SEGMENT_ANSWERS)).fetchall()
            removed = database.execute(REMOVED, (self._engine,)).fetchall()
        answers = [SharedAnswer(k, at, orjson.loads(body), e, m) for k, at, body, e, m in rows]
        return answers + [SharedAnswer(key, at, None) for key, at in removed]

    def _strike_out(self, name: str, answers: Sequence[SharedAnswer]) -> None:
        """Note that answers are in the bucket, in the segment of this name."""
        rows = [(self._engine, a.key, a.time if a.completion is None else 0.0) for a in answers]
        with self._locked() as database, database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(STRIKE_OUT, rows)
            database.execute(NOTE_SEGMENT, (name,))

    def _take_in(self) -> None:
        """Add to this machine's file what others have put into the bucket since the last time."""
        with self._locked() as database:
            taken = {name for (name,) in database.execute("SELECT name FROM segments")}
        names = sorted(self._segments.names() - taken)
        if names:
            with workspace(self.path.parent / "tmp") as folder:
                self._segments.get(names, folder)
                self._add([folder / name for name in names])

    def _add(self, paths: Sequence[Path]) -> None:
        """Add the answers of segments, unless one of these says that they are of no use."""
        whole, removed = list[Path](), set[tuple[str, float]]()
        for path in paths:
            try:
                removed |= {(a.key, a.time) for a in read_segment(path) if a.completion is None}
                whole.append(path)
            except (OSError, ValueError) as error:
                LOG.warning("answers in the bucket cannot be read: %s (%s)", path.name, error)
        with self._locked() as database, database:
            database.execute("BEGIN IMMEDIATE")
            # Before anything is added: a better answer to the same may have come along.
            database.executemany(REMOVE, removed)
            for path in whole:
                rows = [_row(a) for a in read_segment(path) if (a.key, a.time) not in removed]
                database.executemany(ADD, rows)
                database.execute(NOTE_SEGMENT, (path.name,))


def _row(answer: SharedAnswer) -> tuple[str, bytes, str, str, float]:
    body = orjson.dumps(answer.completion)
    return answer.key, body, answer.engine, answer.model, answer.time
