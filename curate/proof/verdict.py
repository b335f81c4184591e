"""proof.json: the selection against random draws by every metric, and the verdict of one of them."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.core.calls import Table, TableGroup, cached_files
from curate.core.store import Artifact, Counts, write_json
from curate.models.finetune import ADAPTER
from curate.pool.synthetic import synthetic_sentence
from curate.proof.ablation import copy_ablation
from curate.proof.arms import CONTROLS
from curate.proof.contamination import describe_leaks
from curate.proof.curve import copy_curve
from curate.proof.design import ProofDesign
from curate.proof.groups import compare_groups, group_examples
from curate.proof.keep import ADAPTER_FOLDER, write_peft_adapter
from curate.proof.metrics import METRICS, Metric, measured_metrics
from curate.proof.others import describe_others
from curate.proof.outcome import detail_of, sentence_of
from curate.proof.preferences import describe_pairs
from curate.proof.quantiles import copy_quantiles
from curate.proof.questions import describe_questions
from curate.proof.results import (
    BASE,
    TrainedModels,
    arm_names,
    gains_of,
    gather_results,
    scored_examples,
    tuned_name,
    weights_of,
)
from curate.proof.side_by_side import write_side_by_side
from curate.proof.spread import FILE
from curate.proof.statistics import compare, judge_all, measure_spread, rank_among
from curate.proof.style import describe_style
from curate.proof.trainable import label_faults
from curate.proof.validity import score_validity
from curate.proof.values import ProofValues
from curate.proof.watch import TABLE as WATCH_TABLE
from curate.proof.watch import read_verdicts
from curate.proof.written_metrics import generation_sentence

VERSION = 12
RULE = "prediction interval"
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class ProofTables(TableGroup):
    """What a proof is told from beside the models: leaks, arms, and what was measured beside them.

    leaks: hits of the eval and the watch sets. labels: rows and eval examples without a label.
    selection: the ranking. eval: the eval set, as it was given. spread: None before the controls are
    trained. watch, curve, quantiles, ablation: None where a recipe asks for none.
    """

    leaks: Artifact
    labels: Table
    arms: Table
    selection: Table
    eval: Table
    questions: Table | None = None
    spread: Artifact | None = None
    watch: Artifact | None = None
    curve: Artifact | None = None
    quantiles: Artifact | None = None
    ablation: Artifact | None = None


@cached_files(version=VERSION, name="proof-unmeasured")
def write_unmeasured(out: Path, leaks: Artifact, labels: Table, prove: ProofValues) -> Counts:
    """Write a proof.json that says why nothing could be trained or scored."""
    table = labels.read()
    faults = label_faults(table, prove)
    sentence = f"Not measured: {'; '.join(faults)}. Raise that limit, or use shorter rows."
    write_json(
        out / "proof.json",
        {
            "verdict": NOT_MEASURED,
            "sentence": sentence,
            "labels": table.to_dicts(),
            "leaks": describe_leaks(leaks, prove["allow_leaks"]),
            "settings": prove,
        },
    )
    return {"verdict": NOT_MEASURED, "sentence": sentence}


@cached_files(version=VERSION, name="proof")
def write_proof(
    out: Path, design: ProofDesign, tables: ProofTables, models: TrainedModels
) -> Counts:
    """Write proof.json, effects.parquet (one line per arm, seed and eval example), a kept adapter."""
    results = gather_results(models.results, arm_names(design.trained))
    results.write_parquet(out / "effects.parquet")
    proof = describe_proof(results, design, tables, models)
    proof["written"] = write_side_by_side(
        out, models.written, results, design.control, METRICS[proof["metric"]]
    )
    if tables.curve:
        proof["curve"] = copy_curve(tables.curve, out)
    if tables.quantiles:
        proof["quantiles"] = copy_quantiles(tables.quantiles, out)
    if tables.ablation:
        proof["ablation"] = copy_ablation(tables.ablation, out)
    if tables.watch:
        shutil.copyfile(tables.watch.file(WATCH_TABLE), out / WATCH_TABLE)
    if design.prove["keep"]:
        adapter = models.tuned[tuned_name("selected", 0)].file(ADAPTER)
        write_peft_adapter(adapter, out / ADAPTER_FOLDER)
    write_json(out / "proof.json", proof)
    return {"verdict": proof["verdict"], "sentence": proof["sentence"]}


def describe_proof(
    results: pl.DataFrame, design: ProofDesign, tables: ProofTables, models: TrainedModels
) -> dict[str, Any]:
    """Return what proof.json says without what is written beside it.

    Raises:
        ValueError: no eval example could be scored.
    """
    scored = scored_examples(results)
    if not scored.height:
        raise ValueError(
            "no eval response is left within prove.lora.max_length tokens; raise that limit"
        )
    assert tables.questions is not None
    assert tables.spread is not None
    prove, main = design.prove, design.control
    metrics = measured_metrics(scored, prove["metric"])
    comparisons = [
        _comparison(scored, control, metric, design, decides=metric == metrics[0])
        for metric in metrics
        for control in CONTROLS
    ]
    primary = [c["verdict"] for c in comparisons if c["metric"] == metrics[0].name]
    draws = gains_of(scored, main, metrics[0]).mean(axis=1).tolist()
    rank = rank_among(float(gains_of(scored, "selected", metrics[0]).mean()), draws)
    arms, examples = tables.arms.read(), group_examples(tables.eval.read())
    validity = score_validity(tables.selection.read(), arms.filter(arm=main), draws)
    measured, base = (table.filter(arm=BASE) for table in (results, scored))
    proof = {
        "rule": RULE,
        "verdict": judge_all(primary),
        "metric": metrics[0].name,
        "alpha": design.alpha,
        "judged": design.judged,
        "look": design.look,
        "control": main,
        "arms": _arm_table(arms, models, scored, metrics),
        "comparisons": comparisons,
        "questions": describe_questions(tables.questions.artifact.counts, scored),
        # Of pairs neither the measure nor what is learned is the loss of chosen answers.
        "style": None if "beta" in prove else describe_style(comparisons, main),
        "others": describe_others(scored, design.others, metrics[0]),
        "spread": orjson.loads(tables.spread.file(FILE).read_bytes()),
        "rank": asdict(rank),
        "score_validity": asdict(validity) if validity else None,
        "eval_examples": base["response_tokens"].count(),
        "eval_examples_too_long": measured.height - base.height,
        "labels": tables.labels.read().to_dicts(),
        "generation": generation_sentence(scored, prove["metric"]),
        "leaks": describe_leaks(tables.leaks, prove["allow_leaks"]),
        "watch": read_verdicts(tables.watch),
        "groups": compare_groups(scored, examples, main, metrics[0]),
        "settings": prove,
    }
    if design.shared_control is not None:
        proof["shared_control"] = design.shared_control
    proof["detail"] = detail_of(proof)
    if "beta" in prove:
        proof["pairs"] = describe_pairs(prove, tables.selection.artifact.counts)
        proof["detail"] += f" {proof['pairs']['sentence']}"
    synthetic = synthetic_sentence(tables.eval.read())
    if synthetic:
        proof["synthetic"] = synthetic
        proof["detail"] += f" {synthetic}"
    proof["sentence"] = sentence_of(proof)
    return proof


def _comparison(
    results: pl.DataFrame, control: str, metric: Metric, design: ProofDesign, *, decides: bool
) -> dict[str, Any]:
    """Return the selection against one control; only the metric that decides has a verdict.

    The control that has a few draws is told by all draws of the other one, moved by what the pairs
    differ by.
    """
    main = design.control
    selected, draws = (gains_of(results, arm, metric) for arm in ("selected", main))
    few = gains_of(results, control, metric)
    if control != main and design.shared_control is not None:
        pairs = draws[: len(few)]
        few = pairs + design.shared_control["weight"] * (few - pairs)
    shift = None if control == main else few - draws[: len(few)]
    step = 1 / selected.shape[1] if metric.counted else 0.0
    result = compare(
        selected,
        draws,
        alpha=design.alpha,
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
    models: TrainedModels,
    results: pl.DataFrame,
    metrics: Sequence[Metric],
) -> list[dict[str, Any]]:
    table = []
    for name in results["arm"].unique(maintain_order=True):
        of_arm = results.filter(arm=name)
        numbers = of_arm["seed"].unique().sort().to_list()
        rows = drawn.filter(arm=name).group_by("seed").agg(pl.len(), pl.col("tokens").sum())
        tuned = [] if name == BASE else [tuned_name(name, n) for n in numbers]
        if tuned and not rows.height:
            counts = [models.tuned[name].counts for name in tuned]
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
                "steps": [models.steps(name) for name in tuned],
                "by_seed": {
                    m.name: [of_arm.filter(seed=n)[m.name].mean() for n in numbers] for m in metrics
                },
                **{metric.name: of_arm[metric.name].mean() for metric in metrics},
            }
        )
    return table
