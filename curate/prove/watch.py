"""Watch sets: does tuning on the selection harm what the base can do, and more than random rows do?

Every model of the proof is measured on them. The proof's level is divided among the sets (Bonferroni):
for each of them curate.prove.harm judges the selection against the base, and the rule of the proof says
whether random draws do the same harm.

watch.json        a verdict for each set
watch.parquet     arm, seed, eval_id, source, a column for each metric, response_tokens
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.prove.harm import Harm, judge_harm
from curate.prove.metrics import METRICS, Metric
from curate.prove.results import arm_names, gains_of, gather_results, scored_examples
from curate.prove.statistics import WITHIN, Comparison, compare
from curate.prove.training import Training
from curate.store import Artifact, Counts, Step, write_json
from curate.tables import read_table

VERSION = 1
NAME, FILE, TABLE = "watch-verdicts", "watch.json", "watch.parquet"
NOT_MEASURED = "not measured"
# One example has no variance.
FEWEST = 2
AGAINST_RANDOM = {
    "better": "less than after random draws",
    "worse": "more than after random draws",
    WITHIN: "within the range of random draws",
}


@dataclass(frozen=True)
class Watch:
    """The watch sets of a proof.

    rows: of all sets, as they were given, which must not leak.
    rendered: the rows as the model reads them, where system turns are merged.
    sets: source, margin and metric of each.
    """

    rows: Artifact
    rendered: Artifact | None
    sets: Sequence[Mapping[str, Any]]


def watch_models(
    training: Training, watch: Watch, done: Mapping[str, Artifact], params: Mapping[str, Any]
) -> Artifact:
    """Return the verdicts on watch sets, after measuring every model of a proof there.

    Args:
        training: of the proof.
        watch: the sets.
        done: fine-tunes by name, and what they reach on the eval set.
        params: `trained` (how many models each arm has), `control` (the one drawn most often), `alpha`,
            and what the verdicts may be quoted for (see curate.prove.spread.setting_of).
    """
    names = [name for _, _, name in arm_names(params["trained"])]
    # Options, written answers and tasks are those of the eval set.
    on_watch = replace(
        training, eval_rows=watch.rendered or watch.rows, metric="loss", questions=None, tasks=()
    )
    measured = on_watch.measure({name: done.get(name) for name in names})
    settings = {**params, "sets": [dict(line) for line in watch.sets]}
    return training.run.execute(
        Step(NAME, VERSION, write_watch, {**measured, "watch": watch.rows}, settings)
    )


def write_watch(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write watch.json and watch.parquet."""
    sources = read_table(inputs["watch"].file("rows.parquet")).select(
        "source", eval_id=pl.col("row_id")
    )
    results = gather_results(inputs, arm_names(params["trained"]))
    results = results.join(sources, on="eval_id", how="left", maintain_order="left")
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


def _judge_set(
    results: pl.DataFrame, watched: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the verdict on one set: against the base, and against the random draws."""
    metric, alpha = METRICS[watched["metric"]], params["alpha"] / len(params["sets"])
    scored = scored_examples(results)
    examples, listed = (r.filter(arm="base").height for r in (scored, results))
    line = {
        **watched,
        "unit": metric.unit,
        "alpha": alpha,
        "examples": examples,
        "examples_too_long": listed - examples,
    }
    if examples < FEWEST:
        limit = params["lora"]["max_length"]
        return {**line, "verdict": NOT_MEASURED, "sentence": _unmeasured(watched, listed, limit)}
    gains = {arm: gains_of(scored, arm, metric) for arm in ("base", *params["trained"])}
    draws, base = gains[params["control"]], gains["base"][0]
    harm = judge_harm(
        gains["selected"], base, draws, margin=watched["margin"], alpha=alpha,
        counted=metric.counted,
    )  # fmt: skip
    step = 1 / examples if metric.counted else 0.0
    against = compare(gains["selected"], draws, alpha=alpha, step=step)
    return {
        **line,
        **asdict(harm),
        "base": scored.filter(arm="base")[metric.name].mean(),
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
        f"{AGAINST_RANDOM[against.verdict]} (±{against.half:.3f})"
    )


def _unmeasured(watched: Mapping[str, Any], examples: int, limit: int) -> str:
    return (
        f"{watched['source']}: {NOT_MEASURED}; fewer than {FEWEST} of its {examples:,} examples have a "
        f"response within {limit:,} tokens (prove.lora.max_length)"
    )
