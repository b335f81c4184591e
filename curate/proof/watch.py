"""Watch sets: does tuning on the selection harm what the base can do, and more than random rows do?

Every model of the proof is measured on them, the base model before anything is tuned. The level of the
proof is divided among the sets (Bonferroni): for each of them curate.proof.harm judges the selection
against the base, and the rule of the proof says whether random draws do the same harm.

watch.json        a verdict for each set
watch.parquet     arm, seed, eval_id, source, a column for each metric, response_tokens
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.core.calls import Table, cached_files
from curate.core.jsontypes import JSON
from curate.core.keyed import KeyedRecord
from curate.core.store import Artifact, Counts, write_json
from curate.proof.design import ProofDesign
from curate.proof.harm import Harm, judge_harm
from curate.proof.metrics import Metric, deciding_metric
from curate.proof.rehearsed_arms import judge_rehearsed, read_rehearsed, rehearsed_arms
from curate.proof.results import (
    BASE,
    TrainedModels,
    arm_names,
    gains_of,
    gather_results,
    scored_examples,
    weights_of,
)
from curate.proof.statistics import WITHIN, Comparison, compare
from curate.proof.training import Training
from curate.proof.values import WatchSetValues
from curate.proof.watch_sets import FEWEST, WatchInputs

LOG = logging.getLogger("curate")
VERSION = 2
NAME, FILE, TABLE = "watch-verdicts", "watch.json", "watch.parquet"
NOT_MEASURED = "not measured"
AGAINST_RANDOM = {
    "better": "less than after random draws",
    "worse": "more than after random draws",
    WITHIN: "within the range of random draws",
}


@dataclass(frozen=True)
class WatchDesign(KeyedRecord):
    """What verdicts on watch sets rest on.

    trained: how many models each arm has. control: the one that is drawn most often. alpha: of the
    proof, which the sets, and the arms that are judged on each, divide among them. parts: groups of
    sets that are measured together. sets: source, margin and metric of each. max_length: tokens of
    an example that are read.
    """

    trained: Mapping[str, int]
    control: str
    alpha: float
    parts: int
    sets: Sequence[WatchSetValues]
    max_length: int


def measure_base(trainings: Sequence[Training], sets: Sequence[WatchSetValues]) -> None:
    """Measure the untuned model on watch sets, and warn of those on which nothing can be lost.

    Raises:
        UserError: a set cannot be measured.
    """
    for training in trainings:
        results = gather_results(training.measure_base().results, arm_names({}))
        sources = _sources(training.eval_rows)
        for watched in sets:
            of_set = results.join(sources.filter(source=watched["source"]), on="eval_id")
            if of_set.height and (sentence := floor_sentence(watched, scored_examples(of_set))):
                LOG.warning("watch: %s: %s", watched["source"], sentence)


def floor_sentence(watched: WatchSetValues, base: pl.DataFrame) -> str | None:
    """Return what is to be told where a share of the base is so low that it cannot fall by the margin.

    Args:
        watched: metric and margin of the set.
        base: what the base model reaches on each example.
    """
    metric = deciding_metric(watched["metric"])
    values = base[metric.name].drop_nulls().to_numpy()
    if not metric.counted or not values.size or values.mean() > watched["margin"]:
        return None
    return (
        f"the base model's share of {metric.label} is {values.mean():.3f}, which cannot fall by more "
        f"than the margin of {watched['margin']:g}: nothing can be lost here"
    )


def watch_models(
    trainings: Sequence[Training],
    watch: WatchInputs,
    models: TrainedModels,
    design: ProofDesign,
    setting: Mapping[str, JSON],
) -> Artifact:
    """Return the verdicts on watch sets, after measuring every model of a proof there.

    Args:
        trainings: of the proof, one for each group of sets (see curate.proof.watch_sets).
        watch: the sets.
        models: of the proof.
        design: of the proof.
        setting: what the verdicts may be quoted for (see curate.proof.spread.setting_of).
    """
    tuned = {name: models.tuned.get(name) for _, _, name in arm_names(design.trained)}
    results = {
        part_name(number, name): table
        for number, training in enumerate(trainings)
        for name, table in training.measure(tuned).items()
    }
    verdicts = WatchDesign(
        trained=design.trained,
        control=design.control,
        alpha=design.alpha,
        parts=len(trainings),
        sets=list(watch.sets),
        max_length=int(design.prove["lora"]["max_length"]),
    )
    return trainings[0].run(write_watch, results, watch.rows, verdicts, setting)


def part_name(number: int, name: str) -> str:
    """Return the name of what a model reaches on a group of watch sets."""
    return f"{number}/{name}"


@cached_files(version=VERSION, name=NAME)
def write_watch(
    out: Path,
    results: Mapping[str, Table],
    watch: Table,
    design: WatchDesign,
    setting: Mapping[str, JSON],
) -> Counts:
    """Write watch.json and watch.parquet.

    Args:
        out: the folder.
        results: of every model on every group of sets, by part_name.
        watch: the rows of all sets.
        design: what the verdicts rest on.
        setting: what they may be quoted for.
    """
    names = arm_names(design.trained)
    parts = [
        gather_results(results, [(arm, n, part_name(part, name)) for arm, n, name in names])
        for part in range(design.parts)
    ]
    gathered = pl.concat(parts, how="diagonal").join(
        _sources(watch), on="eval_id", how="left", maintain_order="left"
    )
    gathered.write_parquet(out / TABLE)
    verdicts = [_judge_set(gathered.filter(source=s["source"]), s, design) for s in design.sets]
    write_json(out / FILE, verdicts)
    return {"sentences": [sentence for line in verdicts for sentence in _sentences(line)]}


def read_verdicts(watch: Artifact | None) -> list[dict[str, Any]]:
    """Return the verdicts on watch sets as proof.json has them; none where none are watched."""
    if watch is None:
        return []
    verdicts: list[dict[str, Any]] = orjson.loads(watch.file(FILE).read_bytes())
    return verdicts


def watched_sentences(proof: Mapping[str, Any]) -> list[str]:
    """Return the verdicts on watch sets of a proof.json in words, of all methods judged together."""
    methods = proof.get("methods", [])
    by_method = [
        f"{m['method']}: {sentence}"
        for m in methods
        for line in m.get("watch", [])
        for sentence in _sentences(line)
    ]
    return by_method or [s for line in proof.get("watch", []) for s in _sentences(line)]


def _sentences(line: Mapping[str, JSON]) -> list[str]:
    source = str(line["source"])
    return [str(line["sentence"]), *(one.sentence(source) for one in read_rehearsed(line))]


def _sources(rows: Table) -> pl.DataFrame:
    return rows.read(["source", "row_id"]).select("source", eval_id="row_id")


def _judge_set(
    results: pl.DataFrame, watched: WatchSetValues, design: WatchDesign
) -> dict[str, Any]:
    """Return the verdict on one set: against the base, and against the random draws."""
    metric, judged = (
        deciding_metric(watched["metric"]),
        1 + len(rehearsed_arms(list(design.trained))),
    )
    alpha = design.alpha / (len(design.sets) * judged)
    scored = scored_examples(results)
    long = (results.height - scored.height) // results.select("arm", "seed").n_unique()
    base_results = scored.filter(arm=BASE)
    examples = base_results[metric.name].count()
    line = {
        **watched,
        "metric": metric.name,
        "setting": watched["metric"],
        "unit": metric.unit,
        "alpha": alpha,
        "examples": examples,
        "examples_too_long": long,
    }
    fault = _unmeasured(watched, examples, results.filter(arm=BASE).height, design.max_length)
    fault = fault or floor_sentence(watched, base_results)
    if fault is not None:
        sentence = f"{watched['source']}: {NOT_MEASURED}; {fault}"
        return {**line, "verdict": NOT_MEASURED, "sentence": sentence}
    weights = weights_of(scored, metric)
    gains = {arm: gains_of(scored, arm, metric) for arm in (BASE, *design.trained)}
    draws, base = gains[design.control], gains[BASE][0]
    harm = judge_harm(
        gains["selected"], base, draws, margin=watched["margin"], alpha=alpha,
        counted=metric.counted, weights=weights,
    )  # fmt: skip
    step = 1 / examples if metric.counted else 0.0
    against = compare(gains["selected"], draws, alpha=alpha, step=step, weights=weights)
    rehearsed = judge_rehearsed(gains, base, draws, metric, watched["margin"], alpha, weights)
    return {
        **line,
        **asdict(harm),
        **({"rehearsed": [asdict(one) for one in rehearsed]} if rehearsed else {}),
        "base": base_results[metric.name].mean(),
        "random": {
            "difference": against.difference,
            "half": against.half,
            "verdict": against.verdict,
        },
        "rises": {arm: float((base - values).mean()) for arm, values in gains.items()},
        "sentence": _sentence(watched, metric, harm, against),
    }


def _sentence(watched: WatchSetValues, metric: Metric, harm: Harm, against: Comparison) -> str:
    change = f"{metric.label} {'higher' if metric.lower_is_better else 'lower'} by"
    return (
        f"{watched['source']}: {harm.verdict}; {change} {harm.rise:+.3f} "
        f"[{harm.low:+.3f}, {harm.high:+.3f}] than the base, margin {watched['margin']:g}; "
        f"{_against_random(against)}"
    )


def _against_random(against: Comparison) -> str:
    if not against.half:
        return "random draws all do the same, so that no spread could be estimated"
    return f"{AGAINST_RANDOM[against.verdict]} (±{against.half:.3f})"


def _unmeasured(watched: WatchSetValues, examples: int, rows: int, max_length: int) -> str | None:
    """Return why a set has too few examples for a verdict; None if it has enough."""
    if examples >= FEWEST:
        return None
    name = deciding_metric(watched["metric"]).name
    return (
        f"fewer than {FEWEST} of its {rows:,} examples have a response within {max_length:,} "
        f"tokens (prove.lora.max_length) on which {name} can be measured"
    )
