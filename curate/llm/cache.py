"""Answers that were paid for, kept in one SQLite file.

    key                  sha256 of the engine's identity and the call's content
    completion           JSON: text, finish, token counts, log-probabilities, cost
    engine, model        for statistics and pruning
    made                 seconds since 1970

Several processes may use the file at once. An answer is stored before the engine's next one is taken, so
a killed process loses no more than the calls that were under way. A sampled call's key holds its seed
and its number, so asking for more samples sends only the further ones. Addresses and secrets are in no
key.
"""

import hashlib
import math
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

import orjson

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.llm.requests import Call, Completion

VERSION = 1
# What is worth keeping: an answer, be it that of a policy. What the transport did is none, and neither
# is silence.
STORED = frozenset({"ok", "truncated", "repetition", "refused", "filtered"})
BUSY_SECONDS = 60
KEYS_A_QUERY = 500
TABLE = """
CREATE TABLE IF NOT EXISTS completions (
    key TEXT PRIMARY KEY, completion BLOB NOT NULL, engine TEXT NOT NULL, model TEXT NOT NULL,
    made REAL NOT NULL
) WITHOUT ROWID
"""


def key_of(identity: Mapping[str, JSON], call: Call) -> str:
    """Return the digest of everything that can change the call's answer."""
    whole = {"version": VERSION, "engine": dict(identity), "call": call.content()}
    return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()


class Cache:
    """A file of completions.

    Args:
        path: made with its folders if it does not exist.
        refresh: find nothing, so that every answer is made anew and replaces the stored one.

    Raises:
        UserError: the file is no SQLite database.
    """

    def __init__(self, path: Path, *, refresh: bool = False) -> None:
        self.path = path
        self._refresh = refresh
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = open_database(path)
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"the response cache {path} cannot be opened ({error}); move it away or name another"
            ) from error

    def find(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Return what is stored under these keys."""
        completions: dict[str, Completion] = {}
        if self._refresh:
            return completions
        for start in range(0, len(keys), KEYS_A_QUERY):
            part = keys[start : start + KEYS_A_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, completion FROM completions WHERE key IN ({marks})"
            with self._locked() as database:
                rows = database.execute(query, part)
                completions |= {key: read_completion(body) for key, body in rows}
        return completions

    def keep(self, key: str, completion: Completion, identity: Mapping[str, JSON]) -> Completion:
        """Store a completion if it is of a kind to keep; return what is now stored under the key.

        Where another process was first, its completion stays and is returned: all see the same one.
        """
        if completion.finish not in STORED:
            return completion
        verb = "INSERT OR REPLACE" if self._refresh else "INSERT OR IGNORE"
        body = orjson.dumps(asdict(completion))
        values = (key, body, str(identity.get("engine", "")), _model_of(identity), time.time())
        with self._locked() as database:
            added = database.execute(f"{verb} INTO completions VALUES (?, ?, ?, ?, ?)", values)
            if added.rowcount:
                return completion
            query = "SELECT completion FROM completions WHERE key = ?"
            stored = database.execute(query, (key,)).fetchone()
        return completion if stored is None else read_completion(stored[0])

    def remove(self, keys: Iterable[str]) -> None:
        """Remove what is stored under these keys."""
        with self._locked() as database:
            database.executemany("DELETE FROM completions WHERE key = ?", ((key,) for key in keys))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._database


def open_database(path: Path) -> sqlite3.Connection:
    """Return a connection to a file of completions, which is made if it does not exist."""
    # Every statement is a transaction of its own; the lock above lets threads take turns.
    database = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        with closing(database.execute("PRAGMA journal_mode = WAL")):
            pass
        # Killed processes lose nothing with it; a power failure may take the last answers.
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(TABLE)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def read_completion(body: bytes) -> Completion:
    """Return a completion as the file has it.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    fields = orjson.loads(body)
    for name in ("logprobs", "choice_logprobs"):
        if (logprobs := fields.get(name)) is not None:
            # JSON has no NaN.
            fields[name] = tuple(math.nan if value is None else value for value in logprobs)
    return Completion(**fields)


def _model_of(identity: Mapping[str, JSON]) -> str:
    return str(identity.get("model") or identity.get("weights", ""))
