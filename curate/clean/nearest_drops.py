"""Drops near the target: what stages take of the rows that resemble the target examples most.

row_id | similarity | target_id

A stage that drops much of these works against the recipe, and the run says so at its end. Similar is
what shares pairs of words (cosine of the sets of both rows' pairs), so that nothing but the texts is
needed, whatever the recipe selects by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from curate.core.calls import Counted, Table, cached
from curate.core.reasons import explain_reason
from curate.core.tables import read_batches
from curate.overlap.grams import GramSet
from curate.overlap.units import user_text
from curate.text.shingles import roll
from curate.text.wordhash import hash_words

VERSION = 2
NAME = "nearest-drops"
BATCH_ROWS = 4_096
PAIR = 2
# Characters of a row's user turns that are compared.
COMPARED_CHARS = 2_000
# The rows looked at: the nearest ones of each target example, of some similarity at least.
NEAREST, SIMILAR = 10, 0.1
# A stage is named that drops a larger share of them, and more than a few.
SHARE, FEWEST = 0.2, 5
SCHEMA = {"row_id": pl.String, "similarity": pl.Float64, "target_id": pl.String}


@cached(version=VERSION, name=NAME)
def nearest(rows: Table, target: Table) -> Counted[pl.DataFrame]:
    """Return the nearest rows of all target examples (SCHEMA), nearest first."""
    search = _Search(target.read(["row_id", "messages"]))
    for part in read_batches(rows.paths, BATCH_ROWS, ["row_id", "messages"]):
        search.add(pl.DataFrame(part))
    table = search.nearest()
    return Counted(table, {"rows_in": search.rows, "nearest": table.height})


class _Search:
    """A search for the nearest rows of each target example, in batches of rows."""

    def __init__(self, target: pl.DataFrame) -> None:
        grams, example, size = _pairs(target)
        self._ids = target["row_id"]
        self._grams = GramSet(grams)
        number = np.searchsorted(self._grams.grams, grams)
        shape = (len(self._grams.grams), target.height)
        self._examples = scipy.sparse.csr_matrix(
            (np.ones(len(grams)), (number, example)), shape=shape
        )
        self._examples.data[:] = 1
        self._size = size
        self._best = pl.DataFrame(schema={**SCHEMA, "position": pl.Int64})
        self.rows = 0

    def add(self, batch: pl.DataFrame) -> None:
        """Compare some rows with all examples."""
        grams, row, size = _pairs(batch)
        at, number = self._grams.find(grams)
        shape = (batch.height, len(self._grams.grams))
        held = scipy.sparse.csr_matrix((np.ones(len(at)), (row[at], number)), shape=shape)
        held.data[:] = 1
        common = (held @ self._examples).tocoo()
        norm = np.sqrt(size[common.row] * self._size[common.col])
        pairs = pl.DataFrame(
            {
                "row_id": batch["row_id"].gather(common.row),
                # Rounded, so that equal ones are in the order of the rows.
                "similarity": np.round(common.data / norm, 6),
                "target_id": self._ids.gather(common.col),
                "position": common.row.astype(np.int64) + self.rows,
            }
        )
        self._best = _first(pl.concat([self._best, pairs.filter(pl.col("similarity") >= SIMILAR)]))
        self.rows += batch.height

    def nearest(self) -> pl.DataFrame:
        """Return the nearest rows of all examples, each with its nearest example, nearest first."""
        order = self._best.sort(
            "similarity", "position", "target_id", descending=[True, False, False]
        )
        return order.unique("row_id", keep="first", maintain_order=True).select(*SCHEMA)


def _pairs(
    rows: pl.DataFrame,
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the different pairs of words of rows, whose they are, and how many each row has."""
    texts = rows.select(user_text().str.slice(0, COMPARED_CHARS)).to_series()
    hashes, lengths = hash_words(texts)
    gram, row, _ = roll(hashes, lengths, PAIR)
    pairs = pl.DataFrame({"row": row, "gram": gram}).unique(maintain_order=True)
    row = pairs["row"].to_numpy()
    size = np.bincount(row, minlength=rows.height).astype(np.float64)
    return pairs["gram"].to_numpy(), row, size


def _first(pairs: pl.DataFrame) -> pl.DataFrame:
    order = pairs.sort("target_id", "similarity", "position", descending=[False, True, False])
    return order.group_by("target_id", maintain_order=True).head(NEAREST).select(pairs.columns)


@dataclass(frozen=True)
class StageDrops:
    """What a stage dropped of the rows nearest to the target that reached it, and why most of it."""

    stage: str
    reached: int
    dropped: int
    reason: str

    @property
    def sentence(self) -> str:
        """Return what a run says of it."""
        return (
            f"{self.stage} drops {self.dropped} of the {self.reached} rows that are nearest to the "
            f"target examples (mostly a row that {explain_reason(self.reason)}), so the selection "
            "may miss what the target asks for: look at some of them with `curate explain`"
        )


def find_drops(nearest: pl.DataFrame, verdicts: Mapping[str, pl.LazyFrame]) -> Sequence[StageDrops]:
    """Return the stages that drop more than a fifth of the nearest rows, in their order.

    Args:
        nearest: row_id.
        verdicts: row_id, keep and reason of each stage, by name and in the order of the stages.
    """
    drops = []
    for stage, table in verdicts.items():
        reached = table.join(nearest.lazy().select("row_id"), on="row_id", how="semi").collect()
        gone = reached.filter(~pl.col("keep"))
        if gone.height >= FEWEST and gone.height > SHARE * reached.height:
            reasons = (
                gone["reason"].value_counts().sort("count", "reason", descending=[True, False])
            )
            drops.append(StageDrops(stage, reached.height, gone.height, reasons["reason"][0]))
    return drops
