"""Exporters: forms in which a selection is written for trainers."""

from pathlib import Path
from typing import ClassVar

import polars as pl

from curate.core.methods import Method


class Exporter(Method):
    """A form of training files."""

    family: ClassVar[str] = "exporter"
    packages: ClassVar[tuple[str, ...]] = ("curate.pool.exports",)

    def write(self, rows: pl.DataFrame, out: Path) -> list[Path]:
        """Write rows under a folder, which is there; return the files.

        Args:
            rows: the selection, with the columns of rows (curate.core.rows).
            out: the folder.
        """
        raise NotImplementedError
