"""What rules and forms found: how many rows fail each rule, and how much personal data they hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.folder import RunFolder
from curate.report.duplicates import stages_of

KINDS = ("rules", "pii")


@dataclass(frozen=True)
class Found:
    """A rule and the rows that fail it, for how many of which it is the reason; or pieces of a kind."""

    name: str
    rows: int
    other: int


@dataclass(frozen=True)
class Heuristic:
    """A stage of one of these kinds; `hits` counts the rows that it found something in."""

    stage: str
    kind: str
    action: str
    rows: int
    hits: int
    found: tuple[Found, ...]


def gather_heuristics(run: RunFolder) -> tuple[Heuristic, ...]:
    """Return the stages `rules` and `pii` in their order."""
    return tuple(_gather(run, name, params) for name, params in stages_of(run, KINDS).items())


def _gather(run: RunFolder, name: str, params: Mapping[str, Any]) -> Heuristic:
    verdicts = run.table(f"evidence/{name}").select(rows=pl.len(), hits=(pl.col("score") > 0).sum())
    rows, hits = verdicts.collect().row(0)
    columns = (
        ["rule", "failed", "first"] if params["kind"] == "rules" else ["kind", "rows", "found"]
    )
    counts = run.table(f"evidence/{name}-counts").select(columns).collect()
    found = tuple(Found(*line) for line in counts.iter_rows())
    return Heuristic(name, params["kind"], params["action"], rows, hits, found)
