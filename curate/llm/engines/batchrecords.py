"""Batches that are on their way, on record beside the answers: a run that was killed knows them again.

    batches.sqlite
        batches    name: given here and to the server, server, id: the server's, NULL until it is said,
                   most_bytes: how long the file of its answers may be
        lines      name and key: each call of a batch that has no answer yet; the key is the cache's

A batch is on record before it is sent, and each of its calls until its answer is in the cache.
"""

import sqlite3
import time
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.core.errors import UserError

BATCHES = "batches.sqlite"
BUSY_SECONDS = 60
TABLES = """
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY, server TEXT NOT NULL, id TEXT, most_bytes INTEGER NOT NULL,
    started REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lines (key TEXT, name TEXT, PRIMARY KEY (key, name)) WITHOUT ROWID;
"""
PENDING = """
SELECT name, id, most_bytes, key FROM batches JOIN lines USING (name) WHERE server = ?
ORDER BY started, name, key
"""
FORGET_EMPTY = "DELETE FROM batches WHERE name NOT IN (SELECT name FROM lines)"


@dataclass(frozen=True)
class BatchRecord:
    """A batch that was sent, or was about to be: then it has no id."""

    name: str
    id: str | None
    most_bytes: int
    keys: Sequence[str] = ()


class BatchRecords:
    """The batches of a store that are on their way.

    Args:
        path: of the file; None to have none, so that nothing outlives the process.

    Raises:
        UserError: the file is no SQLite database.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(
            path or ":memory:",
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # Killed processes lose nothing with these, and no answer waits for the disk.
            self._database.execute("PRAGMA journal_mode = WAL").close()
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(TABLES)
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"the record of batches {path} cannot be opened ({error}); move it away"
            ) from error

    def pending(self, server: str, keys: Collection[str]) -> list[BatchRecord]:
        """Return the batches of a server that have any of these calls."""
        batches: dict[BatchRecord, list[str]] = {}
        for *batch, key in self._database.execute(PENDING, (server,)):
            batches.setdefault(BatchRecord(*batch), []).append(key)
        return [
            replace(record, keys=lines)
            for record, lines in batches.items()
            if not set(keys).isdisjoint(lines)
        ]

    def open(self, server: str, keys: Iterable[str], most_bytes: int) -> BatchRecord:
        """Put a batch on record that is about to be sent."""
        record = BatchRecord(uuid.uuid4().hex, None, most_bytes, list(keys))
        batch = (record.name, server, None, most_bytes, time.time())
        with self._database as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", batch)
            lines = [(key, record.name) for key in record.keys]
            database.executemany("INSERT INTO lines VALUES (?, ?)", lines)
        return record

    def name(self, record: BatchRecord, batch_id: str) -> BatchRecord:
        """Note the id by which the server knows a batch."""
        self._database.execute("UPDATE batches SET id = ? WHERE name = ?", (batch_id, record.name))
        return replace(record, id=batch_id)

    def settle(self, key: str) -> None:
        """Forget a call: it is answered, or is to be sent anew."""
        self._database.execute("DELETE FROM lines WHERE key = ?", (key,))

    def forget(self, record: BatchRecord) -> None:
        """Forget a batch that the server has never had, or has refused."""
        self._database.execute("DELETE FROM lines WHERE name = ?", (record.name,))
        self.tidy()

    def tidy(self) -> None:
        """Forget batches of which every call is settled."""
        self._database.execute(FORGET_EMPTY)

    def close(self) -> None:
        """Close the file."""
        self._database.close()
