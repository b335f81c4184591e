"""Parquet tables, read by their literal path.

runs/a[1]/ledger.parquet      this file, and not the one that the pattern would match: runs/a1/...

Polars takes a path for a pattern, a URL or one below the home folder unless it is absolute and told
otherwise, so no other module calls its readers.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl


def scan_table(path: str | Path) -> pl.LazyFrame:
    """Return a Parquet file as a lazy frame."""
    return pl.scan_parquet(Path(path).absolute(), glob=False)


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return a Parquet file, or some of its columns, as a frame."""
    names = None if columns is None else list(columns)
    return pl.read_parquet(Path(path).absolute(), columns=names, glob=False)


def table_schema(path: str | Path) -> pl.Schema:
    """Return the names and types of a Parquet file's columns."""
    return scan_table(path).collect_schema()
