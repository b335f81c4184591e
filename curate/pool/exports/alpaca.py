"""Alpaca: instruction, output, system and history, with the dataset_info.json of LLaMA-Factory."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from curate.core.methods import method
from curate.pool.exporter import RecordExporter
from curate.pool.llamafactory import alternates, lost_marks, split_system, write_dataset_info
from curate.pool.turnforms import Record, Row, has_calls, reasoning_in_content

COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}


@method
class AlpacaExporter(RecordExporter):
    """Instruction, input, output, system and history, as LLaMA-Factory reads them.

    alpaca/train-DIGEST.jsonl and alpaca/dataset_info.json. `history` holds the earlier questions and
    answers as pairs; rows with calls of tools are left out.
    """

    version: ClassVar[int] = 1

    method: Literal["alpaca"] = "alpaca"

    def unfit(self, row: Row) -> str | None:
        """Return what of the row no pair of question and answer can hold."""
        if has_calls(row):
            return "they have calls of tools"
        _, turns = split_system(row["messages"])
        return None if alternates(turns) else "their turns do not alternate"

    def record(self, row: Row) -> Record:
        """Return the last question and answer, the earlier ones as history."""
        system, turns = split_system(row["messages"])
        texts = [reasoning_in_content(turn) for turn in turns]
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
        (instruction, output), history = pairs[-1], pairs[:-1]
        record: Record = {"instruction": instruction, "input": "", "output": output}
        return record | {"system": system, "history": history, "tools": row["tools"] or ""}

    def losses(self, row: Row) -> Iterator[str]:
        """Yield what LLaMA-Factory's files do not say."""
        yield from lost_marks(row)
        yield from super().losses(row)

    def companions(self, data: Path) -> list[Path]:
        """Write dataset_info.json."""
        further = {name: name for name in ("system", "history", "tools")}
        info = {"formatting": "alpaca", "columns": COLUMNS | further}
        return [write_dataset_info(data, info)]
