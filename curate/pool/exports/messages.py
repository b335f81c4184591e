"""Messages: JSON Lines and Parquet with the turns of each row, as most trainers read them."""

import hashlib
from pathlib import Path
from typing import ClassVar, Literal

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.methods import method
from curate.core.rows import MESSAGES, SCHEMA
from curate.core.turntext import without_empty_fields
from curate.pool.exporter import Exporter

COLUMNS = ["row_id", "messages", "source", "origin", "meta"]
UNNAMED = ".train.jsonl"


@method
class MessagesExporter(Exporter):
    """JSON Lines and Parquet with the turns of each row.

    train-DIGEST.jsonl and data/train-DIGEST-00000-of-00001.parquet hold row_id, messages, source, origin
    and meta. Trainers that read `messages` (TRL, Axolotl, torchtune, open-instruct) take either;
    `datasets.load_dataset(folder)` reads the Parquet file by the card. DIGEST is one of the rows:
    `datasets` takes two folders of one name and file pattern for the same data, and would hand out from
    its cache the rows of whichever it read first.
    """

    version: ClassVar[int] = 3

    method: Literal["messages"] = "messages"

    def write(self, rows: pl.DataFrame, out: Path) -> list[Path]:
        """Write both files."""
        table = without_empty_fields(rows.select(COLUMNS))
        if rows["tools"].null_count() < rows.height:
            table = table.with_columns(rows["tools"])
        jsonl, parquet = (out / path for path in file_names(_write_lines(table, out / UNNAMED)))
        (out / UNNAMED).rename(jsonl)
        parquet.parent.mkdir(exist_ok=True)
        # Not by polars: its lists and strings are "large" ones, another type to `datasets`.
        pq.write_table(table.to_arrow().cast(_plain_schema(table)), parquet, compression="zstd")
        return [jsonl, parquet]


def _write_lines(table: pl.DataFrame, path: Path) -> str:
    """Write a table as JSON Lines; return 16 hex digits that identify its rows, in their order."""
    digest = hashlib.blake2b(digest_size=8)
    with path.open("wb") as file:
        for batch in table.iter_slices(10_000):
            for row in batch.iter_rows(named=True):
                line = orjson.dumps(row) + b"\n"
                digest.update(line)
                file.write(line)
    return digest.hexdigest()


def _plain_schema(table: pl.DataFrame) -> pa.Schema:
    """Return the types of a table, its turns with the fields that they have there."""
    names = table.select(pl.col("messages").explode().struct.unnest()).columns
    turns = pa.list_(pa.struct([MESSAGES.value_type.field(name) for name in names]))
    fields = (SCHEMA.field(column) for column in table.columns)
    return pa.schema([f.with_type(turns) if f.name == "messages" else f for f in fields])


def file_names(digest: str) -> tuple[str, str]:
    """Return where the files of rows with a digest lie in their folder."""
    return f"train-{digest}.jsonl", f"data/train-{digest}-00000-of-00001.parquet"
