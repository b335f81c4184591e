"""What the stages of a recipe earned: how far the selection lies from the one without each of them.

Each difference is that of two fixed training sets, with a 95 % interval over training seeds and eval
examples, and has no verdict. Several stages are several comparisons: of the intervals of 20 stages that
earn nothing, one misses 0 by chance, so their number is said. Beside them stands the spread of random
draws: by so much two sets differ that were chosen by chance alone.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from curate.proof.described import AblationValues, EarnedValues, StageBill, StageValues
from curate.proof.metrics import Metric
from curate.proof.results import gains_of
from curate.proof.statistics import estimate, measure_spread

IDLE = "it dropped no row, so without it the same rows are selected"
REDUNDANT = "later stages drop what it drops, so without it the same rows are selected"
UNCHANGED = "without it the same rows are selected"
EMPTY = "without it no row is selected that fine-tunes could learn, so nothing was trained"


def without_name(stage: str) -> str:
    """Return the name of the selection that is made without a stage, as an arm."""
    return f"without-{stage}"


def describe_ablation(
    results: pl.DataFrame, stages: Sequence[StageValues], control: str, metric: Metric
) -> AblationValues:
    """Return an ablation as proof.json has it.

    Args:
        results: a line for each arm, seed and eval example: the selection, the control, and every
            selection without a stage that was trained.
        stages: what each stage did to rows: stage, dropped, new_rows, back, unjudged, changed, leaking,
            guards.
        control: the random draws.
        metric: the one that decides the verdict.
    """
    selected, draws = gains_of(results, "selected", metric), gains_of(results, control, metric)
    trained = results["arm"].unique().to_list()
    lines: list[EarnedValues] = []
    for stage in stages:
        line: EarnedValues = {**stage, "earned": None, "over_random": None, "note": None}
        if (arm := without_name(stage["stage"])) in trained:
            without = gains_of(results, arm, metric)
            own = estimate(selected, without)
            line["earned"] = {"difference": own.difference, "low": own.low, "high": own.high}
            line["over_random"] = float(without.mean() - draws.mean())
        line["note"] = _note(line)
        lines.append(line)
    ablation: AblationValues = {
        "metric": metric.name,
        "unit": metric.unit,
        "control": control,
        "trainings": len(selected),
        "compared": sum(line["earned"] is not None for line in lines),
        "spread": measure_spread(draws.mean(axis=1).tolist()).sd,
        "over_random": float(selected.mean() - draws.mean()),
        "stages": lines,
    }
    return {**ablation, "sentence": ablation_sentence(ablation, metric)}


def _note(line: EarnedValues) -> str | None:
    """Return why nothing was trained without a stage; None where something was."""
    if line["earned"] is not None:
        return None
    if line["guards"]:
        return f"it keeps {line['guards']} out of what is trained on, so it stays"
    if line["leaking"]:
        return (
            f"without it {line['leaking']:,} rows that hold prompts of eval or watch sets are selected, "
            "so nothing was trained: add the stage {method: leaks}"
        )
    if line["changed"]:
        return EMPTY
    if not line["dropped"] + line["new_rows"]:
        return IDLE
    return UNCHANGED if line["back"] + line["new_rows"] else REDUNDANT


def ablation_sentence(ablation: AblationValues, metric: Metric) -> str:
    """Return what the stages earned and how many comparisons that took, in words."""
    stages = ablation["stages"]
    earned = [
        f"{line['stage']} {e['difference']:+.3f} [{e['low']:+.3f}, {e['high']:+.3f}]"
        for line in stages
        if (e := line["earned"])
    ]
    notes = [f"{line['stage']}: {line['note']}" for line in stages if line["note"]]
    rest = f" {'; '.join(notes)}." if notes else ""
    if not earned:
        return f"No stage changes what is trained on.{rest}"
    label = metric.gain_label[0].upper() + metric.gain_label[1:]
    return (
        f"{label} with a stage than without it: {', '.join(earned)}, in {metric.unit}; "
        f"{compared_clause(ablation)}.{rest}"
    )


def compared_clause(ablation: AblationValues) -> str:
    """Return how many comparisons were made, and what they do not show."""
    count = ablation["compared"]
    text = f"{count} comparison{'s' if count != 1 else ''}"
    text += ", each with a 95 % interval of its own" if count > 1 else " with a 95 % interval"
    if ablation["trainings"] == 1:
        text += " that knows the eval examples only (one training of each)"
    return f"{text}, and no verdict; random draws have a spread of {ablation['spread']:.3f}"


def ablation_lines(ablation: AblationValues, bill: Mapping[str, StageBill]) -> list[str]:
    """Return what each stage earned and cost, in a line each.

    Args:
        ablation: of proof.json.
        bill: seconds and calls of a model by stage, of the run's manifest.
    """
    return [f"{line['stage']}: {_earned(line)}; {_cost(line, bill)}" for line in ablation["stages"]]


def _earned(line: EarnedValues) -> str:
    if line["earned"] is None:
        return str(line["note"])
    e = line["earned"]
    return f"earned {e['difference']:+.3f} [{e['low']:+.3f}, {e['high']:+.3f}]"


def _cost(line: EarnedValues, bill: Mapping[str, StageBill]) -> str:
    spent = bill.get(line["stage"])
    parts = [f"{spent['seconds']:.1f} s"] if spent else []
    parts += [f"{calls:,} calls"] if spent and (calls := spent.get("calls")) else []
    parts += [f"{line['new_rows']:,} rows made"] if line["new_rows"] else []
    parts.append(f"{line['dropped']:,} rows dropped")
    changed = "" if line["guards"] else f", of the selection {line['changed']:,} rows changed"
    return f"{', '.join(parts)}{changed}"
