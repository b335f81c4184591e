"""The answers of a cache as a whole: what they take, which may go, and a copy to take along.

    choice = AnswerChoice(model="gpt-5-mini", until=time)      of this model, made then or earlier
    with CacheFile(path) as file:
        file.usage(choice)                                     a ModelUsage for each engine and model
        file.answers(choice)                                   each as a SharedAnswer
        file.remove(choice)

All of it works on the file of one machine (curate.llm.cache), while runs use it or not.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType

import orjson

from curate.core.errors import UserError
from curate.llm.cache import open_database
from curate.llm.segments import SharedAnswer

DAY_SECONDS = 24 * 3600.0
ANSWERS_A_TIME = 1_000
# To give bytes back the file has to be nobody else's for a moment.
SHRINK_MILLISECONDS = 2_000
CHOSEN = """
FROM completions WHERE (?1 IS NULL OR engine = ?1) AND (?2 IS NULL OR model = ?2)
AND (?3 IS NULL OR made <= ?3)
"""
USAGE = f"""
SELECT engine, model, count(*), sum(length(key) + length(completion)), min(made), max(made)
{CHOSEN} GROUP BY engine, model ORDER BY 4 DESC, 1, 2
"""
ANSWERS = f"""
SELECT key, made, completion, engine, model {CHOSEN} AND key > ?4 ORDER BY key LIMIT ?5
"""
REMOVE = f"DELETE {CHOSEN}"
ADD = "INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class AnswerChoice:
    """Which answers: of an engine, of a model, made at a time (Unix seconds) or earlier; None is any."""

    engine: str | None = None
    model: str | None = None
    until: float | None = None


ANY = AnswerChoice()


def time_days_ago(days: float) -> float:
    """Return the Unix time of so many days ago.

    Raises:
        UserError: the days are no number. SQLite reads NaN as null, which would choose all answers.
    """
    if not days >= 0:
        raise UserError(f"--days: {days} is no number of days; give one from 0 on")
    return time.time() - days * DAY_SECONDS


@dataclass(frozen=True)
class ModelUsage:
    """How many answers of a model there are, their bytes, and when the first and last were made."""

    engine: str
    model: str
    answers: int
    bytes: int
    oldest: float
    newest: float


class CacheFile:
    """A file of answers that there is already, or a new one.

    Raises:
        UserError: there is none, or the file is no SQLite database.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        if not new and not path.is_file():
            raise UserError(f"{path}: there are no answers of language models on this machine")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = open_database(path)
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path} cannot be opened as a cache of answers ({error})") from error

    def __enter__(self) -> "CacheFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def usage(self, choice: AnswerChoice = ANY) -> list[ModelUsage]:
        """Return what the chosen answers of each engine and model take, the most first."""
        return [ModelUsage(*row) for row in self._database.execute(USAGE, astuple(choice))]

    def check(self, choice: AnswerChoice) -> None:
        """Fail where no answer is of an engine or a model, whenever it was made.

        Raises:
            UserError: there is none; it names those that there are.
        """
        every = AnswerChoice(choice.engine, choice.model)
        if self.usage(every):
            return
        there = ", ".join(f"{one.engine} {one.model}" for one in self.usage())
        names = [("--engine", choice.engine), ("--model", choice.model)]
        asked_for = " ".join(f"{option} {name}" for option, name in names if name is not None)
        none = f"no answer is of {asked_for}" if asked_for else "there is no answer"
        raise UserError(
            f"{none}; there are those of: {there}" if there else f"{none} in this cache"
        )

    def answers(self, choice: AnswerChoice = ANY) -> Iterator[SharedAnswer]:
        """Yield the chosen answers in the order of their keys."""
        values, last = astuple(choice), ""
        # A part at a time, so that a run that stores answers does not wait for whoever reads these.
        while rows := self._database.execute(ANSWERS, (*values, last, ANSWERS_A_TIME)).fetchall():
            for key, at, body, engine, model in rows:
                yield SharedAnswer(key, at, orjson.loads(body), engine, model)
            last = rows[-1][0]

    def remove(self, choice: AnswerChoice) -> int:
        """Remove the chosen answers; return how many they were.

        Their bytes are given back unless a run uses the file at that moment.
        """
        removed = self._database.execute(REMOVE, astuple(choice))
        self._database.execute(f"PRAGMA busy_timeout = {SHRINK_MILLISECONDS}")
        with suppress(sqlite3.OperationalError):
            self._database.execute("VACUUM")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed.rowcount

    def add(self, answers: Iterable[SharedAnswer]) -> int:
        """Add answers; return how many were none of the file's. One that is there stays as it is."""
        rest, added = iter(answers), 0
        while part := list(islice(rest, ANSWERS_A_TIME)):
            added += self._add(part)
        return added

    def _add(self, answers: Sequence[SharedAnswer]) -> int:
        rows = [
            (one.key, orjson.dumps(one.completion), one.engine, one.model, one.time)
            for one in answers
        ]
        with self._database as database:
            database.execute("BEGIN IMMEDIATE")
            return database.executemany(ADD, rows).rowcount
