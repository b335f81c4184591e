"""Text: each row as the base model reads it, in its chat template."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from curate.core.methods import method
from curate.pool.exporter import RecordExporter
from curate.pool.turnforms import UNMARKED, Record, Row, has_unlearned


@method
class TextExporter(RecordExporter):
    """Each row as one text, rendered by the base model's chat template.

    text/train-DIGEST.jsonl. Control tokens that stand in a row are text to the proof; trainers take them
    for control tokens.
    """

    version: ClassVar[int] = 1
    renders: ClassVar[bool] = True

    method: Literal["text"] = "text"

    def unfit(self, row: Row) -> str | None:
        """Return that the template refuses the row."""
        return "the base model's chat template refuses them" if row["text"] is None else None

    def record(self, row: Row) -> Record:
        """Return the rendered row."""
        return {"text": row["text"]}

    def losses(self, row: Row) -> Iterator[str]:
        """Yield that a text does not say which answers are context."""
        if has_unlearned(row):
            yield UNMARKED
        yield from super().losses(row)
