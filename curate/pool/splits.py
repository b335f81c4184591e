"""A validation split without near copies of training rows: groups of near copies stay on one side.

train        "Add 2 and 3."   "Add 2 and 3!"
validation   "Name a river."
"""

import logging

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.text.compared import compared_text
from curate.text.nearcopies import copies, group_numbers, near_copies

LOG = logging.getLogger("curate")
TRAIN, VALIDATION = "train", "validation"
# Jaccard similarity of word 5-grams, that of the stage `fuzzy`.
SIMILARITY = 0.7
# A smaller part of what was asked for is remarked on.
ENOUGH = 0.9


def split_rows(rows: pl.DataFrame, share: float, seed: int) -> pl.Series:
    """Return the split of each row.

    Rows are near copies that share most of their word 5-grams (Jaccard 0.7), or have the same prompt.
    Groups of them are drawn at random, those left out that would exceed the share.

    Args:
        rows: with messages.
        share: of the rows that go to validation; none if 0.
        seed: of the draw.

    Raises:
        UserError: no group is small enough.
    """
    validation = np.zeros(rows.height, dtype=np.bool_)
    if share:
        groups = _groups(rows)
        validation = _draw(groups, round(share * rows.height), seed)
        _check(validation, groups, share)
    names = pl.when(pl.Series(validation)).then(pl.lit(VALIDATION)).otherwise(pl.lit(TRAIN))
    return pl.select(split=names).to_series()


def _groups(rows: pl.DataFrame) -> NDArray[np.int64]:
    example, prompt = (
        rows.select(text=compared_text(part))["text"].fill_null("")
        for part in ("example", "prompt")
    )
    pairs = np.concatenate([near_copies(example, SIMILARITY), copies(prompt)])
    return group_numbers(rows.height, pairs)


def _draw(groups: NDArray[np.int64], most: int, seed: int) -> NDArray[np.bool_]:
    """Return which rows are drawn: whole groups in random order, at most so many rows."""
    sizes = np.bincount(groups)
    rng = np.random.default_rng([seed, 0x5B117])
    drawn, left = np.zeros(len(sizes), dtype=np.bool_), most
    for group in rng.permutation(len(sizes)):
        if sizes[group] <= left:
            drawn[group] = True
            left -= sizes[group]
    chosen: NDArray[np.bool_] = drawn[groups]
    return chosen


def _check(validation: NDArray[np.bool_], groups: NDArray[np.int64], share: float) -> None:
    rows, count = len(validation), int(validation.sum())
    target = round(share * rows)
    if not 0 < count < rows:
        smallest = int(np.bincount(groups).min()) if rows else 0
        raise UserError(
            f"export.validation: {share:g} of {rows:,} rows is {target:,}, and the smallest group of "
            f"near copies has {smallest:,}; all of one stand on one side, so give another share, drop "
            "near copies by the stage `fuzzy`, or leave it out"
        )
    if count < ENOUGH * target:
        LOG.warning(
            "export: validation has %s rows, not %s: the others are in larger groups of near copies",
            f"{count:,}",
            f"{target:,}",
        )
