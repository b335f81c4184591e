"""A row in full: its conversation, what became of it and why, what every stage measured, its kin.

/row?id=bundled/chat.jsonl:57&rows=fate%3Ddropped       `rows` is the filter that led here
"""

from dataclasses import dataclass
from typing import TypedDict

import orjson
import polars as pl

from curate.core.preferences import rejected_answer
from curate.core.rows import Message
from curate.core.stage import EVAL_SETS
from curate.core.turntext import plain_messages
from curate.report.differences import Side, show_sides
from curate.report.examples import read_rows
from curate.report.texts import Turn, marked_turns
from curate.runs.explain import EXAMPLES, REPLACED
from curate.runs.folder import RunFolder
from curate.runs.licences import UNKNOWN, licences_by_source
from curate.runs.lineage import LineageNode, lineage_tree
from curate.runs.rowfacts import (
    ComparedFate,
    StageVerdict,
    compared_fates,
    fate_sentence,
    leaked_words,
    nearest_examples,
    stage_verdicts,
)
from curate.view.rowtable import RowTable

# Of each turn; the rest at a click.
TURN_CHARS, SIDE_CHARS, TARGET_CHARS = 6_000, 3_000, 700
ALL_CHARS = 2**40
MOST_KIN = 20


@dataclass(frozen=True)
class RelatedRow:
    """A row that has to do with another one, and how."""

    row_id: str
    what: str


@dataclass(frozen=True)
class Counterpart:
    """The row beside it: the one that it duplicates, was replaced by, leaks, or is compared with."""

    title: str
    row_id: str
    sides: tuple[Side, Side] | None
    shared: str | None = None
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class TargetLine:
    """A target example that is near a row, with the start of its text."""

    row_id: str
    similarity: float | None
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class RowDetail:
    """All that there is to a row; no turns where the store has lost its text."""

    row_id: str
    fate: str
    stage: str
    rank: int | None
    score: float | None
    method: str
    sentence: str
    facts: list[tuple[str, str]]
    turns: tuple[Turn, ...]
    rejected: tuple[Turn, ...]
    rejected_title: str
    counterpart: Counterpart | None
    targets: list[TargetLine]
    verdicts: list[StageVerdict]
    evidence: dict[str, dict[str, object]]
    compared: list[ComparedFate]
    lineage: LineageNode | None
    offspring: list[RelatedRow]
    similar: list[RelatedRow]
    copies: list[str]
    copy_count: int

    @property
    def cut(self) -> bool:
        """Return whether some of its text is left out."""
        return any(not turn.text.whole for turn in (*self.turns, *self.rejected))


@dataclass(frozen=True)
class ExampleDetail:
    """An example of the target, an eval set or another one, and the rows that have to do with it.

    ranked: those that the method found nearest to it, with their ranks; leaking: those that hold it.
    """

    row_id: str
    what: str
    turns: tuple[Turn, ...]
    ranked: list[tuple[str, int]]
    leaking: list[str]


def read_example(run: RunFolder, table: RowTable, row_id: str) -> ExampleDetail | None:
    """Return what an example is to the run's rows; None for other ids."""
    for role, what in EXAMPLES.items():
        messages = run.messages(role, row_id)
        if messages is None:
            continue
        leaking = table.ledger.filter(pl.col("duplicate_of") == row_id).head(MOST_KIN)["row_id"]
        nearest = run.table("evidence/select").filter(pl.col("nearest_id") == row_id).sort("rank")
        ranked = nearest.select("row_id", "rank").head(MOST_KIN).collect().rows()
        return ExampleDetail(
            row_id, what, _turns(messages, None, ALL_CHARS), ranked, leaking.to_list()
        )
    return None


def read_detail(
    run: RunFolder, table: RowTable, position: int, against: str = "", *, whole: bool = False
) -> RowDetail:
    """Return all that there is to a row.

    Args:
        run: the run.
        table: its rows.
        position: of the row, in the pool.
        against: a row to compare it with, in place of the one that it duplicates.
        whole: leave nothing of its texts out.
    """
    line = table.ledger.row(position, named=True)
    row_id = line["row_id"]
    row = _stored_row(run, row_id, position)
    shared = leaked_words(run, line) if line["duplicate_of"] else None
    chars = ALL_CHARS if whole else TURN_CHARS
    copies = table.ledger.filter(pl.col("duplicate_of") == row_id)["row_id"]
    return RowDetail(
        row_id=row_id,
        fate=line["fate"],
        stage=line["stage"],
        rank=line["rank"],
        score=line["score"],
        method=run.own_select["method"],
        sentence=fate_sentence(run, line),
        facts=_facts(run, line, row),
        turns=_turns(row["messages"], shared, chars) if row else (),
        rejected=_turns(row["rejected"], shared, chars) if row else (),
        rejected_title=_rejected_title(row) if row else "",
        counterpart=_counterpart(run, line, against, shared),
        targets=_targets(run, row_id),
        verdicts=stage_verdicts(run, row_id),
        evidence=table.evidence_of(position),
        compared=compared_fates(run, row_id),
        lineage=lineage_tree(run, row_id),
        offspring=_offspring(run, row_id),
        similar=_similar(run, table, row_id),
        copies=copies.head(MOST_KIN).to_list(),
        copy_count=len(copies),
    )


class StoredRow(TypedDict):
    """What the pool holds of a row."""

    messages: list[Message]
    tools: str | None
    rejected: list[Message] | None
    content_hash: str
    source: str
    origin: str | None
    meta: str
    method: str | None


def _stored_row(run: RunFolder, row_id: str, position: int) -> StoredRow | None:
    """Return a row of the pool, None where the store has lost it and the run folder has none of it."""
    rows = run.rows("pool")
    # A position is found faster than an id.
    line = None if rows is None else rows.slice(position, 1).collect()
    if line is None or line["row_id"].to_list() != [row_id]:
        source = run.table("selected") if rows is None else rows
        line = source.filter(pl.col("row_id") == row_id).collect()
    names = set(StoredRow.__annotations__) - set(line.columns)
    whole = line.with_columns(pl.lit(None).alias(name) for name in names)
    row: StoredRow | None = whole.row(0, named=True) if line.height else None  # type: ignore[assignment]
    return row


def _rejected_title(row: StoredRow) -> str:
    return rejected_answer(row["messages"], row["rejected"], row["meta"]).title


def _turns(messages: list[Message] | None, shared: str | None, chars: int) -> tuple[Turn, ...]:
    """Return the turns of a conversation; reasoning and calls are turns of their own."""
    parts: list[Message] = []
    for message in plain_messages(messages or ()):
        role = message["role"]
        if message.get("weight") == 0:
            role += ", not trained on"
        if thought := message.get("reasoning"):
            parts.append(Message(role=f"{role}, reasoning", content=thought))
        if message["content"] or not message.get("tool_calls"):
            parts.append(Message(role=role, content=message["content"]))
        for call in message.get("tool_calls") or ():
            parts.append(Message(role=f"{role}, call of {call['name']}", content=call["arguments"]))
    return marked_turns(parts, shared, chars)


def _facts(run: RunFolder, line: dict[str, object], row: StoredRow | None) -> list[tuple[str, str]]:
    """Return where a row is from, and what is written down about it."""
    source, row_id = str(line["source"]), str(line["row_id"])
    place, _, number = row_id.removeprefix(f"{source}/").rpartition(":")
    licences = sorted(licences_by_source(run.config).get(source, {UNKNOWN}))
    facts = [("source", source), ("licence", ", ".join(licences))]
    if row is None or not row["method"]:
        facts += [("file", place), ("record", number)] if place else []
    if line["origin"]:
        facts.append(("origin", str(line["origin"])))
    if row is None:
        return facts
    characters = sum(len(message["content"]) for message in row["messages"])
    facts.append(("length", f"{len(row['messages'])} turns, {characters:,} characters"))
    further = (
        ("made by", row["method"]),
        ("tools", row["tools"]),
        ("hash", row["content_hash"]),
    )
    facts += [(name, value) for name, value in further if value]
    meta = orjson.loads(row["meta"] or "{}")
    return facts + [(f"meta.{key}", _plain(value)) for key, value in meta.items()]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _counterpart(
    run: RunFolder, line: dict[str, object], against: str, shared: str | None
) -> Counterpart | None:
    """Return the row to show beside a row."""
    row_id, other = str(line["row_id"]), against or str(line["duplicate_of"] or "")
    if not other:
        return None
    if against:
        title = "Compared with"
    elif line["reason"] in REPLACED:
        title = "Replaced by"
    else:
        leaks = str(line["reason"]).startswith("leak")
        title = "Holds the prompt of the eval example" if leaks else "Duplicate of"
    if shared and not against:
        messages = next((m for role in EVAL_SETS if (m := run.messages(role, other))), None)
        return Counterpart(title, other, None, shared, _turns(messages, shared, SIDE_CHARS))
    sides = show_sides(row_id, other, read_rows(run, {row_id, other}), SIDE_CHARS)
    return Counterpart(title, other, sides)


def _targets(run: RunFolder, row_id: str) -> list[TargetLine]:
    """Return the target examples nearest to a row: by the selection's method, or by shared words."""
    near: list[tuple[str, float | None]] = [
        (one.row_id, one.similarity) for one in nearest_examples(run, row_id)
    ]
    for table, name, value in (
        ("evidence/select", "nearest_id", None),
        ("evidence/nearest", "target_id", "similarity"),
    ):
        if near or not run.has(table):
            continue
        lines = run.table(table).filter(pl.col("row_id") == row_id, pl.col(name).is_not_null())
        values = pl.lit(None, pl.Float64) if value is None else pl.col(value)
        near = lines.select(name, values.alias("value")).collect().rows()
    return [
        TargetLine(one, value, _turns(run.messages("target", one), None, TARGET_CHARS))
        for one, value in near
    ]


def _offspring(run: RunFolder, row_id: str) -> list[RelatedRow]:
    """Return some of the rows that were made from a row."""
    rows = run.rows("pool")
    if rows is None:
        return []
    own = rows.filter(pl.col("parents").list.contains(row_id)).select("row_id", "method")
    return [RelatedRow(*line) for line in own.head(MOST_KIN).collect().iter_rows()]


def _similar(run: RunFolder, table: RowTable, row_id: str) -> list[RelatedRow]:
    """Return the rows that stages measured as similar to a row, the most similar first."""
    similar = []
    for stage in table.evidence:
        name = f"evidence/{stage}-pairs"
        if not run.has(name):
            continue
        pairs = run.table(name)
        if not {"row_id", "other_id", "similarity"} <= set(pairs.collect_schema().names()):
            continue
        own = pairs.filter((pl.col("row_id") == row_id) | (pl.col("other_id") == row_id))
        other = pl.when(pl.col("row_id") == row_id).then("other_id").otherwise("row_id")
        nearest = own.select(other.alias("other"), "similarity").sort("similarity", descending=True)
        similar += [
            RelatedRow(other_id, f"{stage}, similarity {value:.4g}")
            for other_id, value in nearest.head(MOST_KIN).collect().iter_rows()
        ]
    return similar
