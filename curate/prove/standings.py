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

from curate.core.store import Artifact, Counts, Step, write_json
from curate.prove.halving import survivors, trainings_in
from curate.prove.metrics import Metric, deciding_metric
from curate.prove.others import RANKING_PART
from curate.prove.results import gains_of, gather_results, scored_examples, tuned_name
from curate.prove.statistics import IntervalEstimate, estimate

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
    inputs: Mapping[str, Artifact], names: Sequence[str], trainings: int, metric: Metric
) -> Gains:
    """Return what candidates reach after so many trainings [trainings, examples that have a score]."""
    keys = [(name, n, tuned_name(name, n)) for name in names for n in range(trainings)]
    results = scored_examples(gather_results(inputs, keys))
    return {name: gains_of(results, name, metric) for name in names}


def race_step(
    inputs: Mapping[str, Artifact],
    selects: Mapping[str, Mapping[str, Any]],
    rounds: int,
    metric: str | Mapping[str, Any],
) -> Step:
    """Return the step that writes the standings.

    Args:
        inputs: what each fine-tune reaches, as in a proof, and the rankings as `ranking-NAME`.
        selects: what each candidate selects by, by name and in their order.
        rounds: how many.
        metric: the recipe's `prove.metric`.
    """
    candidates = [{"name": name, "select": dict(select)} for name, select in selects.items()]
    params = {"candidates": candidates, "rounds": rounds, "metric": metric}
    return Step("race", VERSION, write_race, inputs, params)


def write_race(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write race.parquet (a line for each candidate of each round) and summary.json."""
    metric = deciding_metric(params["metric"])
    names = [candidate["name"] for candidate in params["candidates"]]

    def measure(names: Sequence[str], trainings: int) -> Gains:
        return read_gains(inputs, names, trainings, metric)

    standings = run_rounds(names, params["rounds"], measure)
    _as_table(standings, metric).write_parquet(out / STANDINGS)
    winner = winner_of(standings)
    trainings = {result.name: result.trainings for result in standings}
    examples = measure([winner], 1)[winner].shape[1]
    summary = {
        "winner": winner,
        "metric": metric.name,
        "unit": metric.unit,
        "rounds": params["rounds"],
        "examples": examples,
        "candidates": [
            {
                **candidate,
                "rows": inputs[f"{RANKING_PART}{candidate['name']}"].counts["rows_out"],
                "trainings": trainings[candidate["name"]],
            }
            for candidate in params["candidates"]
        ],
    }
    write_json(out / SUMMARY, summary)
    second = next((s for s in standings if s.round == params["rounds"] and s.behind), None)
    sentence = _sentence(winner, second, metric, examples)
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
