"""Rows by a similarity to each target example: how they are stored, and who ranks by them."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table
from curate.core.selector import Selector
from curate.selectors.combine import (
    COMBINE,
    PUBLISHED_TEMPERATURE,
    TEMPERATURE,
    Combine,
    rank_similarities,
)
from curate.selectors.scored import blank_out

# Equal texts get equal similarities: where a row lies in a block moves the last digits of a product.
DECIMALS = 6


class SimilarityParams(Selector):
    """Base of selectors that rank by similarities to target examples."""

    rank_params: ClassVar[tuple[str, ...]] = ("combine", "temperature")

    combine: Combine = Field("round_robin", description=COMBINE)
    temperature: float = Field(PUBLISHED_TEMPERATURE, gt=0, description=TEMPERATURE)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first; ties go to the smaller row_id."""
        return rank_similarities(scores, self.combine, temperature=self.temperature)


def similarity_table(
    kept: Table, target: Table, blocks: Iterable[NDArray[np.floating]], reason: str
) -> Counted[pl.DataFrame]:
    """Return row_id, score (largest similarity), nearest_id, reason, similarities [Q].

    A row of which a similarity is no finite number has no score, for this reason, and similarities 0.
    Where the target has several tasks there is one more column, the same in all rows: tasks [Q].

    Args:
        kept: the kept rows, in pool order.
        target: the target examples.
        blocks: similarities [n, Q] of the kept rows, in pool order.
        reason: why one may not be finite.
    """
    examples = target.read(["row_id", "origin"])
    # Put together as they are: one array of all would be a second copy of what is stored.
    frame = pl.concat([_block_table(block, examples["row_id"], reason) for block in blocks])
    frame.insert_column(0, kept.read(["row_id"])["row_id"])
    tasks = task_numbers(examples["origin"])
    counts = {"unscored": frame["reason"].count(), "tasks": max(tasks) + 1}
    return Counted(with_tasks(frame, tasks), counts)


def _block_table(block: NDArray[np.floating], example_ids: pl.Series, reason: str) -> pl.DataFrame:
    """Return what `similarity_table` says of a block of rows, without their ids."""
    similar = block.round(DECIMALS).astype(np.float32)
    blank = np.asarray(~np.isfinite(similar).all(axis=1), dtype=np.bool_)
    similar[blank] = 0
    frame = pl.DataFrame(
        {
            "score": similar.max(axis=1),
            "nearest_id": example_ids.gather(similar.argmax(axis=1)),
            "similarities": pl.Series(similar, dtype=pl.Array(pl.Float32, len(example_ids))),
        }
    )
    return blank_out(frame, blank, reason)


def with_tasks(frame: pl.DataFrame, tasks: Sequence[int]) -> pl.DataFrame:
    """Return a table of scores with the number of each example's task, where there are several."""
    if max(tasks) == 0:
        return frame
    return frame.with_columns(tasks=pl.lit(list(tasks), dtype=pl.Array(pl.Int16, len(tasks))))


def task_numbers(origins: pl.Series) -> list[int]:
    """Return the number of each target row's task: its origin, in the order of the target file."""
    named = origins.to_list()
    order = list(dict.fromkeys(named))
    return [order.index(name) for name in named]


def rank_scores(scores: pl.DataFrame) -> NDArray[np.int64]:
    """Return row numbers by score, best first; ties go to the smaller row_id, null comes last."""
    by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
    value = scores["score"].fill_null(-np.inf).to_numpy()[by_id]
    return by_id[np.argsort(-value, kind="stable")]
