"""Agreement: does a response say what the pool's responses to the nearest prompts say?

Rows are neighbours if the cosine of their prompts' embeddings reaches a floor; of these the k nearest
count. Agreement is the mean over them of the cosine of the two responses' embeddings. Where the prompts
are one and the same to the embedder (cosine SAME and equal numbers), short answers and final numbers are
compared by value instead (curate.answers.values, or by the `checker` of the recipe): 1 if equal, else 0;
what is not comparable counts by its cosine, and is told. Null without a neighbour.

It is a cheap relative of self-consistency (Wang et al. 2022, arXiv:2203.11171), with the pool's answers
in place of samples. Cost: two embeddings a row and a search; up to 50,000 rows that is exact, beyond it
looks into some cells only (curate.selectors.facility).

Pitfalls. Wrong answers that many rows share confirm each other, and so do copies: drop duplicates
before. A row whose prompt is alone says nothing. Prompts that are merely similar have different right
answers: there agreement finds responses that belong to another subject, not false ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import regex
from numpy.typing import NDArray

from curate.answers.values import Check, find_form, same_value
from curate.core.fixedpoint import cosines_of_pairs
from curate.core.fixedpoint import paired_cosines as exact_cosines
from curate.judge.measures import Floats
from curate.models.neighbours.nearest import nearest_rows

# From here on, with equal numbers, two prompts count as one.
SAME = 0.95
PAIRS_AT_A_TIME = 65_536
# Cosines are rounded, so that a text is as similar to itself as 1.
DECIMALS = 6

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class NeighbourPairs:
    """Pairs of row numbers, `row` in order, with the cosine of their prompts.

    `counts` has the recall of the search where it is not exact.
    """

    row: NDArray[np.int64]
    other: NDArray[np.int64]
    cosine: Floats
    counts: Mapping[str, float] = field(default_factory=dict)


def find_neighbours(prompts: Vectors, k: int, floor: float) -> NeighbourPairs:
    """Return each row's k nearest other rows from the floor on; the first rows where cosines are equal.

    Args:
        prompts: unit or zero vectors [N, d].
        k: neighbours of a row, at most.
        floor: smallest cosine, above 0.
    """
    count = len(prompts)
    if count < 2:
        nothing = np.empty(0, dtype=np.int64)
        return NeighbourPairs(nothing, nothing, np.empty(0))
    # Twice as many, so that of equal ones the search does not choose; and the row itself.
    nearest = nearest_rows(prompts, min(2 * k + 1, count))
    row = np.repeat(np.arange(count), nearest.numbers.shape[1])
    cosine = nearest.cosines.ravel().astype(np.float64)
    candidates = pl.DataFrame({"row": row, "other": nearest.numbers.ravel(), "cosine": cosine})
    rounded = pl.col("cosine").round(DECIMALS).clip(upper_bound=1.0)
    near = (
        candidates.with_columns(rounded)
        .filter(pl.col("other") >= 0, pl.col("other") != pl.col("row"), pl.col("cosine") >= floor)
        .sort("row", "cosine", "other", descending=[False, True, False])
        .group_by("row", maintain_order=True)
        .head(k)
    )
    row, other, cosine = (near[name].to_numpy() for name in ("row", "other", "cosine"))
    return NeighbourPairs(row, other, cosine, nearest.counts)


def agree(
    near: NeighbourPairs,
    prompts: Sequence[str],
    responses: Sequence[str],
    vectors: Vectors,
    check: Check = "auto",
) -> tuple[Floats, int]:
    """Return the agreement [N] of rows with their neighbours, and how many pairs were not comparable.

    A row without a neighbour has NaN.

    Args:
        near: the neighbours.
        prompts: texts [N].
        responses: texts [N].
        vectors: unit or zero vectors of the responses [N, d].
        check: how answers to the same prompt are compared.
    """
    unread = 0
    similarities = cosines_of_pairs(vectors, near.row, vectors, near.other).round(DECIMALS)
    for at in np.flatnonzero(near.cosine >= SAME):
        row, other = near.row[at], near.other[at]
        form = find_form(responses[row], check)
        if form is None or _numbers(prompts[row]) != _numbers(prompts[other]):
            continue
        same = same_value(form, responses[row], responses[other])
        unread += same is None
        similarities[at] = similarities[at] if same is None else float(same)
    sums = np.bincount(near.row, weights=similarities, minlength=len(vectors))
    counts = np.bincount(near.row, minlength=len(vectors))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), unread


def paired_cosines(one: Vectors, other: Vectors) -> Floats:
    """Return the cosines [N] of unit vectors, row by row; NaN where one of the two is zero."""
    cosines = exact_cosines(one, other).round(DECIMALS)
    silent = ~(one.any(axis=1) & other.any(axis=1))
    return np.where(silent, np.nan, cosines)


def _numbers(text: str) -> list[str]:
    return regex.findall(r"\d+", text)
