"""What rules and forms found: how many rows fail each rule, and how much personal data they hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.report.duplicates import stages_of
from curate.runs.folder import RunFolder

KINDS = ("rules", "pii")
EXAMPLES = 3


@dataclass(frozen=True)
class HeuristicCount:
    """A rule with the rows that fail it, and those dropped for it; or a kind of personal data.

    `examples` are what gave rows away.
    """

    name: str
    rows: int
    other: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heuristic:
    """A stage of one of these kinds; `hits` counts the rows that it found something in."""

    stage: str
    kind: str
    action: str
    rows: int
    hits: int
    counts: tuple[HeuristicCount, ...]


def gather_heuristics(run: RunFolder) -> tuple[Heuristic, ...]:
    """Return the stages `rules` and `pii` in their order."""
    return tuple(_gather(run, name, params) for name, params in stages_of(run, KINDS).items())


def _examples(run: RunFolder, stage: str) -> dict[str, list[str]]:
    """Return for each rule what gave most of its rows away; nothing in runs that do not tell it."""
    name = f"evidence/{stage}-details"
    if not run.has(name):
        return {}
    counted = run.table(name).group_by("rule", "detail").len()
    first = counted.sort("len", "detail", descending=[True, False]).group_by(
        "rule", maintain_order=True
    )
    return dict(first.agg(pl.col("detail").head(EXAMPLES)).collect().iter_rows())


def _gather(run: RunFolder, name: str, params: Mapping[str, Any]) -> Heuristic:
    verdicts = run.table(f"evidence/{name}").select(rows=pl.len(), hits=(pl.col("score") > 0).sum())
    rows, hits = verdicts.collect().row(0)
    columns = (
        ["rule", "failed", "first"] if params["method"] == "rules" else ["kind", "rows", "found"]
    )
    counts = run.table(f"evidence/{name}-counts").select(columns).collect()
    examples = _examples(run, name) if params["method"] == "rules" else {}
    heuristic_counts = tuple(
        HeuristicCount(kind, count, other, tuple(examples.get(kind, ())))
        for kind, count, other in counts.iter_rows()
    )
    return Heuristic(name, params["method"], params["action"], rows, hits, heuristic_counts)
