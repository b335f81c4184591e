"""Stored similarities [rows, target examples] read example by example.

A table of scores has 4 bytes for each row and example. A copy of them all, in another order of rows, is
what a ranking of ten million rows has no room for; one example's are a small part.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray


def similarity_columns(
    scores: pl.DataFrame,
    rows: NDArray[np.int64] | None = None,
    examples: NDArray[np.int64] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Yield the similarities [N] of each target example, or of some of them.

    Args:
        scores: what `similarity_table` returned.
        rows: which rows, and in which order; all as they are stored if None.
        examples: the numbers of the examples; all if None.
    """
    kind = scores.schema["similarities"]
    assert isinstance(kind, pl.Array)
    for number in range(kind.size) if examples is None else examples:
        column = scores["similarities"].arr.get(int(number)).to_numpy()
        yield column if rows is None else column[rows]
