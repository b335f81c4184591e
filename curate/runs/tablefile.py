"""A table that a command writes where the user wants it: Parquet, whole or not at all."""

from pathlib import Path

import polars as pl

from curate.core.errors import UserError
from curate.core.writable import written_below
from curate.runs.publish import temporary_name


def check_table_file(out: Path | None) -> Path | None:
    """Return where a table is to be written; a file that is no table is never overwritten.

    Raises:
        UserError: a folder or another kind of file stands there.
    """
    if out is None or not out.exists():
        return out
    if not out.is_file() or not _is_parquet(out):
        raise UserError(f"--out {out} is no Parquet file; give a new file for the table")
    return out


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def write_table_file(table: pl.DataFrame, target: Path) -> None:
    """Write a table as Parquet, whole or not at all.

    Raises:
        UserError: it cannot be written there, or the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(target)
    try:
        with written_below(target.parent, "give another --out"):
            table.write_parquet(temporary)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
