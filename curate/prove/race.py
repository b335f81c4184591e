"""The race: brief proofs on one half of the eval set choose a method, the other half judges it.

In every round the candidates that are left are trained until each has twice as many trainings, and
those with the worse mean over trainings and examples drop out (curate.select.race says how many). These
are the very trainings that a proof of the candidate makes, so that the winner's are not made again.

May the winner be judged as if it had been the only one? Not for the other half of the examples alone.
That removes the luck that a set has with examples, but a set that is lucky as a whole, or was trained
with a lucky seed, is so on both halves: of eight random sets whose worth differs, the winner is called
better in 14 % of simulated races, whichever half judges (tests/prove/test_race.py). So the winner is
judged on the other half, and at the level divided by the number of candidates (Bonferroni), which bounds
the false calls whatever the race looked at.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from curate.core.errors import UserError
from curate.core.registry import ScoreRun, SelectParams
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table
from curate.prove.contamination import write_leaks
from curate.prove.halves import LEAST
from curate.prove.halving import most_finetunes
from curate.prove.metrics import Metric, deciding_metric
from curate.prove.others import RANKING_PART
from curate.prove.proof import THEN, ProofInputs, make_training, row_inputs
from curate.prove.results import tuned_name
from curate.prove.standings import Gains, race_step, read_gains, run_rounds
from curate.prove.trainable import trainable_step
from curate.prove.training import Rows, Training, tuned_model

LOG = logging.getLogger("curate")
VERSION = 1


@dataclass(frozen=True)
class RaceCandidate:
    """A candidate of a race: what it selects by, and its ranking.parquet."""

    params: SelectParams
    ranking: Artifact


def race(
    run: ScoreRun,
    candidates: Mapping[str, RaceCandidate],
    material: ProofInputs,
    settings: Mapping[str, Any],
    rounds: int,
) -> Artifact:
    """Return the artifact with the standings; its count `winner` names the candidate that won.

    Args:
        run: the run.
        candidates: by name.
        material: the half of the eval set that chooses, and the second phase's rows.
        settings: the recipe's `prove`.
        rounds: how many.

    Raises:
        UserError: the half leaks into what is trained on, or too little can be trained or scored.
    """
    rankings = {f"{RANKING_PART}{name}": one.ranking for name, one in candidates.items()}
    arms = run.execute(Step("race-arms", VERSION, write_arms, rankings))
    then_rows = {name: rows for name, rows in material.arms.items() if name == THEN}
    material = replace(material, arms=then_rows, watch=None, stages=())
    _check_leaks(run, arms, material, settings)
    model = tuned_model(run, settings["base"])
    limit = settings["lora"]["max_length"]
    _check_labels(
        run.execute(
            trainable_step(run.rows, arms, material.scored, limit, model.identity, model.runtime)
        ),
        limit,
    )
    training = make_training(run, model, material, settings)
    metric = deciding_metric(settings["metric"])
    LOG.info(
        "race: %d candidates, %d rounds, up to %d fine-tunes, each measured on the %d examples of one "
        "half of the eval set",
        len(candidates),
        rounds,
        most_finetunes(len(candidates), rounds),
        material.scored.counts["rows_out"],
    )
    trained = _CandidateTrainings(training, candidates, metric)
    run_rounds(list(candidates), rounds, trained.measure)
    selects = {name: one.params.model_dump(mode="json") for name, one in candidates.items()}
    result = run.execute(
        race_step({**trained.artifacts, **rankings}, selects, rounds, settings["metric"])
    )
    LOG.info("race: %s", result.counts["sentence"])
    return result


class _CandidateTrainings:
    """The fine-tunes of a race so far, and what they reach, by the names of a proof's inputs."""

    def __init__(
        self, training: Training, candidates: Mapping[str, RaceCandidate], metric: Metric
    ) -> None:
        self.training, self.metric = training, metric
        self.artifacts: dict[str, Artifact] = {}
        tables = [training.run.rows.file("rows.parquet")]
        self.rows = {name: Rows(_selected(one.ranking), tables) for name, one in candidates.items()}

    def measure(self, names: Sequence[str], trainings: int) -> Gains:
        """Train candidates up to so many times, and return their gains."""
        steps = {
            tuned_name(name, n): self.training.step(self.rows[name], n, drawn=False)
            for name in names
            for n in range(trainings)
            if tuned_name(name, n) not in self.artifacts
        }
        self.artifacts |= self.training.tune(steps)
        return read_gains(self.artifacts, names, trainings, self.metric)


def _selected(ranking: Artifact) -> list[str]:
    """Return the selected rows as a proof trains on them."""
    rows = read_table(ranking.file("ranking.parquet")).filter("selected")["row_id"]
    return [str(row_id) for row_id in rows]


def write_arms(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write arms.parquet: arm (a candidate), seed, row_id."""
    parts = [
        pl.DataFrame({"row_id": _selected(ranking)}).select(
            arm=pl.lit(name.removeprefix(RANKING_PART)), seed=pl.lit(0), row_id="row_id"
        )
        for name, ranking in sorted(inputs.items())
    ]
    arms = pl.concat(parts)
    arms.write_parquet(out / "arms.parquet")
    return {"rows_out": arms.height}


def _check_leaks(
    run: ScoreRun, arms: Artifact, material: ProofInputs, settings: Mapping[str, Any]
) -> None:
    inputs = {**row_inputs(run, material), "arms": arms, "eval": material.eval_rows}
    leaks = run.execute(Step("race-leaks", VERSION, write_leaks, inputs))
    if not leaks.counts["hits"] or settings["allow_leaks"]:
        return
    first = read_table(leaks.file("hits.parquet")).row(0, named=True)
    rows = sum(leaks.counts["leaking_rows"].values())
    raise UserError(
        f"select.method: race cannot choose, since {rows:,} rows or target examples hold prompts of "
        f"target.eval ({first['row_id']} that of {first['eval_id']}), and a method that selects these "
        "would win by memory: add the stage {kind: leaks}, choose other target examples, or set "
        "prove.allow_leaks: true"
    )


def _check_labels(labels: Artifact, max_length: int) -> None:
    """Fail where a candidate selects nothing to learn from, or too few examples have a score."""
    limit = f"within prove.lora.max_length ({max_length:,} tokens)"
    for line in read_table(labels.file("labels.parquet")).to_dicts():
        left = line["rows"] - line["unlabelled"]
        if line["name"] == "eval" and left < LEAST:
            raise UserError(
                f"target.eval: of the half that select.method: race chooses by, {left} of "
                f"{line['rows']} examples have a response {limit}; it needs {LEAST}: raise that limit "
                "or give more examples"
            )
        if not left:
            raise UserError(
                f"select.of: none of the {line['rows']:,} rows that {line['name']} selects has a "
                f"response {limit}, so nothing would be trained; raise that limit"
            )
