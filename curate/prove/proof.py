"""The proof: is a model tuned on the selection better than one tuned on fair random controls?"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.clean.leaks import count_rows, find_leaks
from curate.prove.arms import ARMS, CONTROLS, arms_step
from curate.prove.finetune import finetune_step, read_messages
from curate.prove.measure import measure_step
from curate.prove.statistics import Difference, compare, judge_all
from curate.prove.trainable import label_faults, label_sentences, trainable_step
from curate.registry import ScoreRun
from curate.store import Artifact, Counts, Step, digest_of, write_json
from curate.tables import read_table, scan_table

LOG = logging.getLogger("curate")
VERSION = 6
SHORT_RESPONSE = 64
SHOWN_LEAKS = 20
REFUSED, NOT_MEASURED = "refused", "not measured"
UNITS = {"loss": "nats per response token", "exact_match": "share of eval examples"}


def prove(
    run: ScoreRun,
    selection: Artifact,
    eval_rows: Artifact,
    prove: Mapping[str, Any],
    rendered: Artifact | None = None,
) -> Artifact:
    """Return the artifact with proof.json, and effects.parquet unless the proof was refused.

    Args:
        run: with the pool, the target examples and the base model.
        selection: what is to be proved.
        eval_rows: the eval set as it was given, which must not leak.
        prove: the recipe's settings.
        rendered: the same as the model reads it, where system turns are merged.
    """
    scored = rendered or eval_rows
    arms = run.execute(arms_step(selection, prove["seeds"], run.seed, prove["lora"]["max_length"]))
    leak_inputs = {"rows": run.rows, "arms": arms, "eval": eval_rows}
    if run.target:
        leak_inputs["target"] = run.target
    leaks = run.execute(Step("proof-leaks", VERSION, write_leaks, leak_inputs))
    params: dict[str, Any] = {"prove": dict(prove), "seed": run.seed}
    if leaks.counts["hits"] and not prove["allow_leaks"]:
        return run.execute(Step("proof", VERSION, write_refusal, {"leaks": leaks}, params))
    limit = prove["lora"]["max_length"]
    labels = run.execute(
        trainable_step(run.rows, arms, scored, limit, run.model_identity(), run.model_hints())
    )
    table = read_table(labels.file("labels.parquet"))
    for sentence, many in label_sentences(table, limit):
        LOG.log(logging.WARNING if many else logging.INFO, "proof: %s", sentence)
    if label_faults(table, limit):
        inputs = {"leaks": leaks, "labels": labels}
        return run.execute(Step("proof", VERSION, write_unmeasured, inputs, params))
    drawn = read_table(arms.file("arms.parquet"))
    steps = _finetune_steps(run, drawn, prove)
    LOG.info(
        "proof: %d fine-tunes of %d epochs on about %s tokens, each measured on %d eval examples",
        len(steps),
        prove["lora"]["epochs"],
        f"{drawn.filter(arm='selected', seed=0)['tokens'].sum():,}",
        eval_rows.counts["rows_out"],
    )
    tuned = dict(zip(steps, run.execute_all(list(steps.values())), strict=True))
    measured = _measure(run, tuned, scored, limit)
    inputs = {"leaks": leaks, "labels": labels, "arms": arms, **tuned, **measured}
    return run.execute(Step("proof", VERSION, write_proof, inputs, params))


def _finetune_steps(
    run: ScoreRun, drawn: pl.DataFrame, prove: Mapping[str, Any]
) -> dict[str, Step]:
    """Return the fine-tune of every arm and seed."""
    rows = run.rows.file("rows.parquet")

    def step(ids: Sequence[str], number: int) -> Step:
        return finetune_step(
            ids,
            digest_of(read_messages(rows, ids)),
            lora=prove["lora"],
            seed=[run.seed, number],
            identity=run.model_identity(),
            hints={**run.model_hints(), "rows": str(rows)},
        )

    steps = {}
    for number in range(prove["seeds"]):
        for arm in ARMS:
            mine = drawn.filter((pl.col("arm") == arm) & (pl.col("seed") == number))
            steps[_tuned_name(arm, number)] = step(mine["row_id"].to_list(), number)
    return steps


def _measure(
    run: ScoreRun, tuned: Mapping[str, Artifact], eval_rows: Artifact, max_length: int
) -> dict[str, Artifact]:
    """Return what the untuned base model and every fine-tune reach on the eval set."""
    models: dict[str, Artifact | None] = {"base": None, **tuned}
    steps = [
        measure_step(
            eval_rows,
            model,
            max_length=max_length,
            identity=run.model_identity(),
            hints=run.model_hints(),
        )
        for model in models.values()
    ]
    results = run.execute_all(steps)
    return {_measured_name(name): made for name, made in zip(models, results, strict=True)}


def _measured_name(name: str) -> str:
    return f"{name}/measured"


def _tuned_name(arm: str, number: int) -> str:
    return f"{arm}/{number}"


def write_leaks(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write hits.parquet: leaks of the eval set into the target examples and the arms."""
    arms = scan_table(inputs["arms"].file("arms.parquet")).select("row_id").unique()
    rows = scan_table(inputs["rows"].file("rows.parquet"))
    suspects = [("arm", rows.join(arms, on="row_id", how="semi", maintain_order="left"))]
    if "target" in inputs:
        suspects.append(("target", scan_table(inputs["target"].file("rows.parquet"))))
    eval_rows = read_table(inputs["eval"].file("rows.parquet"))
    counts = count_rows(rows, eval_rows)
    hits = pl.concat(
        find_leaks(suspect, eval_rows, counts=counts).with_columns(place=pl.lit(place))
        for place, suspect in suspects
    )
    hits.write_parquet(out / "hits.parquet")
    counted = {place: hits.filter(place=place)["row_id"].n_unique() for place, _ in suspects}
    return {"hits": hits.height, "leaking_rows": counted}


def write_refusal(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write a proof.json that says why nothing was measured."""
    leaks = _describe_leaks(inputs["leaks"], params["prove"]["allow_leaks"])
    places = {"target": "target examples", "arm": "training rows"}
    found = [f"{n} {places[p]}" for p, n in leaks["leaking_rows"].items() if n]
    sentence = (
        f"No proof: the eval set leaks into {' and '.join(found)}, so a good score would show memory,"
        " not skill. Add the stage {kind: leaks}, choose other target examples, or set"
        " prove.allow_leaks: true."
    )
    write_json(
        out / "proof.json",
        {"verdict": REFUSED, "sentence": sentence, "leaks": leaks, "settings": params["prove"]},
    )
    return {"verdict": REFUSED, "sentence": sentence}


def write_unmeasured(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write a proof.json that says why nothing could be trained or scored."""
    prove, labels = params["prove"], read_table(inputs["labels"].file("labels.parquet"))
    faults = label_faults(labels, prove["lora"]["max_length"])
    sentence = f"Not measured: {'; '.join(faults)}. Raise that limit, or use shorter rows."
    write_json(
        out / "proof.json",
        {
            "verdict": NOT_MEASURED,
            "sentence": sentence,
            "labels": labels.to_dicts(),
            "leaks": _describe_leaks(inputs["leaks"], prove["allow_leaks"]),
            "settings": prove,
        },
    )
    return {"verdict": NOT_MEASURED, "sentence": sentence}


def _describe_leaks(artifact: Artifact, allowed: bool) -> dict[str, Any]:
    hits = read_table(artifact.file("hits.parquet"))
    return {
        "allowed": allowed,
        "leaking_rows": artifact.counts["leaking_rows"],
        "examples": hits.head(SHOWN_LEAKS).to_dicts(),
    }


def write_proof(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write proof.json and effects.parquet (one line per arm, seed and eval example)."""
    prove = params["prove"]
    results = _gather(inputs, prove["seeds"])
    results.write_parquet(out / "effects.parquet")
    scored = results.filter(pl.col("response_tokens") > 0)
    if not scored.height:
        raise ValueError(
            "no eval response is left within prove.lora.max_length tokens; raise that limit"
        )
    metrics = _metrics(scored, prove["metric"])
    comparisons = [
        _comparison(scored, control, metric, prove, params["seed"])
        for metric in metrics
        for control in CONTROLS
    ]
    primary = [c for c in comparisons if c["metric"] == metrics[0]]
    verdict = judge_all([c["verdict"] for c in primary])
    arms = _arm_table(inputs["arms"], inputs, scored, metrics)
    leaks = _describe_leaks(inputs["leaks"], prove["allow_leaks"])
    detail = _detail(primary)
    sentence = _sentence(verdict, detail, sum(leaks["leaking_rows"].values()))
    unscored = results.filter(arm="base").height - scored.filter(arm="base").height
    proof = {
        "verdict": verdict,
        "sentence": sentence,
        "detail": detail[0].upper() + detail[1:],
        "metric": metrics[0],
        "arms": arms,
        "comparisons": comparisons,
        "eval_examples": scored.filter(arm="base").height,
        "eval_examples_too_long": unscored,
        "labels": read_table(inputs["labels"].file("labels.parquet")).to_dicts(),
        "leaks": leaks,
        "settings": prove,
    }
    write_json(out / "proof.json", proof)
    return {"verdict": verdict, "sentence": sentence}


def _gather(inputs: Mapping[str, Artifact], seeds: int) -> pl.DataFrame:
    names = [("base", 0, "base")]
    names += [(arm, n, _tuned_name(arm, n)) for arm in ARMS for n in range(seeds)]
    return pl.concat(
        read_table(inputs[_measured_name(name)].file("results.parquet")).select(
            pl.lit(arm).alias("arm"),
            pl.lit(number).alias("seed"),
            "eval_id",
            "loss",
            pl.col("exact").cast(pl.Float64).alias("exact_match"),
            "response_tokens",
        )
        for arm, number, name in names
    )


def _metrics(results: pl.DataFrame, wanted: str) -> list[str]:
    """Return the metrics to report, the deciding one first.

    The loss decides unless the user says otherwise: it moves with every example. Exact match is told
    as well where no response is longer than SHORT_RESPONSE tokens.
    """
    if wanted == "exact_match":
        return ["exact_match", "loss"]
    short = results["response_tokens"].max() <= SHORT_RESPONSE  # type: ignore[operator]
    return ["loss", "exact_match"] if short and wanted == "auto" else ["loss"]


def _matrix(results: pl.DataFrame, arm: str, metric: str) -> np.ndarray[Any, Any]:
    """Return the metric of an arm as [seeds, examples]."""
    mine = results.filter(arm=arm).sort("seed", "eval_id")
    return mine[metric].to_numpy().reshape(mine["seed"].n_unique(), -1)


def _comparison(
    results: pl.DataFrame, control: str, metric: str, prove: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    difference = _matrix(results, "selected", metric) - _matrix(results, control, metric)
    if metric == "loss":
        difference = -difference
    rng = np.random.default_rng([seed, 0xB007])
    told: Difference = compare(difference, resamples=prove["resamples"], rng=rng)
    return {
        "control": control,
        "metric": metric,
        "unit": UNITS[metric],
        "mean_difference": told.mean,
        "low": told.low,
        "high": told.high,
        "verdict": told.verdict,
        "by_seed": difference.mean(axis=1).tolist(),
        "share_of_examples_better": float((difference.mean(axis=0) > 0).mean()),
    }


def _arm_table(
    arms: Artifact, inputs: Mapping[str, Artifact], results: pl.DataFrame, metrics: Sequence[str]
) -> list[dict[str, Any]]:
    drawn = read_table(arms.file("arms.parquet"))
    table = []
    for name in ("base", *ARMS):
        mine = results.filter(arm=name)
        numbers = mine["seed"].unique().sort().to_list()
        rows = drawn.filter(arm=name).group_by("seed").agg(pl.len(), pl.col("tokens").sum())
        steps = [] if name == "base" else [
            inputs[_tuned_name(name, n)].counts["steps"] for n in numbers
        ]  # fmt: skip
        table.append(
            {
                "arm": name,
                "rows": rows.sort("seed")["len"].to_list(),
                "tokens": rows.sort("seed")["tokens"].to_list(),
                "steps": steps,
                "by_seed": {m: [mine.filter(seed=n)[m].mean() for n in numbers] for m in metrics},
                **{metric: mine[metric].mean() for metric in metrics},
            }
        )
    return table


def _detail(comparisons: Sequence[Mapping[str, Any]]) -> str:
    names = {"random_rows": "as many random rows", "random_tokens": "as many random tokens"}
    told = " and ".join(
        f"{c['mean_difference']:+.3f} [{c['low']:+.3f}, {c['high']:+.3f}] against "
        f"{names[c['control']]}"
        for c in comparisons
    )
    what = "loss lower by" if comparisons[0]["metric"] == "loss" else "exact match higher by"
    return f"{what} {told}, in {comparisons[0]['unit']}, with 95 % intervals."


def _sentence(verdict: str, detail: str, leaking: int) -> str:
    head = {
        "better": "The selection is better than random",
        "worse": "The selection is worse than random",
    }.get(verdict, "No difference from random shown")
    warning = " (the eval set leaks, which was allowed: do not trust this)" if leaking else ""
    return f"{head}{warning}: {detail}"
