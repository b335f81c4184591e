"""What sections of judges show beside a row: a model's answers to its prompt, or its replacement."""

from collections.abc import Sequence

from curate.core.section import PassagePart, RowPart


def answers_part(role: str, texts: Sequence[str]) -> tuple[PassagePart, ...]:
    """Return what a model answered to a row's prompt; nothing of no texts."""
    passages = tuple((role, text) for text in texts)
    return (PassagePart("What the model answered", passages),) if passages else ()


def replacement_parts(row_id: str, new_id: str, title: str) -> tuple[RowPart, RowPart]:
    """Return a row and the new one, called `title`, that came in its place."""
    return (
        RowPart(row_id, "Replaced row", against=new_id, alike=False),
        RowPart(new_id, title, against=row_id, alike=False),
    )
