"""Messages: JSON Lines and Parquet with the turns of each row, as most trainers read them."""

from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
import pyarrow as pa

from curate.core.methods import method
from curate.pool.exporter import RecordExporter, arranged_fields, arranged_values
from curate.pool.turnforms import Record, Row, openai_turns, tools_field, tools_value, turns_type

COLUMNS = ["row_id", "messages", "source", "origin", "meta"]


@method
class MessagesExporter(RecordExporter):
    """JSON Lines and Parquet with the turns of each row.

    train-DIGEST.jsonl and data/train-DIGEST-00000-of-00001.parquet hold row_id, messages, tools where
    there are some, source, origin and meta. Trainers that read `messages` (TRL, Axolotl, MLX,
    open-instruct) take either; `datasets.load_dataset(folder)` reads the Parquet file by the card.
    """

    version: ClassVar[int] = 4

    method: Literal["messages"] = "messages"

    def record(self, row: Row) -> Record:
        """Return a row's columns, turns and tools in OpenAI's form."""
        record: Record = {name: row[name] for name in COLUMNS}
        record["messages"] = openai_turns(row["messages"])
        return record | tools_value(row) | arranged_values(row)

    def arrow_schema(self, rows: pl.DataFrame) -> pa.Schema:
        """Return plain types: lists and strings, not their large variants; JSON for tools alone."""
        kinds = [(name, pa.string()) for name in COLUMNS]
        kinds[1] = ("messages", turns_type(rows["messages"]))
        return pa.schema([*kinds, *tools_field(rows), *arranged_fields(rows)])

    def folders(self, out: Path) -> tuple[Path, Path]:
        """Return the top folder and `data`."""
        return out, out / "data"
