"""Preferences for LLaMA-Factory: conversations of from and value, a chosen and a rejected answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from curate.core.methods import method
from curate.core.preferences import chosen_turns_of
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
class SharegptPreferenceExporter(RecordExporter):
    """Conversations with a chosen and a rejected answer, as LLaMA-Factory reads them for DPO.

    sharegpt_preference/train-DIGEST.jsonl and dataset_info.json beside it, of the rows with a rejected
    answer of one turn, which stands for the last turn of the row.
    """

    version: ClassVar[int] = 1
    ranks: ClassVar[bool] = True

    method: Literal["sharegpt_preference"] = "sharegpt_preference"

    def unfit(self, row: Row) -> str | None:
        """Return what of the row it cannot hold."""
        rejected = row["rejected"]
        if not rejected:
            return "they have no rejected answer"
        if len(rejected) > 1:
            return "their rejected answer has several turns"
        if chosen_turns_of(row["messages"], row["meta"]) > 1:
            return "their answers part before the last turn"
        return sharegpt_fault(row["messages"]) or sharegpt_fault([*row["messages"][:-1], *rejected])

    def record(self, row: Row) -> Record:
        """Return the turns before the last, the last, the rejected one, system prompt and tools."""
        system, turns = split_system(row["messages"])
        return {
            "conversations": [sharegpt_turn(turn) for turn in turns[:-1]],
            "chosen": sharegpt_turn(turns[-1]),
            "rejected": sharegpt_turn(row["rejected"][0]),
            "system": system,
            "tools": row["tools"] or "",
        }

    def losses(self, row: Row) -> Iterator[str]:
        """Yield what LLaMA-Factory's files do not say."""
        yield from lost_marks(row)

    def companions(self, data: Path) -> list[Path]:
        """Write dataset_info.json."""
        names = ("chosen", "rejected", "system", "tools")
        columns = {"messages": "conversations"} | {name: name for name in names}
        info = {"formatting": "sharegpt", "ranking": True, "columns": columns}
        return [write_dataset_info(data, info)]
