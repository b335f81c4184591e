"""Read files into rows; what makes no row goes to the rejects, with file, line and reason.

rows.parquet      the rows, in the order of files and positions
rejects.parquet   file, position, reason, field, raw (first 2,000 characters)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from curate.core.calls import cached_files
from curate.core.rows import SCHEMA
from curate.core.store import Counts
from curate.core.tables import grouped_writer
from curate.pool.entries import FilesOfEntry
from curate.pool.parts import entry_parts
from curate.pool.partworkers import PartWorkers, usual_workers
from curate.pool.recordrows import REJECTS_SCHEMA, RecordBatch

VERSION = 15
# Records with a key twice that are listed.
MOST_REPEATED = 50


@cached_files(version=VERSION, name="ingest")
def ingest(
    out: Path, files: FilesOfEntry, seed: int, own: Sequence[Sequence[str | int]] | None = None
) -> Counts:
    """Write rows.parquet and rejects.parquet; return rows_in, rows_out and rejected by reason.

    Also, where there are some: `empty`, the files without any record; `repeated` and `repeated_keys`,
    the first of the records that have a key twice and how many there are; `preferences`, how many
    records are pairs; `left`, how many rows are read elsewhere. `own` are names and versions of the
    layouts that are not the package's, which the key knows.

    Raises:
        UserError: a file's format is unknown, or it is not the one that the key speaks of.
    """
    counts = _Counts()
    # Layouts of a plugin are known to this process alone.
    with (
        PartWorkers(1 if own else usual_workers(), files.range_bytes) as workers,
        grouped_writer(out / "rows.parquet", SCHEMA) as write_rows,
        grouped_writer(out / "rejects.parquet", REJECTS_SCHEMA) as write_rejects,
    ):
        for batch in workers.read(entry_parts(files.identity, files.urls, seed)):
            write_rows(batch.rows)
            if batch.rejects:
                write_rejects(pa.Table.from_pylist(batch.rejects, schema=REJECTS_SCHEMA))
            counts.add(batch)
    return counts.stored


@dataclass
class _Counts:
    """What is counted of the records of some files."""

    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    preferences: int = 0
    left: int = 0

    def add(self, batch: RecordBatch) -> None:
        """Count the records of a batch."""
        self.rows += batch.rows.num_rows
        self.rejected.update(reject["reason"] for reject in batch.rejects)
        self.empty += [batch.file] if batch.empty else []
        self.repeated += batch.repeated
        self.left += batch.left
        self.preferences += sum(
            count for (layout, _), count in batch.layouts.items() if layout == "preference"
        )

    @property
    def stored(self) -> Counts:
        """Return what the manifest has of them."""
        rejected = dict(sorted(self.rejected.items()))
        counts = {"rows_in": self.rows + self.rejected.total(), "rows_out": self.rows}
        more = {
            "empty": self.empty,
            "repeated": self.repeated[:MOST_REPEATED],
            "repeated_keys": len(self.repeated),
            "preferences": self.preferences,
            "left": self.left,
        }
        return {**counts, "rejected": rejected, **{name: one for name, one in more.items() if one}}
