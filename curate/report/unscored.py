"""Rows that a method could not score: how many, and for which reason."""

from dataclasses import dataclass

import polars as pl

from curate.core.reasons import Reason
from curate.runs.folder import RunFolder
from curate.runs.plan import stored_selections
from curate.selectors.compared import numbered
from curate.selectors.scored import count_unscored, why_unscored

UNSCORED = pl.col("reason") == Reason.UNSCORED.value


@dataclass(frozen=True)
class UnscoredRows:
    """A method of selection and its rows without a score, by reason, the most frequent one first."""

    name: str
    label: str
    rows: int
    reasons: tuple[tuple[str, int], ...]


def gather_unscored(run: RunFolder) -> tuple[UnscoredRows, ...]:
    """Return the methods, the run's own first, that could not score some rows."""
    lines = []
    for held in (
        stored_selections(run) if any(_lacking(run, place) for place in _places(run)) else ()
    ):
        ids = run.table(held.ranking).filter(UNSCORED).select("row_id")
        scores = run.table(held.scores).join(ids, on="row_id", how="semi").collect()
        if scores.height:
            reasons = count_unscored(why_unscored(scores, held.params))
            lines.append(UnscoredRows(held.name, held.label, scores.height, tuple(reasons.items())))
    return tuple(lines)


def _places(run: RunFolder) -> list[str]:
    """Return the tables of all rankings, of which a run in an older form may lack some."""
    config = run.manifest["config"]
    methods = [params["method"] for params in (config["select"], *config.get("compare", ()))]
    places = ["evidence/select", *(f"evidence/compare/{n}" for n in numbered(methods)[1:])]
    return [place for place in places if run.has(place)]


def _lacking(run: RunFolder, place: str) -> bool:
    ranking = run.table(place)
    # Runs in an older form have no reasons there.
    return "reason" in ranking.collect_schema() and bool(
        ranking.select(UNSCORED.any()).collect().item()
    )
