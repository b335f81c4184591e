"""proof.json: the selection against random draws by every metric, and the verdict of one of them."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.core.store import Artifact, Counts, write_json
from curate.core.tables import read_table
from curate.models.finetune import ADAPTER
from curate.prove.ablation import copy_ablation
from curate.prove.arms import CONTROLS, main_control
from curate.prove.contamination import describe_leaks
from curate.prove.curve import copy_curve
from curate.prove.groups import compare_groups, group_examples
from curate.prove.keep import ADAPTER_FOLDER, write_peft_adapter
from curate.prove.metrics import Metric, measured_metrics
from curate.prove.others import describe_others
from curate.prove.outcome import detail_of, sentence_of
from curate.prove.questions import describe_questions
from curate.prove.results import (
    arm_names,
    gains_of,
    gather_results,
    scored_examples,
    trained_steps,
    tuned_name,
    weights_of,
)
from curate.prove.side_by_side import write_side_by_side
from curate.prove.spread import FILE
from curate.prove.statistics import compare, judge_all, measure_spread, rank_among
from curate.prove.style import describe_style
from curate.prove.trainable import label_faults
from curate.prove.validity import score_validity
from curate.prove.watch import TABLE as WATCH_TABLE
from curate.prove.watch import read_verdicts
from curate.prove.written_metrics import generation_sentence

RULE = "prediction interval"
NOT_MEASURED = "not measured"


def write_unmeasured(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
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
            "leaks": describe_leaks(inputs["leaks"], prove["allow_leaks"]),
            "settings": prove,
        },
    )
    return {"verdict": NOT_MEASURED, "sentence": sentence}


def write_proof(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write proof.json, effects.parquet (one line per arm, seed and eval example), a kept adapter."""
    prove, runs = params["prove"], params["runs"]
    results = gather_results(inputs, arm_names(trained_arms(params)))
    results.write_parquet(out / "effects.parquet")
    scored = scored_examples(results)
    if not scored.height:
        raise ValueError(
            "no eval response is left within prove.lora.max_length tokens; raise that limit"
        )
    metrics = measured_metrics(scored, prove["metric"])
    main = main_control(runs)
    comparisons = [
        _comparison(scored, control, metric, params, decides=metric == metrics[0])
        for metric in metrics
        for control in CONTROLS
    ]
    primary = [c for c in comparisons if c["metric"] == metrics[0].name]
    verdict = judge_all([c["verdict"] for c in primary])
    draws = gains_of(scored, main, metrics[0]).mean(axis=1).tolist()
    rank = rank_among(float(gains_of(scored, "selected", metrics[0]).mean()), draws)
    arms = read_table(inputs["arms"].file("arms.parquet"))
    validity = score_validity(
        read_table(inputs["selection"].file("ranking.parquet")), arms.filter(arm=main), draws
    )
    leaks = describe_leaks(inputs["leaks"], prove["allow_leaks"])
    proof = {
        "rule": RULE,
        "verdict": verdict,
        "metric": metrics[0].name,
        "alpha": params["alpha"],
        "judged": params["judged"],
        "look": params["look"],
        "control": main,
        "arms": _arm_table(arms, inputs, scored, metrics),
        "comparisons": comparisons,
        "questions": describe_questions(inputs["questions"].counts, scored),
        "style": describe_style(comparisons, main),
        "others": describe_others(scored, params["others"], metrics[0]),
        "spread": orjson.loads(inputs["spread"].file(FILE).read_bytes()),
        "rank": asdict(rank),
        "score_validity": asdict(validity) if validity else None,
        "eval_examples": scored.filter(arm="base")["response_tokens"].count(),
        "eval_examples_too_long": results.filter(arm="base").height
        - scored.filter(arm="base").height,
        "labels": read_table(inputs["labels"].file("labels.parquet")).to_dicts(),
        "generation": generation_sentence(scored, prove["metric"]),
        "written": write_side_by_side(out, inputs, results, main, metrics[0]),
        "leaks": leaks,
        "watch": read_verdicts(inputs),
        "groups": compare_groups(
            scored,
            group_examples(read_table(inputs["eval"].file("rows.parquet"))),
            main,
            metrics[0],
        ),
        "settings": prove,
    }
    if "shared_control" in params:
        proof["shared_control"] = params["shared_control"]
    if "curve" in inputs:
        proof["curve"] = copy_curve(inputs["curve"], out)
    if "ablation" in inputs:
        proof["ablation"] = copy_ablation(inputs["ablation"], out)
    proof["detail"] = detail_of(proof)
    proof["sentence"] = sentence_of(proof)
    write_json(out / "proof.json", proof)
    if "watch" in inputs:
        shutil.copyfile(inputs["watch"].file(WATCH_TABLE), out / WATCH_TABLE)
    if prove["keep"]:
        write_peft_adapter(inputs[tuned_name("selected", 0)].file(ADAPTER), out / ADAPTER_FOLDER)
    return {"verdict": verdict, "sentence": proof["sentence"]}


def trained_arms(params: Mapping[str, Any]) -> dict[str, int]:
    """Return how many fine-tunes each arm has, from the parameters of a proof."""
    return {**params["runs"], **dict.fromkeys(params["others"], params["prove"]["seeds"])}


def _comparison(
    results: pl.DataFrame, control: str, metric: Metric, params: Mapping[str, Any], *, decides: bool
) -> dict[str, Any]:
    """Return the selection against one control; only the metric that decides has a verdict.

    The control that has a few draws is told by all draws of the other one, moved by what the pairs
    differ by.
    """
    main = main_control(params["runs"])
    selected, draws = (gains_of(results, arm, metric) for arm in ("selected", main))
    few = gains_of(results, control, metric)
    if control != main and "shared_control" in params:
        pairs = draws[: len(few)]
        few = pairs + params["shared_control"]["weight"] * (few - pairs)
    shift = None if control == main else few - draws[: len(few)]
    step = 1 / selected.shape[1] if metric.counted else 0.0
    result = compare(
        selected,
        draws,
        alpha=params["alpha"],
        shift=shift,
        step=step,
        weights=weights_of(results, metric),
    )
    centre = float(selected.mean()) - result.difference
    sign = -1 if metric.lower_is_better else 1
    reach = sorted(sign * (centre + half) for half in (-result.half, result.half))
    return {
        "control": control,
        "metric": metric.name,
        "unit": metric.unit,
        "examples": selected.shape[1],
        "draws": len(few),
        "mean_difference": result.difference,
        "half": result.half,
        "another_draw": [metric.possible(mean) for mean in reach],
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
    metrics: Sequence[Metric],
) -> list[dict[str, Any]]:
    table = []
    for name in results["arm"].unique(maintain_order=True):
        of_arm = results.filter(arm=name)
        numbers = of_arm["seed"].unique().sort().to_list()
        rows = drawn.filter(arm=name).group_by("seed").agg(pl.len(), pl.col("tokens").sum())
        tuned = [] if name == "base" else [tuned_name(name, n) for n in numbers]
        if tuned and not rows.height:
            counts = [inputs[name].counts for name in tuned]
            rows = pl.DataFrame(
                [
                    {"seed": n, "len": c["rows_in"], "tokens": c["tokens"]}
                    for n, c in enumerate(counts)
                ]
            )
        table.append(
            {
                "arm": name,
                "rows": rows.sort("seed")["len"].to_list(),
                "tokens": rows.sort("seed")["tokens"].to_list(),
                "steps": [trained_steps(inputs, name) for name in tuned],
                "by_seed": {
                    m.name: [of_arm.filter(seed=n)[m.name].mean() for n in numbers] for m in metrics
                },
                **{metric.name: of_arm[metric.name].mean() for metric in metrics},
            }
        )
    return table
