"""The report's charts: altair specifications, drawn as `curate.report.drawing` has it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import altair as alt

from curate.core.chart import Dumbbell, Dumbbells
from curate.core.numerals import number, percent, ratio, signed, significant
from curate.proof.metrics import METRICS
from curate.proof.proof_labels import arm_label
from curate.report.charts import draw_chart
from curate.report.curve_chart import draw_ability_curves
from curate.report.data import Mix, MixLine, Report
from curate.report.drawing import (
    ACCENT,
    CONTROL,
    DIGIT,
    FAINT,
    INK,
    MUTED,
    PLOT,
    TICK_OVERHANG,
    WIDE_CHARS,
    Drawing,
    axis_labels,
    from_values,
    padded,
    remark,
    row_axis,
    to_svg,
)  # fmt: skip
from curate.report.groups_chart import draw_groups
from curate.report.proof import ControlComparison as Difference
from curate.report.proof import ProofPanel
from curate.report.wording import stage_label
from curate.runs.funnel import Funnel, FunnelStep

WITH_GENERATED = "With made rows"
NAMED = 3


def draw_all(report: Report) -> dict[str, Any]:
    """Return every figure of a report by name; `proof` has one for each metric."""
    proof, mix = report.proof, report.mix
    return {
        "proof": {m: draw_proof(proof, m) for m in proof.drawn_metrics} if proof else {},
        "groups": draw_groups(proof.groups) if proof else None,
        "curve": draw_ability_curves(proof.curve)
        if proof and proof.curve and proof.curve.abilities
        else None,
        "funnel": draw_funnel(report.funnel),
        "sources": draw_sources(mix) if len(mix.sources) > 1 else None,
        "origins": draw_origins(mix) if mix.origin_count > 1 else None,
    }


def draw_proof(proof: ProofPanel, metric: str) -> Drawing:
    """Draw what random draws reach and where the selection lies, a line for each control."""
    compared = [c for c in proof.comparisons if c.metric == metric]
    lines = [_difference(c) for c in compared]
    draws = [{"control": arm_label(c.control), "at": at} for c in compared for at in c.by_draw]
    low, high = padded(
        [v for c in compared for v in (-c.half, c.half, c.mean, *c.by_draw)] or [0.0]
    )
    title = f"{METRICS[metric].gain_label}, {compared[0].unit}"
    scale = alt.Scale(domain=[low, high], nice=False)
    axis = alt.Axis(tickCount=5, labelExpr="datum.value == 0 ? '0' : format(datum.value, '+~g')")

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=title, scale=scale, axis=axis)

    ranges = from_values(lines).encode(row_axis("control", [line["control"] for line in lines]))
    points = from_values(draws).mark_point(
        filled=True, size=22, color=CONTROL, opacity=1, yOffset=11, clip=False
    )
    layers = [
        from_values([{"at": 0}]).mark_rule(color=MUTED).encode(x("at")),
        ranges.mark_rule(color=CONTROL, strokeWidth=2.5).encode(x("low"), alt.X2("high")),
        ranges.mark_point(filled=True, size=80, color=ACCENT, opacity=1).encode(x("mean")),
        ranges.mark_text(dy=-13, color=INK, fontWeight="bold").encode(
            x("mean"), alt.Text("label:N")
        ),
        points.encode(x("at"), alt.Y("control:N")),
        remark("selection better →", alt.value("width"), -8, "right"),
    ]
    described = "; ".join(f"against {line['control'].lower()} {line['words']}" for line in lines)
    return Drawing(
        to_svg(alt.layer(*layers), row=56, plot=PLOT - TICK_OVERHANG), f"{title}: {described}."
    )


def _difference(compared: Difference) -> dict[str, Any]:
    reach = f"a random draw within ±{significant(compared.half)}"
    verdict = f", {compared.verdict}" if compared.verdict else ""
    return {
        "control": arm_label(compared.control),
        "mean": compared.mean,
        "low": -compared.half,
        "high": compared.half,
        "label": signed(compared.mean),
        "words": f"{signed(compared.mean)}, {reach}{verdict}",
    }


def draw_funnel(funnel: Funnel) -> Drawing:
    """Draw what remains after each step, and beside it what the step took away."""
    steps = [("Records", FunnelStep("Records", (), funnel.records)), *_labelled_steps(funnel)]
    lines: list[dict[str, Any]] = [
        {
            "step": label,
            "remaining": step.remaining,
            "before": step.remaining - step.added + step.removed,
            "last": step is funnel.steps[-1],
            "label": number(step.remaining),
            "loss": f"+{number(funnel.generated)}" if label == WITH_GENERATED else _loss(step),
        }
        for label, step in steps
    ]
    counts_end = PLOT - DIGIT * max(len(line["loss"]) for line in lines) - 10
    bars_end = counts_end - DIGIT * max(len(line["label"]) for line in lines) - 12
    most = max(step.remaining for _, step in steps)
    scale = alt.Scale(domain=[0, most], range=[0, bars_end], nice=False)
    x = alt.X("remaining:Q", axis=None, scale=scale)
    bars = from_values(lines).encode(row_axis("step", [label for label, _ in steps]))
    colour = alt.when("datum.last").then(alt.value(ACCENT)).otherwise(alt.value(CONTROL))
    layers = [
        bars.mark_bar(height=18, color=FAINT).encode(x, alt.X2("before")),
        bars.mark_bar(height=18).encode(x, alt.X2(datum=0), color=colour),
        bars.mark_text(align="right", color=INK, fontWeight="bold").encode(
            alt.Text("label:N"), x=alt.value(counts_end)
        ),
        bars.mark_text(align="right", color=MUTED).encode(alt.Text("loss:N"), x=alt.value(PLOT)),
    ]
    described = "; ".join(f"{line['step']} {line['label']}" for line in lines)
    return Drawing(to_svg(alt.layer(*layers), row=30), f"Rows after each step: {described}.")


def _loss(step: FunnelStep) -> str:
    changes = [f"−{number(step.removed)}"] if step.removed else []
    return " ".join([*changes, f"+{number(step.added)}"] if step.added else changes)


def _labelled_steps(funnel: Funnel) -> list[tuple[str, FunnelStep]]:
    """Return the steps with their names; rows that were made join after the reading."""
    first, *others = funnel.steps
    read = replace(first, remaining=first.remaining - funnel.generated)
    joined = (
        [(WITH_GENERATED, FunnelStep("joined", (), first.remaining))] if funnel.generated else []
    )
    return [(_step_label(first), read), *joined, *((_step_label(step), step) for step in others)]


def _step_label(step: FunnelStep) -> str:
    return {"pool": "Rows read", "select": "Selected"}.get(step.stage, stage_label(step.stage))


def draw_sources(mix: Mix) -> Drawing:
    """Draw each source's share in pool and selection."""
    lines = mix.sources[:10]
    return _dumbbells([line.source for line in lines], lines, "sources")


def draw_origins(mix: Mix) -> Drawing:
    """Draw the largest origins' shares in pool and selection, all others together."""
    lines = [*mix.charted, *([mix.others] if mix.others else [])]
    alike = len({line.origin for line in mix.charted}) < len(mix.charted)
    labels = [origin_label(line, with_source=alike) for line in mix.charted]
    if mix.others:
        labels.append(f"{number(mix.origin_count - len(mix.charted))} others")
    return _dumbbells(labels, lines, "origins")


def origin_label(line: MixLine, *, with_source: bool) -> str:
    """Return an origin's name, after its source's if asked for."""
    origin = "(no origin)" if line.origin is None else line.origin
    return f"{line.source} / {origin}" if with_source else origin


def _dumbbells(names: Sequence[str], lines: Sequence[MixLine], what: str) -> Drawing:
    labels = axis_labels(names, WIDE_CHARS)
    described = "; ".join(
        f"{label} {percent(line.pool_share)} of the pool, {percent(line.selected_share)} of the "
        f"selection ({ratio(line.ratio)})"
        for label, line in zip(labels[:NAMED], lines, strict=False)
    )
    more = f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    words = f"Share of {what} in pool and selection: {described}{more}."
    pairs = tuple(
        Dumbbell(name, line.pool_share, line.selected_share)
        for name, line in zip(names, lines, strict=True)
    )
    return draw_chart(Dumbbells(pairs, words, shares=True))
