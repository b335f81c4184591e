"""ShareGPT: conversations of from and value, with the dataset_info.json of LLaMA-Factory."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from curate.core.methods import method
from curate.pool.exporter import RecordExporter
from curate.pool.llamafactory import (
    lost_marks,
    sharegpt_fault,
    sharegpt_turn,
    split_system,
    write_dataset_info,
)
from curate.pool.turnforms import Record, Row


@method
class SharegptExporter(RecordExporter):
    """Conversations of from and value, with system and tools, as LLaMA-Factory reads them.

    sharegpt/train-DIGEST.jsonl and sharegpt/dataset_info.json. Calls of tools are turns `function_call`.
    """

    version: ClassVar[int] = 1

    method: Literal["sharegpt"] = "sharegpt"

    def unfit(self, row: Row) -> str | None:
        """Return what of the row turns of one text each cannot hold."""
        return sharegpt_fault(row["messages"])

    def record(self, row: Row) -> Record:
        """Return the turns, system prompt and tools."""
        system, turns = split_system(row["messages"])
        conversations = [sharegpt_turn(turn) for turn in turns]
        return {"conversations": conversations, "system": system, "tools": row["tools"] or ""}

    def losses(self, row: Row) -> Iterator[str]:
        """Yield what LLaMA-Factory's files do not say."""
        yield from lost_marks(row)
        yield from super().losses(row)

    def companions(self, data: Path) -> list[Path]:
        """Write dataset_info.json."""
        columns = {"messages": "conversations", "system": "system", "tools": "tools"}
        return [write_dataset_info(data, {"formatting": "sharegpt", "columns": columns})]
