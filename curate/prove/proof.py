"""The proof: is a model tuned on the selection better than one tuned on a fair random draw may be?"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from curate.clean.leaks import count_rows, find_leaks
from curate.prove.adapter import ADAPTER
from curate.prove.arms import ARMS, CONTROLS, arm_runs, arms_step, main_control
from curate.prove.finetune import finetune_step, read_messages
from curate.prove.keep import ADAPTER_FOLDER, write_peft_adapter
from curate.prove.measure import measure_step
from curate.prove.outcome import detail_of, sentence_of
from curate.prove.spread import FILE, UNITS, setting_of, spread_step
from curate.prove.statistics import (
    compare,
    judge_all,
    level,
    measure_spread,
    rank_among,
)
from curate.prove.trainable import label_faults, label_sentences, trainable_step
from curate.prove.validity import score_validity
from curate.registry import Budget, ScoreRun
from curate.store import Artifact, Counts, Step, digest_of, write_json
from curate.tables import read_table, scan_table

LOG = logging.getLogger("curate")
VERSION = 7
RULE = "prediction interval"
SHORT_RESPONSE = 64
SHOWN_LEAKS = 20
REFUSED, NOT_MEASURED = "refused", "not measured"
# Behind the run's seed and a number: the selection's trainings share no seed with a draw.
SELECTED_SEED = 1


def prove(
    run: ScoreRun,
    selection: Artifact,
    eval_rows: Artifact,
    prove: Mapping[str, Any],
    budget: Budget,
    judged: int = 1,
    rendered: Artifact | None = None,
) -> Artifact:
    """Return the artifact with proof.json, and effects.parquet unless the proof was refused.

    Controls come first: they know nothing of the method, and say what difference can be shown.

    Args:
        run: the run.
        selection: its ranking.parquet says which rows are selected.
        eval_rows: the eval set as it was given, which must not leak.
        prove: the recipe's settings.
        budget: that of the selection.
        judged: how many selections are judged together; each at so much smaller a level (Bonferroni).
        rendered: the eval set as the model reads it, where system turns are merged.
    """
    scored = rendered or eval_rows
    limit = prove["lora"]["max_length"]
    runs = arm_runs(prove, by_tokens=budget.tokens is not None)
    arms = run.execute(arms_step(selection, runs, run.seed, limit))
    leak_inputs = {"rows": run.rows, "arms": arms, "eval": eval_rows}
    if run.target:
        leak_inputs["target"] = run.target
    leaks = run.execute(Step("proof-leaks", VERSION, write_leaks, leak_inputs))
    alpha = level(prove["strict"], judged)
    params: dict[str, Any] = {"prove": dict(prove), "runs": runs, "alpha": alpha, "judged": judged}
    if leaks.counts["hits"] and not prove["allow_leaks"]:
        return run.execute(Step("proof", VERSION, write_refusal, {"leaks": leaks}, params))
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
    steps = _finetune_steps(run, drawn, runs, prove)
    selected = {name: step for name, step in steps.items() if name.startswith("selected/")}
    LOG.info(
        "proof: %d fine-tunes of %d epochs on about %s tokens, each measured on %d eval examples",
        len({step.key for step in steps.values()}),
        prove["lora"]["epochs"],
        f"{drawn.filter(arm='selected', seed=0)['tokens'].sum():,}",
        eval_rows.counts["rows_out"],
    )
    done = _measure(run, {"base": None}, scored, limit)
    done |= _tune(run, {n: s for n, s in steps.items() if n not in selected}, scored, limit)
    spread = run.execute(_spread_step(run, done, eval_rows, params, budget))
    LOG.info("proof: %s", spread.counts["sentence"])
    done |= _tune(run, selected, scored, limit)
    inputs = {"leaks": leaks, "labels": labels, "arms": arms, "selection": selection}
    inputs |= {"spread": spread, **done}
    return run.execute(Step("proof", VERSION, write_proof, inputs, params))


def _finetune_steps(
    run: ScoreRun, drawn: pl.DataFrame, runs: Mapping[str, int], prove: Mapping[str, Any]
) -> dict[str, Step]:
    """Return the fine-tune of every arm and number; every one of an arm has a seed of its own.

    A draw and its pair of the other control share theirs.
    """
    rows = run.rows.file("rows.parquet")

    def step(ids: Sequence[str], seed: Sequence[int]) -> Step:
        return finetune_step(
            ids,
            digest_of(read_messages(rows, ids)),
            lora=prove["lora"],
            seed=seed,
            identity=run.model_identity(),
            hints={**run.model_hints(), "rows": str(rows)},
        )

    steps = {}
    for arm in ARMS:
        for number in range(runs[arm]):
            ids = drawn.filter((pl.col("arm") == arm) & (pl.col("seed") == number))["row_id"]
            own = [SELECTED_SEED] if arm == "selected" else []
            steps[_tuned_name(arm, number)] = step(ids.to_list(), [run.seed, number, *own])
    return steps


def _tune(
    run: ScoreRun, steps: Mapping[str, Step], eval_rows: Artifact, max_length: int
) -> dict[str, Artifact]:
    """Return fine-tunes by name, and what each reaches on the eval set."""
    tuned = dict(zip(steps, run.execute_all(list(steps.values())), strict=True))
    return {**tuned, **_measure(run, tuned, eval_rows, max_length)}


def _measure(
    run: ScoreRun,
    models: Mapping[str, Artifact | None],
    eval_rows: Artifact,
    max_length: int,
) -> dict[str, Artifact]:
    """Return what models, fine-tuned or the base model itself, reach on the eval set."""
    measures = [
        measure_step(
            eval_rows,
            model,
            max_length=max_length,
            identity=run.model_identity(),
            hints=run.model_hints(),
        )
        for model in models.values()
    ]
    results = run.execute_all(measures)
    return {_measured_name(n): result for n, result in zip(models, results, strict=True)}


def _spread_step(
    run: ScoreRun,
    done: Mapping[str, Artifact],
    eval_rows: Artifact,
    params: Mapping[str, Any],
    budget: Budget,
) -> Step:
    main = main_control(params["runs"])
    names = [_measured_name(_tuned_name(main, n)) for n in range(params["runs"][main])]
    setting = setting_of(
        budget.model_dump(mode="json"), run.model_identity(), params["prove"]["lora"]
    )
    metric = "exact_match" if params["prove"]["metric"] == "exact_match" else "loss"
    settings = {**setting, "alpha": params["alpha"], "metric": metric}
    return spread_step({name: done[name] for name in names}, eval_rows, settings)


def _tuned_name(arm: str, number: int) -> str:
    return f"{arm}/{number}"


def _measured_name(name: str) -> str:
    return f"{name}/measured"


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
    """Write proof.json, effects.parquet (one line per arm, seed and eval example), a kept adapter."""
    prove, runs = params["prove"], params["runs"]
    results = _gather(inputs, runs)
    results.write_parquet(out / "effects.parquet")
    scored = results.filter(pl.col("response_tokens") > 0)
    if not scored.height:
        raise ValueError(
            "no eval response is left within prove.lora.max_length tokens; raise that limit"
        )
    metrics = _metrics(scored, prove["metric"])
    main = main_control(runs)
    comparisons = [
        _comparison(scored, control, metric, params, decides=metric == metrics[0])
        for metric in metrics
        for control in CONTROLS
    ]
    primary = [c for c in comparisons if c["metric"] == metrics[0]]
    verdict = judge_all([c["verdict"] for c in primary])
    draws = _gains(scored, main, metrics[0]).mean(axis=1).tolist()
    rank = rank_among(float(_gains(scored, "selected", metrics[0]).mean()), draws)
    arms = read_table(inputs["arms"].file("arms.parquet"))
    validity = score_validity(
        read_table(inputs["selection"].file("ranking.parquet")), arms.filter(arm=main), draws
    )
    leaks = _describe_leaks(inputs["leaks"], prove["allow_leaks"])
    proof = {
        "rule": RULE,
        "verdict": verdict,
        "metric": metrics[0],
        "alpha": params["alpha"],
        "judged": params["judged"],
        "control": main,
        "arms": _arm_table(arms, inputs, scored, metrics),
        "comparisons": comparisons,
        "spread": orjson.loads(inputs["spread"].file(FILE).read_bytes()),
        "rank": asdict(rank),
        "score_validity": asdict(validity) if validity else None,
        "eval_examples": scored.filter(arm="base").height,
        "eval_examples_too_long": results.filter(arm="base").height
        - scored.filter(arm="base").height,
        "labels": read_table(inputs["labels"].file("labels.parquet")).to_dicts(),
        "leaks": leaks,
        "settings": prove,
    }
    proof["detail"] = detail_of(proof)
    proof["sentence"] = sentence_of(proof)
    write_json(out / "proof.json", proof)
    if prove["keep"]:
        write_peft_adapter(inputs[_tuned_name("selected", 0)].file(ADAPTER), out / ADAPTER_FOLDER)
    return {"verdict": verdict, "sentence": proof["sentence"]}


def _gather(inputs: Mapping[str, Artifact], runs: Mapping[str, int]) -> pl.DataFrame:
    names = [("base", 0, "base")]
    names += [(arm, n, _tuned_name(arm, n)) for arm in ARMS for n in range(runs[arm])]
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


def _gains(results: pl.DataFrame, arm: str, metric: str) -> np.ndarray[Any, Any]:
    """Return the metric of an arm as [seeds, examples], larger is better."""
    of_arm = results.filter(arm=arm).sort("seed", "eval_id")
    values = of_arm[metric].to_numpy().reshape(of_arm["seed"].n_unique(), -1)
    return -values if metric == "loss" else values


def _comparison(
    results: pl.DataFrame, control: str, metric: str, params: Mapping[str, Any], *, decides: bool
) -> dict[str, Any]:
    """Return the selection against one control; only the metric that decides has a verdict.

    The control that has a few draws is told by all draws of the other one, moved by what the pairs
    differ by.
    """
    main = main_control(params["runs"])
    selected, draws = (_gains(results, arm, metric) for arm in ("selected", main))
    few = _gains(results, control, metric)
    shift = None if control == main else few - draws[: len(few)]
    step = 1 / selected.shape[1] if metric == "exact_match" else 0.0
    result = compare(selected, draws, alpha=params["alpha"], shift=shift, step=step)
    centre = float(selected.mean()) - result.difference
    sign = -1 if metric == "loss" else 1
    return {
        "control": control,
        "metric": metric,
        "unit": UNITS[metric],
        "draws": len(few),
        "mean_difference": result.difference,
        "half": result.half,
        "another_draw": sorted(sign * (centre + half) for half in (-result.half, result.half)),
        "estimate": {"low": result.low, "high": result.high},
        "verdict": result.verdict if decides else None,
        "by_draw": (few.mean(axis=1) - centre).tolist(),
        "spread": measure_spread(draws.mean(axis=1).tolist()).sd,
        "share_of_examples_better": float((selected.mean(axis=0) > few.mean(axis=0)).mean()),
    }


def _arm_table(
    drawn: pl.DataFrame,
    inputs: Mapping[str, Artifact],
    results: pl.DataFrame,
    metrics: Sequence[str],
) -> list[dict[str, Any]]:
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
