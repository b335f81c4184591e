"""The sections of rules and of personal data: rows that fail each rule, pieces of each kind."""

from collections.abc import Mapping

import polars as pl

from curate.core.numerals import number, percent
from curate.core.runrecord import StageRecord
from curate.core.section import Cell, DataTable, Lines, Paragraph, Quote, Section, paragraph

EXAMPLES = 3
ACTIONS = {
    "drop": "were dropped",
    "mask": "were replaced by masked ones",
    "flag": "are flagged; all stay",
}


def rules_section(record: StageRecord, action: str) -> Section:
    """Return how many rows fail each rule, and what gave some away."""
    lead = _lead(record, "fails a rule", f"fail a rule and {ACTIONS[action]}")
    counts = record.table("counts").select("rule", "failed", "first").collect()
    examples = rule_examples(record)
    lines: tuple[tuple[Cell, ...], ...] = tuple(
        (_words(rule), number(failed), number(first), _examples(examples.get(rule, [])))
        for rule, failed, first in counts.iter_rows()
    )
    columns = "Rule", "#Rows that fail it", "#For these it is the reason", "What gave some away"
    return _section(record, lead, DataTable(columns, lines))


def pii_section(record: StageRecord, action: str) -> Section:
    """Return how many rows hold each kind of personal data, and how many pieces of it."""
    lead = _lead(record, "holds what was looked for", f"hold some and {ACTIONS[action]}")
    counts = record.table("counts").select("kind", "rows", "found").collect()
    missing = "Addresses" if "name" in counts["kind"] else "Names of people and addresses"
    formless = f" {missing} have no form and are not looked for."
    lines: tuple[tuple[Cell, ...], ...] = tuple(
        (_words(kind), number(rows), number(pieces)) for kind, rows, pieces in counts.iter_rows()
    )
    table = DataTable(("Kind", "#Rows", "#Pieces"), lines)
    return _section(record, Paragraph((*lead.parts, formless)), table)


def _section(record: StageRecord, lead: Paragraph, table: DataTable) -> Section:
    blocks = (lead, table) if _hits(record)[1] else (lead,)
    return Section(record.anchor, record.label, blocks, record.name)


def _hits(record: StageRecord) -> tuple[int, int]:
    """Return the number of rows, and of those in which something was found."""
    facts = record.evidence().select(rows=pl.len(), hits=(pl.col("score") > 0).sum())
    rows, hits = facts.collect().row(0)
    return rows, hits


def _lead(record: StageRecord, none: str, some: str) -> Paragraph:
    rows, hits = _hits(record)
    if not hits:
        return paragraph(f"None of {number(rows)} rows {none}.")
    return paragraph(f"{number(hits)} of {number(rows)} rows ({percent(hits / rows)}) {some}.")


def rule_examples(record: StageRecord) -> Mapping[str, list[str]]:
    """Return for each rule what gave most of its rows away; nothing in runs that do not tell it."""
    if not record.has("details"):
        return {}
    counted = record.table("details").group_by("rule", "detail").len()
    ordered = counted.sort("len", "detail", descending=[True, False])
    first = ordered.group_by("rule", maintain_order=True).agg(pl.col("detail").head(EXAMPLES))
    return dict(first.collect().iter_rows())


def _examples(details: list[str]) -> Lines:
    return Lines(tuple(Quote(detail) for detail in details))


def _words(name: str) -> str:
    return name.replace("_", " ")
