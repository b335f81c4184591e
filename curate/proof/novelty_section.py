"""What tuning taught: texts of the tuned model that the base would not write, and rows by their gain."""

from collections.abc import Iterator

import polars as pl

from curate.core.numerals import measure, number, signed
from curate.core.runrecord import RunTables
from curate.core.section import (
    Block,
    Details,
    Heading,
    Item,
    PassagePart,
    RowList,
    RowPart,
    Section,
    note,
    paragraph,
)

TEXTS, ROWS, ANCHOR = "evidence/novelty-texts", "evidence/novelty-rows", "taught"
MOST_ROWS, SHOWN = 5, 4


def novelty_section(run: RunTables, *, iterative: bool) -> Section:
    """Return what tuning on the selection taught.

    Args:
        run: the finished run.
        iterative: whether the base learned each text before the next was drawn.
    """
    gains = run.table(ROWS).drop_nulls("gain").sort("gain", "row_id", descending=[True, False])
    rows = gains.collect()
    drawn = run.table(TEXTS).select("target_id", "text", "gain", "ended").collect()
    texts = tuple(_text(*line) for line in drawn.iter_rows())
    blocks = (
        paragraph(_lead(rows)),
        Heading("What the tuned model says and the base would not"),
        note(_method(iterative=iterative)),
        RowList(texts, SHOWN),
        *_ends(rows),
    )
    return Section(ANCHOR, "What tuning taught", blocks)


def _lead(rows: pl.DataFrame) -> str:
    mean = float(rows["gain"].sum()) / max(rows.height, 1)
    worse = rows.filter(pl.col("gain") <= 0).height
    lost = f"; {number(worse)} became no likelier" if worse else ""
    return (
        "A model tuned on the selection, as in the proof, beside the base model. On the responses of "
        f"the {number(rows.height)} selected rows, tuning gained {signed(mean)} nats a token on "
        f"average{lost}. This says what was learned, not whether it is right or general."
    )


def _method(*, iterative: bool) -> str:
    falls = (
        " After each text the base learns it, so later ones show what is left to find; their gains fall "
        "as novelty runs out."
        if iterative
        else ""
    )
    return (
        "Contrastive generation (Isonuma & Titov 2025): each token is drawn by how much likelier tuning "
        "made it, among those that the tuned model holds plausible. The number is that gain over the "
        f"text.{falls} These are samples: what is missing here may still have been learned."
    )


def _text(target: str | None, text: str, gain: float | None, ended: bool) -> Item:
    passage = PassagePart("Tuned model", (("wrote", text),))
    prompt = [] if target is None else [RowPart(target, "After the prompt of")]
    unit = "nothing was written" if gain is None else "nats a token"
    facts = (unit,) if ended else (unit, "cut")
    return Item((passage, *prompt), "" if gain is None else signed(gain), facts)


def _ends(rows: pl.DataFrame) -> Iterator[Block]:
    """Yield the rows of most gain, and those of least where there are others."""
    least = rows.tail(max(min(MOST_ROWS, rows.height - MOST_ROWS), 0)).reverse()
    for which, part in (("most", rows.head(MOST_ROWS)), ("least", least)):
        if part.height:
            items = tuple(
                _row(*line) for line in part.select("row_id", "base_loss", "tuned_loss").iter_rows()
            )
            yield Details(f"The rows that gained {which} by tuning", (RowList(items, MOST_ROWS),))


def _row(row_id: str, base: float, tuned: float) -> Item:
    losses = f"{measure(base)} → {measure(tuned)} nats a token"
    return Item((RowPart(row_id, "Row"),), signed(base - tuned), (losses,))
