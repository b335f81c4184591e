"""Leaks of eval examples into rows, found in one call."""

from __future__ import annotations

from typing import Any

import polars as pl

from curate.overlap.index import LeakIndex


def find_leaks(
    rows: pl.LazyFrame, eval_rows: pl.DataFrame, *, ngram: int = 8, **settings: Any
) -> pl.DataFrame:
    """Return every (row, eval example) pair that leaks; see LeakIndex.find."""
    return LeakIndex(eval_rows, ngram=ngram).find(rows, **settings)
