"""Prompt and response of every row in a file mapped into memory, so that a search takes a second.

The store has the turns of a row as nested lists in compressed files; a million of them take seconds to
read. So a thread writes prompts and responses once, as they lie in memory, to a file without a name in
the run folder, which goes with the process.
"""

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Thread
from typing import IO

import polars as pl
import pyarrow as pa
from polars.exceptions import PanicException

from curate.core.errors import UserError
from curate.core.faults import explain_fault
from curate.core.tables import read_batches
from curate.runs.folder import RunFolder
from curate.runs.rowquery import TEXTS, lost_texts, prompts_and_responses

BATCH_ROWS = 16_384
# For a small pool the first page has its texts; those of a large one take longer than a reader waits.
SMALL_ROWS, PATIENCE_SECONDS = 100_000, 0.8
LONGEST_PAUSE_SECONDS = 3.0


class PendingTexts(UserError):
    """A request that needs texts while they are still being written; `share` of them are."""

    def __init__(self, share: float) -> None:
        super().__init__(f"the texts are still being read ({share:.0%}); try again in a moment")
        self.share = share


@dataclass
class RowTexts:
    """The texts of the rows, once they are there.

    Attributes:
        run: the run.
        row_ids: of all rows, in the order of the pool.
        written: how many rows have theirs in the file.
        fault: why they cannot be had.
    """

    run: RunFolder
    row_ids: pl.Series
    written: int = 0
    fault: str = ""
    _started: bool = False
    _pages: int = 0
    _columns: dict[str, pl.Series] = field(default_factory=dict)
    _changed: Condition = field(default_factory=Condition)

    def start(self, then: Callable[[], None] = lambda: None) -> None:
        """Write them in a thread, unless one does, and go on there with what else is to be prepared."""

        def work() -> None:
            self._fill()
            then()

        with self._changed:
            if not self._started:
                self._started = True
                Thread(target=work, name="texts", daemon=True).start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let a reader's page have the machine for itself."""
        with self._changed:
            self._pages += 1
        try:
            yield
        finally:
            with self._changed:
                self._pages -= 1
                self._changed.notify_all()

    def give_way(self) -> None:
        """Wait, in the thread of `start`, while pages are made; but a fast clicker must not stop it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pages, LONGEST_PAUSE_SECONDS)

    def column(self, name: str, *, patient: bool = False) -> pl.Series:
        """Return the texts of a column of TEXTS.

        Args:
            name: of the column.
            patient: wait for them however long it takes.

        Raises:
            PendingTexts: they are being written, and will be for a while.
            UserError: they cannot be had.
        """
        self.start()
        seconds = PATIENCE_SECONDS if len(self.row_ids) <= SMALL_ROWS else 0.0
        with self._changed:
            self._changed.wait_for(lambda: self.done, None if patient else seconds)
        if self.fault:
            raise UserError(self.fault)
        if not self._columns:
            raise PendingTexts(self.share)
        return self._columns[name]

    @property
    def share(self) -> float:
        """Return which part of them is written."""
        return self.written / max(len(self.row_ids), 1)

    @property
    def done(self) -> bool:
        """Return whether there is nothing more to wait for."""
        return bool(self._columns or self.fault)

    def _fill(self) -> None:
        """Write all texts and map the file; what goes wrong is said to those who ask for them."""
        columns: dict[str, pl.Series] = {}
        fault = ""
        try:
            with _nameless_file(self.run.path) as file:
                self._write(file)
                columns = _mapped(file)
        except (Exception, PanicException) as error:
            fault = explain_fault(error) or f"the texts cannot be read: {error}"
        with self._changed:
            self._columns, self.fault = columns, fault
            self._changed.notify_all()

    def _write(self, file: IO[bytes]) -> None:
        """Write the texts some rows at a time, so that pages come in between."""
        schema = pa.schema([(name, pa.string_view()) for name in TEXTS])
        files = self.run.row_files("pool")
        if not files:
            raise lost_texts(self.run)
        with pa.ipc.new_file(file, schema) as writer:
            for batch in read_batches(files, BATCH_ROWS, ["row_id", "messages"]):
                texts = prompts_and_responses(pl.DataFrame(batch).lazy()).collect()
                if not texts["row_id"].equals(self.row_ids.slice(self.written, texts.height)):
                    raise UserError(
                        f"{self.run.path}: the rows in the store are not those of the ledger; "
                        "`curate run` makes both anew"
                    )
                table = texts.select(TEXTS).to_arrow(compat_level=pl.CompatLevel.newest())
                writer.write_table(table.cast(schema))
                self.written += texts.height
                self.give_way()


def _mapped(file: IO[bytes]) -> dict[str, pl.Series]:
    """Return the columns of an Arrow file, whose texts stay in it."""
    file.flush()
    view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(view))).read_all()
    frame = pl.DataFrame(pl.from_arrow(table, rechunk=False))
    return {name: frame[name] for name in TEXTS}


@contextmanager
def _nameless_file(folder: Path) -> Iterator[IO[bytes]]:
    """Yield a file that is in no folder; one of the system where the run's cannot be written to."""
    writable = os.access(folder, os.W_OK)
    with tempfile.TemporaryFile(dir=folder if writable else None) as file:
        yield file
