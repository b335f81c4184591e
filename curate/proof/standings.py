"""The standings of a race: who is left after each round, and by how much the others were behind.

race.parquet     round, name, trainings, mean, behind (the best of the round) with low and high, kept
summary.json     winner, metric, unit, rounds, examples, candidates with what they select by
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, cached_files
from curate.core.store import Counts, write_json
from curate.proof.halving import survivors, trainings_in
from curate.proof.metrics import Metric, deciding_metric
from curate.proof.results import gains_of, gather_results, scored_examples, tuned_names
from curate.proof.statistics import IntervalEstimate, estimate
from curate.proof.values import MetricSetting

VERSION = 1
STANDINGS, SUMMARY = "race.parquet", "summary.json"

Gains = Mapping[str, NDArray[np.float64]]
Measure = Callable[[Sequence[str], int], Gains]


@dataclass(frozen=True)
class RoundResult:
    """A candidate in a round of the race: its mean gain, and its gap to the best (None for the best)."""

    round: int
    name: str
    trainings: int
    gain: float
    behind: IntervalEstimate | None
    kept: bool


def run_rounds(names: Sequence[str], rounds: int, measure: Measure) -> list[RoundResult]:
    """Return the standings of all rounds, each in the order of its gains; the first of the last has won.

    Args:
        names: of the candidates; of equal ones the earlier counts as better.
        rounds: how many.
        measure: returns the gains of candidates after so many trainings [trainings, examples].
    """
    racing = list(names)
    standings: list[RoundResult] = []
    for number in range(1, rounds + 1):
        gains = measure(racing, trainings_in(number))
        means = {name: round(float(gains[name].mean()), 12) for name in racing}
        order = sorted(racing, key=lambda name: -means[name])
        kept = order[: survivors(len(names), number, rounds)]
        for name in order:
            behind = None if name == order[0] else estimate(gains[order[0]], gains[name])
            standings.append(
                RoundResult(number, name, len(gains[name]), means[name], behind, name in kept)
            )
        racing = [name for name in racing if name in kept]
    return standings


def winner_of(standings: Sequence[RoundResult]) -> str:
    """Return the name of the candidate that the last round kept."""
    return next(result.name for result in reversed(standings) if result.kept)


def read_gains(
    results: Mapping[str, Table], names: Sequence[str], trainings: int, metric: Metric
) -> Gains:
    """Return what candidates reach after so many trainings [trainings, examples that have a score]."""
    keys = tuned_names(dict.fromkeys(names, trainings))
    scored = scored_examples(gather_results(results, keys))
    return {name: gains_of(scored, name, metric) for name in names}


@cached_files(version=VERSION, name="race")
def write_race(
    out: Path,
    results: Mapping[str, Table],
    rankings: Mapping[str, Table],
    selects: Sequence[Mapping[str, Any]],
    rounds: int,
    metric: MetricSetting,
) -> Counts:
    """Write race.parquet (a line for each candidate of each round) and summary.json.

    Args:
        out: the folder.
        results: what each fine-tune reaches, as in a proof.
        rankings: of the candidates, by name and in their order.
        selects: what each of them selects by.
        rounds: how many.
        metric: the recipe's `prove.metric`.
    """
    deciding = deciding_metric(metric)

    def measure(names: Sequence[str], trainings: int) -> Gains:
        return read_gains(results, names, trainings, deciding)

    standings = run_rounds(list(rankings), rounds, measure)
    _as_table(standings, deciding).write_parquet(out / STANDINGS)
    winner = winner_of(standings)
    trainings = {result.name: result.trainings for result in standings}
    examples = measure([winner], 1)[winner].shape[1]
    summary = {
        "winner": winner,
        "metric": deciding.name,
        "unit": deciding.unit,
        "rounds": rounds,
        "examples": examples,
        "candidates": [
            {
                "name": name,
                "select": select,
                "rows": ranking.height,
                "trainings": trainings[name],
            }
            for (name, ranking), select in zip(rankings.items(), selects, strict=True)
        ],
    }
    write_json(out / SUMMARY, summary)
    second = next((s for s in standings if s.round == rounds and s.behind), None)
    sentence = _sentence(winner, second, deciding, examples)
    return {"winner": winner, "sentence": sentence, "fine_tunes": sum(trainings.values())}


def _sentence(winner: str, second: RoundResult | None, metric: Metric, examples: int) -> str:
    if second is None or second.behind is None:
        return f"{winner} won"
    lead = second.behind
    return (
        f"{winner} won, ahead of {second.name} by {lead.difference:.3f} "
        f"[{lead.low:+.3f}, {lead.high:+.3f}] {metric.unit} on the {examples} examples that chose it"
    )


def _as_table(standings: Sequence[RoundResult], metric: Metric) -> pl.DataFrame:
    nothing = dict.fromkeys(("difference", "low", "high"))
    lines = [
        {
            "round": s.round,
            "name": s.name,
            "trainings": s.trainings,
            "mean": float(metric.gain(np.array([s.gain]))[0]),
            "behind": nothing if s.behind is None else asdict(s.behind),
            "kept": s.kept,
        }
        for s in standings
    ]
    estimates = pl.Struct(dict.fromkeys(nothing, pl.Float64))
    table = pl.DataFrame(lines, schema_overrides={"behind": estimates})
    fields = pl.col("behind").struct
    return table.select(
        "round", "name", "trainings", "mean",
        behind=fields.field("difference"), low=fields.field("low"), high=fields.field("high"),
        kept="kept",
    )  # fmt: skip
