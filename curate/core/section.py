"""Sections of the report: what a method says of its run, in blocks that the page knows how to draw.

    def section(self, record: StageRecord) -> Section:
        rows = record.evidence().collect()
        lead = paragraph(Strong(f"{number(dropped)} of {number(rows.height)} rows were dropped."))
        return Section(record.anchor, record.label, (lead, Figure(...), RowList(...)), record.name)

A block is data: no markup, no colour, no text of a row of the pool. Rows stand there by their ids; the
page reads their texts once for all sections, cuts them, and marks what is to be marked. Words of other
people and of models (origins, file names, answers) come as Quote or in a passage, never within our own
sentences.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

from curate.core.chart import Chart


@dataclass(frozen=True)
class Strong:
    """Words in bold."""

    text: str


@dataclass(frozen=True)
class Code:
    """A command or the name of a file."""

    text: str


@dataclass(frozen=True)
class Key:
    """A name in the recipe or in a table, small, beside the words that say what it means."""

    text: str


@dataclass(frozen=True)
class Quote:
    """Words of a user's file or of a model, kept apart from ours whatever direction they run in."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Tag:
    """A warning of one word."""

    text: str


@dataclass(frozen=True)
class Quiet:
    """Words of less weight."""

    text: str


@dataclass(frozen=True)
class Highlight:
    """Words marked like differences and shared words are."""

    text: str


@dataclass(frozen=True)
class RowId:
    """The id of a row."""

    text: str


@dataclass(frozen=True)
class Link:
    """Words that lead to another section of the page, by its anchor."""

    text: str
    anchor: str


Inline = str | Strong | Code | Key | Quote | Tag | Quiet | Highlight | RowId | Link


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; a note is smaller, a warning stands out."""

    parts: tuple[Inline, ...]
    style: Literal["plain", "note", "warning"] = "plain"


def paragraph(*parts: Inline) -> Paragraph:
    """Return a paragraph of these words, one after the other; spaces are the caller's."""
    return Paragraph(parts)


def note(*parts: Inline) -> Paragraph:
    """Return a note, smaller than a paragraph."""
    return Paragraph(parts, "note")


@dataclass(frozen=True)
class Heading:
    """A heading below the section's own, with the number of what follows."""

    text: str
    count: str = ""
    key: str = ""


@dataclass(frozen=True)
class Bar:
    """A cell that shows a share, 0 to 1, as the length of a bar."""

    share: float


@dataclass(frozen=True)
class Heat:
    """A cell with a number between -1 and 1 behind its text, as the strength of a colour."""

    text: str
    value: float | None


@dataclass(frozen=True)
class Lines:
    """A cell of several lines."""

    lines: tuple[Inline | tuple[Inline, ...], ...]


@dataclass(frozen=True)
class RowPart:
    """A row that the page shows, by its id, with an excerpt of its texts.

    against: the row whose texts it differs from: the differing words are marked, long equal stretches
        left out.
    alike: whether texts that share hardly anything are marked as a whole.
    shared: words that are marked where the row has them.
    chars: about how much of each text is shown beside another one.
    lost: what is said where its texts are nowhere; that the store has lost them, if nothing else is.
    only: the one text that is shown, where it is not both.
    """

    row_id: str
    title: str
    against: str | None = None
    alike: bool = True
    shared: str | None = None
    chars: int | None = None
    lost: str = ""
    only: Literal["", "prompt", "response"] = ""


Cell = Inline | Bar | Heat | Lines | RowPart | tuple[Inline | Bar, ...]


@dataclass(frozen=True)
class DataTable:
    """A table: the first cell of a line is its head; `chosen` are the lines of this run's own choice.

    A column whose title starts with "#" holds numbers (and is called what follows).
    style: "matrix" for a square of numbers that is no wider than it must be, "texts" for one with long
        texts in it, "mixes" for shares with bars, those of all rows first and of the run's own selection
        second, "wide" for any other.
    """

    columns: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    chosen: frozenset[int] = frozenset()
    style: Literal["wide", "matrix", "texts", "mixes"] = "wide"


@dataclass(frozen=True)
class Figure:
    """A chart with its caption, before it what colours mean: ("accent" or "control", words)."""

    chart: Chart
    caption: Paragraph
    title: str = ""
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class PassagePart:
    """Texts that are no row of the pool, such as a model's answers: (role, text), with a title.

    facts stand below the texts.
    """

    title: str
    passages: tuple[tuple[str, str], ...]
    row_id: str | None = None
    facts: tuple[Inline | tuple[Inline, ...], ...] = ()


@dataclass(frozen=True)
class Item:
    """An entry of a list: what it shows side by side, with facts; `value` is the fact that leads.

    Of more than three parts the first stands above the others.
    """

    parts: tuple[RowPart | PassagePart, ...]
    value: str = ""
    facts: tuple[Inline | tuple[Inline, ...], ...] = ()


@dataclass(frozen=True)
class LimitLine:
    """A line across a list: what is above it was dropped, what is below it stayed."""

    text: str


@dataclass(frozen=True)
class RowList:
    """Rows one below the other, the first `open` of them in sight, the others behind a word."""

    items: tuple[Item | LimitLine | Paragraph, ...]
    open: int = 3


@dataclass(frozen=True)
class Columns:
    """Blocks side by side where the page is wide enough."""

    columns: "tuple[tuple[Block, ...], ...]"


@dataclass(frozen=True)
class Details:
    """Blocks behind a word, and behind the prompt of a row that tells which."""

    summary: str
    blocks: "tuple[Block, ...]"
    row: RowPart | None = None


@dataclass(frozen=True)
class Alarm:
    """A warning that is seen before all else: what is wrong in bold, and what to do."""

    title: str
    blocks: "tuple[Block, ...]"


@dataclass(frozen=True)
class Branch:
    """A node of a tree: a line of facts, the prompt of its row, and the first of its `size` children."""

    head: tuple[Inline, ...]
    facts: tuple[Inline, ...]
    row: RowPart
    children: "tuple[Branch, ...]" = ()
    size: int = 0
    faded: bool = False


@dataclass(frozen=True)
class Tree:
    """Trees that fold, the first of `size`."""

    nodes: tuple[Branch, ...]
    size: int


Block = (
    Paragraph | Heading | DataTable | Figure | RowList | RowPart | PassagePart
    | Columns | Details | Alarm | Tree
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A part of the report: an anchor, unique on the page, a title, and blocks.

    key: the name of what it is about in the recipe, shown small beside the title.
    """

    anchor: str
    title: str
    blocks: tuple[Block, ...]
    key: str = ""


def row_parts(blocks: Sequence[Any]) -> Iterator[RowPart]:
    """Yield every row that some blocks show, wherever in them it stands."""
    for block in blocks:
        if isinstance(block, RowPart):
            yield block
        elif isinstance(block, tuple):
            yield from row_parts(block)
        elif is_dataclass(block) and not isinstance(block, type):
            yield from row_parts([getattr(block, field.name) for field in fields(block)])
