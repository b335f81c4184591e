"""Watch sets: does tuning on the selection harm what the base can do, and more than random rows do?

Every model of the proof is measured on them, the base model before anything is tuned. The level of the
proof is divided among the sets (Bonferroni): for each of them curate.prove.harm judges the selection
against the base, and the rule of the proof says whether random draws do the same harm.

watch.json        a verdict for each set
watch.parquet     arm, seed, eval_id, source, a column for each metric, response_tokens
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.core.registry import ScoreRun
from curate.core.store import Artifact, Counts, Step, write_json
from curate.core.tables import read_table
from curate.prove.harm import Harm, judge_harm
from curate.prove.metrics import Metric, deciding_metric
from curate.prove.results import (
    arm_names,
    gains_of,
    gather_results,
    measured_name,
    scored_examples,
    weights_of,
)
from curate.prove.statistics import WITHIN, Comparison, compare
from curate.prove.training import Training
from curate.prove.watch_sets import FEWEST, WatchInputs

LOG = logging.getLogger("curate")
VERSION = 2
NAME, FILE, TABLE = "watch-verdicts", "watch.json", "watch.parquet"
NOT_MEASURED = "not measured"
AGAINST_RANDOM = {
    "better": "less than after random draws",
    "worse": "more than after random draws",
    WITHIN: "within the range of random draws",
}


def measure_base(trainings: Sequence[Training], sets: Sequence[Mapping[str, Any]]) -> None:
    """Measure the untuned model on watch sets, and warn of those on which nothing can be lost.

    Raises:
        UserError: a set cannot be measured.
    """
    for training in trainings:
        artifact = training.measure({"base": None})[measured_name("base")]
        results = gather_results({measured_name("base"): artifact}, [("base", 0, "base")])
        sources = _sources(training.eval_rows)
        for watched in sets:
            of_set = results.join(sources.filter(source=watched["source"]), on="eval_id")
            if of_set.height and (sentence := floor_sentence(watched, scored_examples(of_set))):
                LOG.warning("watch: %s: %s", watched["source"], sentence)


def floor_sentence(watched: Mapping[str, Any], base: pl.DataFrame) -> str | None:
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
    run: ScoreRun,
    trainings: Sequence[Training],
    watch: WatchInputs,
    done: Mapping[str, Artifact],
    params: Mapping[str, Any],
) -> Artifact:
    """Return the verdicts on watch sets, after measuring every model of a proof there.

    Args:
        run: the run.
        trainings: of the proof, one for each group of sets (see curate.prove.watch_sets).
        watch: the sets.
        done: fine-tunes by name, and what they reach on the eval set.
        params: `trained` (how many models each arm has), `control` (the one drawn most often), `alpha`,
            and what the verdicts may be quoted for (see curate.prove.spread.setting_of).
    """
    names = [name for _, _, name in arm_names(params["trained"])]
    models = {name: done.get(name) for name in names}
    inputs = {
        part_name(number, name): artifact
        for number, training in enumerate(trainings)
        for name, artifact in training.measure(models).items()
    }
    settings = {**params, "parts": len(trainings), "sets": [dict(line) for line in watch.sets]}
    return run.execute(Step(NAME, VERSION, write_watch, {**inputs, "watch": watch.rows}, settings))


def part_name(number: int, name: str) -> str:
    """Return the name of what a model reaches on a group of watch sets."""
    return f"{number}/{name}"


def write_watch(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write watch.json and watch.parquet."""
    parts = [
        gather_results(_part_of(inputs, number), arm_names(params["trained"]))
        for number in range(params["parts"])
    ]
    results = pl.concat(parts, how="diagonal").join(
        _sources(inputs["watch"]), on="eval_id", how="left", maintain_order="left"
    )
    results.write_parquet(out / TABLE)
    verdicts = [_judge_set(results.filter(source=s["source"]), s, params) for s in params["sets"]]
    write_json(out / FILE, verdicts)
    return {"sentences": [line["sentence"] for line in verdicts]}


def read_verdicts(inputs: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """Return the verdicts on watch sets as proof.json has them; none where none are watched."""
    if "watch" not in inputs:
        return []
    verdicts: list[dict[str, Any]] = orjson.loads(inputs["watch"].file(FILE).read_bytes())
    return verdicts


def watched_sentences(proof: Mapping[str, Any]) -> list[str]:
    """Return the verdicts on watch sets of a proof.json in words, of all methods judged together."""
    methods = proof.get("methods", [])
    by_method = [
        f"{m['method']}: {line['sentence']}" for m in methods for line in m.get("watch", [])
    ]
    return by_method or [line["sentence"] for line in proof.get("watch", [])]


def _part_of(inputs: Mapping[str, Artifact], number: int) -> dict[str, Artifact]:
    start = part_name(number, "")
    return {name.removeprefix(start): a for name, a in inputs.items() if name.startswith(start)}


def _sources(rows: Artifact) -> pl.DataFrame:
    return read_table(rows.file("rows.parquet")).select("source", eval_id=pl.col("row_id"))


def _judge_set(
    results: pl.DataFrame, watched: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the verdict on one set: against the base, and against the random draws."""
    metric, alpha = deciding_metric(watched["metric"]), params["alpha"] / len(params["sets"])
    scored = scored_examples(results)
    long = (results.height - scored.height) // results.select("arm", "seed").n_unique()
    base_results = scored.filter(arm="base")
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
    fault = _unmeasured(watched, examples, results.filter(arm="base").height, params["lora"])
    fault = fault or floor_sentence(watched, base_results)
    if fault is not None:
        sentence = f"{watched['source']}: {NOT_MEASURED}; {fault}"
        return {**line, "verdict": NOT_MEASURED, "sentence": sentence}
    weights = weights_of(scored, metric)
    gains = {arm: gains_of(scored, arm, metric) for arm in ("base", *params["trained"])}
    draws, base = gains[params["control"]], gains["base"][0]
    harm = judge_harm(
        gains["selected"], base, draws, margin=watched["margin"], alpha=alpha,
        counted=metric.counted, weights=weights,
    )  # fmt: skip
    step = 1 / examples if metric.counted else 0.0
    against = compare(gains["selected"], draws, alpha=alpha, step=step, weights=weights)
    return {
        **line,
        **asdict(harm),
        "base": base_results[metric.name].mean(),
        "random": {
            "difference": against.difference,
            "half": against.half,
            "verdict": against.verdict,
        },
        "rises": {arm: float((base - values).mean()) for arm, values in gains.items()},
        "sentence": _sentence(watched, metric, harm, against),
    }


def _sentence(watched: Mapping[str, Any], metric: Metric, harm: Harm, against: Comparison) -> str:
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


def _unmeasured(
    watched: Mapping[str, Any], examples: int, rows: int, lora: Mapping[str, Any]
) -> str | None:
    """Return why a set has too few examples for a verdict; None if it has enough."""
    if examples >= FEWEST:
        return None
    name = deciding_metric(watched["metric"]).name
    return (
        f"fewer than {FEWEST} of its {rows:,} examples have a response within {lora['max_length']:,} "
        f"tokens (prove.lora.max_length) on which {name} can be measured"
    )
