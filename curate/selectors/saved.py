"""Saved: rows that were selected before, by a plan, another run, or anything that writes their ids.

    compare: [{method: saved, path: runs/quickstart/selections/small}]

The table has a column `row_id`, best row first: `selected.parquet` in the folder of a run or of a saved
selection, or a Parquet file. Rows are known by their ids, so the pool has to be the same. The score is
the place from the end, so a budget takes the first rows of the table; other rows are never selected.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from polars.exceptions import PolarsError
from pydantic import Field

from curate.core.calls import Table, cached
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.selectparams import Budget, ShortBudget
from curate.core.store import Artifact
from curate.core.tables import read_table

LOG = logging.getLogger("curate")
VERSION = 1
SELECTED = "selected.parquet"
ABSENT = "it is not in the saved selection"


@dataclass(frozen=True)
class SavedRows:
    """A table of row ids, known by the ids and their order, wherever it lies."""

    path: Path
    digest: str

    @property
    def identity(self) -> str:
        """Return the digest."""
        return self.digest

    @property
    def reads(self) -> Sequence[Artifact]:
        """Return nothing: it lies in no artifact."""
        return ()

    def row_ids(self) -> pl.Series:
        """Return the ids, best row first."""
        return read_row_ids(self.path)


@method
class SavedSelector(Selector):
    """Rows that were selected before, by `curate plan --as`, another run, or a table of row ids."""

    title: ClassVar[str] = "a saved selection"
    version: ClassVar[int] = VERSION
    needs_tokens: ClassVar[bool] = False

    method: Literal["saved"] = "saved"
    path: str = Field(
        description="folder of a run or a saved selection, or a Parquet file with row_id, best first",
        examples=["runs/quickstart/selections/small"],
    )
    budget: ShortBudget = Budget(fraction=1)

    def check(self) -> None:
        """Fail if there is no saved selection.

        Raises:
            UserError: there is none, or it has no row ids.
        """
        find_saved(self.path)

    def score_rows(self, run: ScoreRun) -> Table:
        """Score rows by their place in the saved table."""
        saved = find_saved(self.path)
        row_ids = saved.row_ids().unique()
        kept = run.kept.read(["row_id"])["row_id"]
        lost = len(row_ids) - int(row_ids.is_in(kept.implode()).sum())
        if lost:
            LOG.warning(
                "saved: %s of the %s rows of %s are not among those that the stages keep",
                f"{lost:,}",
                f"{len(row_ids):,}",
                self.path,
            )
        return run(scores, run.kept, saved)


def find_saved(path: str) -> SavedRows:
    """Return the table that a path leads to.

    Raises:
        UserError: there is none, or it has no row ids.
    """
    place = Path(path).expanduser()
    table = place / SELECTED if place.is_dir() else place
    digest = hashlib.blake2b(digest_size=16)
    for row_id in read_row_ids(table):
        digest.update(f"{row_id}\n".encode())
    return SavedRows(table, digest.hexdigest())


def read_row_ids(path: Path) -> pl.Series:
    """Return the column `row_id` of a Parquet file.

    Raises:
        UserError: there is no such file or column.
    """
    problem = "give the folder of a run or a saved selection, or a Parquet file with row_id"
    if not path.is_file():
        raise UserError(f"saved: {path} is no file; {problem}")
    try:
        return read_table(path, ["row_id"])["row_id"].cast(pl.String)
    except PolarsError as error:
        raise UserError(
            f"saved: {path} has no row ids ({str(error).splitlines()[0]}); {problem}"
        ) from error


@cached(version=VERSION, name="score-saved")
def scores(kept: Table, saved: SavedRows) -> pl.DataFrame:
    """Return row_id, score (the place from the end, null for rows that are not in the table)."""
    row_ids = saved.row_ids().unique(maintain_order=True)
    places = pl.DataFrame({"row_id": row_ids}).with_columns(
        score=(len(row_ids) - pl.int_range(len(row_ids))).cast(pl.Float64)
    )
    table = kept.read(["row_id"]).join(places, on="row_id", how="left", maintain_order="left")
    return table.with_columns(
        nearest_id=pl.lit(None, dtype=pl.String),
        reason=pl.when(pl.col("score").is_null()).then(pl.lit(ABSENT)),
    )
