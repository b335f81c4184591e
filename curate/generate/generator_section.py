"""The section of a generation method: its yield, why candidates went, its hops, kept rows, rejects.

Every generator has it that brings no other one, those of other people too.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from curate.core.numerals import counted, number, percent
from curate.core.runrecord import RunTables
from curate.core.section import (
    Bar,
    Block,
    Columns,
    DataTable,
    Details,
    Heading,
    Inline,
    Item,
    Key,
    PassagePart,
    Quote,
    RowList,
    RowPart,
    Section,
    Strong,
    note,
    paragraph,
)
from curate.generate.candidates import explain_reject
from curate.generate.corpus import PREFIX
from curate.generate.growth_section import (
    drift,
    growth_of,
    guides_of,
    hop_table,
    separated,
    tree_details,
)
from curate.generate.outcome import CANDIDATES, MethodOutcome

KEPT, PARENTS = 4, 2
REASONS, DROPPED = 4, 3
PASSAGE_STAYS = "A passage of the corpus; its text stays there."


@dataclass(frozen=True)
class GeneratorRecord:
    """A generation method of a finished run: its outcome, and the tables of the run.

    stage_label: what the run calls a stage, by its name there.
    """

    run: RunTables
    outcome: MethodOutcome
    label: str
    stage_label: Callable[[str], str] = str

    @property
    def anchor(self) -> str:
        """Return the anchor of the method's section."""
        return f"generated-{self.outcome.method}"

    def candidates(self) -> pl.LazyFrame:
        """Return all that was made, as curate.generate.candidates.CANDIDATE_SCHEMA has it."""
        return self.run.table(CANDIDATES).filter(method=self.outcome.method)


@dataclass(frozen=True)
class StoredCandidate:
    """A candidate as its run stored it; `guides` are what guided its making."""

    row_id: str
    hop: int
    parents: tuple[str, ...]
    prompt: str
    response: str
    guides: tuple[Quote, ...]
    detail: str

    @classmethod
    def of(cls, line: dict[str, Any]) -> "StoredCandidate":
        """Return the candidate of a line of candidates.parquet."""
        return cls(
            line["row_id"], line["hop"], tuple(line["parents"]), line["prompt"], line["response"],
            guides_of(orjson.loads(line["notes"])), line["detail"],
        )  # fmt: skip


def generator_section(record: GeneratorRecord) -> Section | None:
    """Return the section of a generation method, None if it made no candidate."""
    outcome = record.outcome
    if not outcome.generated:
        return None
    growth = growth_of(record.run, outcome.method)
    columns = (_reasons(outcome), hop_table(growth), drift(growth))
    blocks: list[Block] = [paragraph(_yield(outcome) + _pairs(record)), *_side_by_side(columns)]
    if growth and growth.trees:
        blocks.append(tree_details(growth, outcome.method))
    if outcome.kept:
        blocks.append(_kept(record))
    if outcome.dropped:
        blocks.append(_rejects(record))
    key = outcome.method if outcome.method != record.label else ""
    return Section(record.anchor, f"Made by {record.label}", tuple(blocks), key)


def _side_by_side(columns: Iterable[tuple[Block, ...]]) -> tuple[Columns, ...]:
    """Return two columns of those that hold anything, a third below the second."""
    first, *others = [column for column in columns if column] or [()]
    second = tuple(block for column in others for block in column)
    return (Columns((first, second) if second else (first,)),) if first else ()


def _yield(outcome: MethodOutcome) -> str:
    were = "was" if outcome.kept == 1 else "were"
    kept = f"{number(outcome.kept)} of {counted(outcome.generated, 'candidate')}"
    return f"{kept} ({percent(outcome.share)}) {were} kept."


def _pairs(record: GeneratorRecord) -> str:
    """Return how many kept rows have a rejected answer, in a sentence if any has."""
    paired = pl.col("notes").str.json_path_match("$.pair.how").is_not_null()
    kept = record.candidates().filter(pl.col("flaw").is_null())
    count = kept.select(paired.sum()).collect().item()
    return f" Preference pairs among them: {number(count)}." if count else ""


def _reasons(outcome: MethodOutcome) -> tuple[Block, ...]:
    if not outcome.dropped:
        return ()
    most = max(count for _, count in outcome.dropped)
    lines = tuple(
        ((f"{explain_reject(code)} ", Key(code)), number(count), Bar(count / most))
        for code, count in outcome.dropped
    )
    return Heading("Why candidates went"), DataTable(("It …", "#Candidates", ""), lines)


def _kept(record: GeneratorRecord) -> Details:
    """Return some kept rows with what they were made from, and what became of them."""
    kept = record.outcome.kept
    rows = spread(record.candidates().filter(pl.col("flaw").is_null()), KEPT)
    ids = pl.Series([row.row_id for row in rows], dtype=pl.String).implode()
    ledger = record.run.table("ledger").filter(pl.col("row_id").is_in(ids))
    fates = ledger.select("row_id", "fate", "stage", "rank").collect()
    fate_by_row = {row_id: _fate(record, *facts) for row_id, *facts in fates.iter_rows()}
    items = tuple(_kept_item(row, fate_by_row[row.row_id]) for row in rows)
    which = (
        f"{len(items)} of {number(kept)} kept rows"
        if kept > len(items)
        else f"All {number(kept)} kept rows"
        if kept > 1
        else "The kept row"
    )
    return Details(f"{which}, with what they were made from", (RowList(items, KEPT),))


def _kept_item(row: StoredCandidate, fate: tuple[Inline, ...]) -> Item:
    parents = [
        RowPart(name, "From", lost=PASSAGE_STAYS if name.startswith(PREFIX) else "")
        for name in row.parents[:PARENTS]
    ]
    further = len(row.parents) - len(parents)
    more = [counted(further, "more parent")] if further else []
    guides = [separated(row.guides)] if row.guides else []
    facts: tuple[Inline | tuple[Inline, ...], ...] = (*guides, f"hop {row.hop}", fate, *more)
    return Item((RowPart(row.row_id, "Made row"), *parents), facts=facts)


def _fate(record: GeneratorRecord, fate: str, stage: str, rank: int | None) -> tuple[Inline, ...]:
    if fate == "selected":
        return Strong("selected"), f", rank {number(rank)}"
    if fate == "dropped":
        return (f"dropped: {record.stage_label(stage).lower()}",)
    return (f"not selected, rank {number(rank)}",)


def _rejects(record: GeneratorRecord) -> Details:
    """Return the most frequent reasons with some of what went for each."""
    outcome = record.outcome
    reasons = outcome.dropped[:REASONS]
    items = tuple(
        Item(
            tuple(_rejects_of(record, code)),
            facts=(Strong(f"It {explain_reject(code)}"), counted(count, "candidate")),
        )
        for code, count in reasons
    )
    few = f"The {len(reasons)} most frequent of {len(outcome.dropped)} reasons."
    more = [note(few)] if len(outcome.dropped) > len(reasons) else []
    gone = outcome.generated - outcome.kept
    some = (
        f"Some of the {number(gone)} that were dropped" if gone > 1 else "The one that was dropped"
    )
    return Details(some, (RowList(items, REASONS), *more))


def _rejects_of(record: GeneratorRecord, code: str) -> Iterator[PassagePart]:
    for one in spread(record.candidates().filter(flaw=code), DROPPED):
        turns = (("user", one.prompt), ("assistant", one.response))
        passages = tuple((role, text) for role, text in turns if text)
        facts: tuple[Inline | tuple[Inline, ...], ...] = (
            *(["Nothing was written."] if not passages else []),
            *([Quote(one.detail)] if one.detail else []),
            *([separated(one.guides)] if one.guides else []),
        )
        yield PassagePart("Candidate", passages, one.row_id, facts)


def spread(candidates: pl.LazyFrame, count: int) -> list[StoredCandidate]:
    """Return so many candidates at even distances, or all if there are fewer."""
    table = candidates.collect()
    size = table.height
    places = [i * size // count for i in range(count)] if size > count else range(size)
    return [StoredCandidate.of(line) for line in table[list(places)].to_dicts()] if size else []
