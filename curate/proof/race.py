"""The race: brief proofs on one half of the eval set choose a method, the other half judges it.

In every round the candidates that are left are trained until each has twice as many trainings, and
those with the worse mean over trainings and examples drop out (curate.selectors.race says how many).
These are the very trainings that a proof of the candidate makes: the winner's are not made again.

May the winner be judged as if it had been the only one? Not for the other half of the examples alone.
That removes the luck that a set has with examples, but a set that is lucky as a whole, or was trained
with a lucky seed, is so on both halves: of eight random sets whose worth differs, the winner is called
better in 14 % of simulated races, whichever half judges (tests/proof/test_race.py). So the winner is
judged on the other half, and at the level divided by the number of candidates (Bonferroni), which bounds
the false calls whatever the race looked at.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from curate.core.calls import Table, cached
from curate.core.errors import UserError
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.store import Artifact
from curate.proof.contamination import read_hits, write_leaks
from curate.proof.halves import LEAST
from curate.proof.halving import most_finetunes
from curate.proof.metrics import Metric, deciding_metric
from curate.proof.proof import ProofInputs, make_training
from curate.proof.results import TrainedModels, tuned_names
from curate.proof.standings import Gains, read_gains, run_rounds, write_race
from curate.proof.trainable import count_labels, learned_part
from curate.proof.training import Training, tuned_model
from curate.proof.values import ProofValues, learns_pairs

LOG = logging.getLogger("curate")
VERSION = 1


@dataclass(frozen=True)
class RaceCandidate:
    """A candidate of a race: what it selects by, and its ranking."""

    params: Selector
    ranking: Table


def race(
    run: ScoreRun,
    candidates: Mapping[str, RaceCandidate],
    material: ProofInputs,
    settings: ProofValues,
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
    rankings = {name: one.ranking for name, one in candidates.items()}
    listed = run(arms, dict(sorted(rankings.items())))
    material = replace(material, files={}, rankings={}, watch=None, stages=())
    _check_leaks(run, listed, material, settings)
    model = tuned_model(run, settings["base"])
    _check_labels(count_labels(run, listed, run.rows, material.scored, model, settings), settings)
    training = make_training(run, model, material, settings)
    LOG.info(
        "race: %d candidates, %d rounds, up to %d fine-tunes, each measured on the %d examples of one "
        "half of the eval set",
        len(candidates),
        rounds,
        most_finetunes(len(candidates), rounds),
        material.scored.height,
    )
    trained = _CandidateTrainings(training, rankings, deciding_metric(settings["metric"]))
    run_rounds(list(candidates), rounds, trained.measure)
    selects = [one.params.model_dump(mode="json") for one in candidates.values()]
    metric = settings["metric"]
    result = run(write_race, trained.models.results, rankings, selects, rounds, metric)
    LOG.info("race: %s", result.counts["sentence"])
    return result


class _CandidateTrainings:
    """The fine-tunes of a race so far, and what they reach."""

    def __init__(self, training: Training, rankings: Mapping[str, Table], metric: Metric) -> None:
        self.training, self.metric = training, metric
        self.models = TrainedModels()
        self.rows = {name: training.pool_rows(_selected(r)) for name, r in rankings.items()}

    def measure(self, names: Sequence[str], trainings: int) -> Gains:
        """Train candidates up to so many times, and return their gains."""
        calls = {
            tuned: self.training.call(self.rows[name], n, drawn=False)
            for name, n, tuned in tuned_names(dict.fromkeys(names, trainings))
            if tuned not in self.models.tuned
        }
        self.models |= self.training.tune(calls)
        return read_gains(self.models.results, names, trainings, self.metric)


def _selected(ranking: Table) -> pl.Series:
    """Return the selected rows as a proof trains on them."""
    return ranking.read().filter("selected")["row_id"]


@cached(version=VERSION, name="race-arms")
def arms(rankings: Mapping[str, Table]) -> pl.DataFrame:
    """Return arm (a candidate), seed, row_id of what each ranking selects."""
    return pl.concat(
        _selected(ranking).to_frame().select(arm=pl.lit(name), seed=pl.lit(0), row_id="row_id")
        for name, ranking in rankings.items()
    )


def _check_leaks(
    run: ScoreRun, listed: Table, material: ProofInputs, settings: ProofValues
) -> None:
    sources, pairs = material.sources(run), learns_pairs(settings)
    call = write_leaks.call(sources, listed, material.eval_rows, pairs=pairs)
    leaks = run.result(call.named("race-leaks"))
    if not leaks.counts["hits"] or settings["allow_leaks"]:
        return
    first = read_hits(leaks).row(0, named=True)
    rows = sum(leaks.counts["leaking_rows"].values())
    raise UserError(
        f"select.method: race cannot choose, since {rows:,} rows or target examples hold prompts of "
        f"target.eval ({first['row_id']} that of {first['eval_id']}), and a method that selects these "
        "would win by memory: add the stage {method: leaks}, choose other target examples, or set "
        "prove.allow_leaks: true"
    )


def _check_labels(labels: Table, settings: ProofValues) -> None:
    """Fail where a candidate selects nothing to learn from, or too few examples have a score."""
    max_length, learned = settings["lora"]["max_length"], learned_part(settings)
    limit = f"{learned} within prove.lora.max_length ({max_length:,} tokens)"
    for line in labels.read().to_dicts():
        left = line["rows"] - line["unlabelled"]
        if line["name"] == "eval" and left < LEAST:
            raise UserError(
                f"target.eval: of the half that select.method: race chooses by, {left} of "
                f"{line['rows']} examples have {limit}; it needs {LEAST}: raise that limit "
                "or give more examples"
            )
        if not left:
            raise UserError(
                f"select.of: none of the {line['rows']:,} rows that {line['name']} selects has "
                f"{limit}, so nothing would be trained; raise that limit"
            )
