"""Rehearsed rows in the report: damage by bin, what each gave, and what the rehearsal changed."""

from collections.abc import Iterator, Sequence

import polars as pl

from curate.core.numerals import number, signed
from curate.core.runrecord import RunTables
from curate.core.section import (
    Bar,
    Block,
    Cell,
    DataTable,
    Heading,
    Item,
    PassagePart,
    Quote,
    RowList,
    Section,
    note,
    paragraph,
)
from curate.proof.rehearsed_arms import LABELS, RehearsedVerdict

TABLE, BINS = "evidence/rehearsal", "evidence/rehearsal-bins"
ROWS, ANCHOR = "evidence/rehearsal-rehearsed", "rehearsed"
MOST_ROWS, SHOWN = 12, 3
FATES = {
    "not_drawn": "not drawn",
    "wrong_before": "wrong before tuning",
    "unread": "without a response to read",
    "dropped": "kept out",
}


def rehearsal_section(run: RunTables, watch: Sequence[tuple[str, RehearsedVerdict]]) -> Section:
    """Return what was rehearsed and why.

    Args:
        run: the finished run.
        watch: verdicts on rehearsed arms, each with the name of its watch set.
    """
    rows = run.table(TABLE).collect()
    bins = run.table(BINS).sort("budget", "bin", descending=[True, False]).collect()
    blocks = (
        paragraph(_lead(rows)),
        *_kept_out(rows),
        *(_damage(bins) if bins.height else ()),
        *_watched(watch),
        Heading("Rehearsed rows", number(rows.filter(fate="rehearsed").height)),
        RowList(tuple(_items(run, rows)), SHOWN),
    )
    return Section(ANCHOR, "Rehearsed rows", blocks)


def _lead(rows: pl.DataFrame) -> str:
    fates = dict(rows["fate"].value_counts().iter_rows())
    rest = ", ".join(f"{number(fates[k])} {words}" for k, words in FATES.items() if k in fates)
    return (
        f"{number(fates.get('rehearsed', 0))} of {number(rows.height)} rows of earlier training are "
        f"mixed into the training files{f'; {rest}' if rest else ''}."
    )


def _kept_out(rows: pl.DataFrame) -> Iterator[Block]:
    counts = rows.filter(fate="dropped").group_by("reason").len().sort("reason")
    if counts.height:
        listed = ", ".join(f"{reason} {number(count)}" for reason, count in counts.iter_rows())
        yield note(f"Kept out: {listed}.")


def _damage(bins: pl.DataFrame) -> Iterator[Block]:
    yield Heading("Collateral damage by bin")
    columns = (
        "Bin",
        "#Rows",
        "#Right before",
        "#Probed",
        "#Wrong after",
        "#Rate",
        "",
        "#Drawn",
    )
    yield DataTable(columns, tuple(_line(*line) for line in bins.iter_rows()))
    yield note(
        "A bin is an origin and a third of the base's losses. Its rate is that of probe rows which the "
        "base gets right and the model tuned on the selection alone gets wrong, by value, or by a loss "
        "that is 0.1 nats a token higher where there is no value; without a probe row it is 0.5. Bins "
        "give in proportion to their rate times their rows that the base gets right."
    )


def _line(
    name: str, rows: int, right: int, probed: int, wrong: int, rate: float, budget: int
) -> tuple[Cell, ...]:
    counts = (number(count) for count in (rows, right, probed, wrong))
    return (Quote(name), *counts, f"{rate:.2f}", Bar(rate), number(budget))


def _watched(watch: Sequence[tuple[str, RehearsedVerdict]]) -> Iterator[Block]:
    """Yield how much less each arm forgets on each watch set."""
    lines = [
        (
            Quote(source),
            LABELS[one.arm],
            one.harm.verdict,
            f"{signed(one.harm.rise)} ({signed(one.harm.low)} to {signed(one.harm.high)})",
            LABELS[other],
            signed(less.difference),
            f"{signed(less.low)} to {signed(less.high)}",
        )
        for source, one in watch
        for other, less in one.less.items()
    ]
    if lines:
        yield Heading("What it changes on watch sets")
        columns = (
            "Set", "Trained", "Verdict", "#Worse than the base by", "Against",
            "#Forgets less by", "#Estimate (95 %)",
        )  # fmt: skip
        yield DataTable(columns, tuple(lines))
        yield note(
            "Each set's level is divided among the selection and these. An estimate that lies above 0 "
            "as a whole says that less is forgotten; it has no part in a verdict."
        )


def _items(run: RunTables, rows: pl.DataFrame) -> Iterator[Item]:
    reasons = dict(rows.filter(fate="rehearsed").select("row_id", "reason").iter_rows())
    drawn = run.table(ROWS).select("row_id", "messages").head(MOST_ROWS).collect()
    for row_id, messages in drawn.iter_rows():
        passages = tuple((turn["role"], turn["content"]) for turn in messages)
        yield Item((PassagePart("Prior row", passages, row_id),), facts=(Quote(reasons[row_id]),))
