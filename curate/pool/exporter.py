"""Exporters: forms in which a selection is written for trainers."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import polars as pl
import pyarrow as pa
from pydantic import Field

from curate.core.methods import Method
from curate.pool.arrangement import split_parts
from curate.pool.datafiles import SHARD_BYTES, write_records
from curate.pool.turnforms import Record, Row

BATCH_ROWS = 10_000
# Columns that an arrangement adds.
ARRANGED = {"phase": pa.int64(), "sample_weight": pa.float64()}
MAX_NAMED_ROWS = 3


class Exporter(Method):
    """A form of training files.

    renders: whether rows come with a column `text`, the row as the base model reads it.
    ranks: whether files hold the rejected answers of pairs.
    """

    family: ClassVar[str] = "exporter"
    packages: ClassVar[tuple[str, ...]] = ("curate.pool.exports",)
    renders: ClassVar[bool] = False
    ranks: ClassVar[bool] = False

    shard_bytes: int = Field(
        SHARD_BYTES,
        gt=0,
        description="size of a Parquet file; a recipe says it by export.shard_bytes",
    )

    def write(self, rows: pl.DataFrame, out: Path) -> list[Path]:
        """Write rows under a folder, which is there; return the files.

        Args:
            rows: the selection, with the columns of rows (curate.core.rows), `split` (train or
                validation, files of their own), and `phase` and `sample_weight` where the recipe
                asks for them.
            out: the folder.
        """
        raise NotImplementedError

    def remarks(self, rows: pl.DataFrame) -> list[str]:
        """Return what the format cannot say of these rows, a sentence each."""
        return []


class RecordExporter(Exporter):
    """A form with JSON objects, one a row unless `records` says otherwise: METHOD/train-DIGEST.jsonl."""

    def record(self, row: Row) -> Record:
        """Return the object of a row that the format can hold."""
        raise NotImplementedError

    def records(self, row: Row) -> list[Record]:
        """Return the objects of a row that the format can hold."""
        return [self.record(row)]

    def arrow_schema(self, rows: pl.DataFrame) -> pa.Schema | None:
        """Return Arrow's schema of the objects, for a Parquet file beside them; None for none."""
        return None

    def unfit(self, row: Row) -> str | None:
        """Return why the format cannot hold a row, which is left out: "they ..."; None if it can."""
        return None

    def losses(self, row: Row) -> Iterator[str]:
        """Yield what of a row the format does not say, in words that go for several rows."""
        if row["rejected"]:
            yield "rejected answers are not in it; the format `preference` has them"

    def folders(self, out: Path) -> tuple[Path, Path]:
        """Return the folders of lines and tables."""
        return out / self.method, out / self.method

    def companions(self, data: Path) -> list[Path]:
        """Write what belongs beside the lines; return the files."""
        return []

    def write(self, rows: pl.DataFrame, out: Path) -> list[Path]:
        """Write the rows that the format can hold, in their order; nothing if it can hold none."""
        lines, tables = self.folders(out)
        schema = self.arrow_schema(rows)
        paths = [
            path
            for split, part in split_parts(rows)
            for path in write_records(
                self._batches(part),
                lines,
                schema,
                tables,
                split=split,
                shard_bytes=self.shard_bytes,
            )
        ]
        return [*paths, *self.companions(paths[0])] if paths else []

    def _batches(self, rows: pl.DataFrame) -> Iterator[list[Record]]:
        for part in rows.iter_slices(BATCH_ROWS):
            yield [
                record
                for row in part.iter_rows(named=True)
                if self.unfit(row) is None
                for record in self.records(row)
            ]

    def remarks(self, rows: pl.DataFrame) -> list[str]:
        """Return which rows are left out and why, and what is lost of others."""
        by_sentence: dict[str, list[str]] = defaultdict(list)
        for row in rows.iter_rows(named=True):
            reason = self.unfit(row)
            losses = self.losses(row) if reason is None else [f"rows are left out, since {reason}"]
            for sentence in losses:
                by_sentence[sentence].append(row["row_id"])
        return [
            f"{self.method}: {sentence} ({_named(row_ids)})"
            for sentence, row_ids in by_sentence.items()
        ]


def arranged_values(row: Row) -> Record:
    """Return the phase and weight of a row, where its export has them."""
    return {name: row[name] for name in ARRANGED if name in row}


def arranged_fields(rows: pl.DataFrame) -> list[tuple[str, pa.DataType]]:
    """Return the Arrow fields of phase and weight, where rows have them."""
    return [(name, kind) for name, kind in ARRANGED.items() if name in rows.columns]


def _named(row_ids: list[str]) -> str:
    """Return how many rows there are, and the first of them: "12 rows: a, b, c ..."."""
    count = "1 row" if len(row_ids) == 1 else f"{len(row_ids):,} rows"
    more = " ..." if len(row_ids) > MAX_NAMED_ROWS else ""
    return f"{count}: {', '.join(row_ids[:MAX_NAMED_ROWS])}{more}"
