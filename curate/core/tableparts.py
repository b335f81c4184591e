"""The files of a stored table, each known by its bytes: what is made of one is reused beside others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.core.calls import Table
from curate.core.store import Artifact
from curate.core.tables import read_batches


@dataclass(frozen=True)
class TablePart:
    """A file of a stored table. A key holds its digest, and nothing of the files before and behind."""

    table: Table
    path: Path

    @property
    def identity(self) -> str:
        """Return the digest of its bytes."""
        name = self.path.relative_to(self.table.artifact.path).as_posix()
        return self.table.artifact.files[name]["digest"]

    @property
    def reads(self) -> list[Artifact]:
        """Return the artifact of the table."""
        return [self.table.artifact]

    def batches(self, size: int, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield columns of its rows in order, so many rows at most at once."""
        for batch in read_batches(self.path, size, columns):
            yield pl.DataFrame(batch)


def table_parts(table: Table) -> list[TablePart]:
    """Return the files of a table, in the order of their rows."""
    return [TablePart(table, path) for path in table.paths]
