"""The report's charts: altair specifications, drawn as `curate.report.drawing` has it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from curate.core.chart import Dumbbell, Dumbbells
from curate.core.lazy import lazy_module
from curate.core.numerals import number, percent, ratio, signed, significant
from curate.proof.metrics import METRICS
from curate.proof.proof_labels import arm_label
from curate.report.charts import draw_chart
from curate.report.curve_chart import draw_ability_curves
from curate.report.data import Mix, MixLine, Report
from curate.report.distributions import LanguageMix
from curate.report.drawing import (
    ACCENT,
    CONTROL,
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
from curate.report.fates_chart import draw_fates
from curate.report.funnel_chart import draw_funnel
from curate.report.groups_chart import draw_groups
from curate.report.lengths_chart import draw_lengths
from curate.report.proof import ControlComparison as Difference
from curate.report.proof import ProofPanel

if TYPE_CHECKING:
    import altair as alt
else:
    alt = lazy_module("altair")

NAMED = 3


def draw_all(report: Report, call: Callable[..., Any] = operator.call) -> dict[str, Any]:
    """Return every figure of a report by name; `proof` has one for each metric.

    Args:
        report: what to draw.
        call: calls the function that draws a figure with its data.
    """
    proof, mix, losses = report.proof, report.mix, report.losses
    return {
        "proof": {m: call(draw_proof, proof, m) for m in proof.drawn_metrics} if proof else {},
        "groups": call(draw_groups, proof.groups) if proof else None,
        "curve": call(draw_ability_curves, proof.curve)
        if proof and proof.curve and proof.curve.abilities
        else None,
        "funnel": draw_funnel(report.funnel),
        "fates": call(draw_fates, losses) if losses and losses.count > 1 else None,
        "sources": call(draw_sources, mix) if len(mix.sources) > 1 else None,
        "lengths": draw_lengths(report.lengths) if report.lengths else None,
        "languages": call(draw_languages, report.languages)
        if report.languages and report.languages.count > 1
        else None,
        "origins": call(draw_origins, mix) if mix.origin_count > 1 else None,
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
        remark("selection better →", "width", -8, "right"),
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


def draw_sources(mix: Mix) -> Drawing:
    """Draw each source's share in pool and selection."""
    lines = mix.sources[:10]
    return _dumbbells([line.source for line in lines], lines, "sources")


def draw_languages(mix: LanguageMix) -> Drawing:
    """Draw each language's share in the rows that a stage judged and in the selection."""
    shares = [line.counts.shares(mix.total) for line in mix.lines]
    names = [language_label(line.code) for line in mix.lines]
    described = "; ".join(
        f"{name} {percent(pool)} of the pool, {percent(selected)} of the selection"
        for name, (pool, _, selected) in list(zip(names, shares, strict=True))[:NAMED]
    )
    pairs = tuple(
        Dumbbell(name, pool, selected)
        for name, (pool, _, selected) in zip(names, shares, strict=True)
    )
    words = f"Share of languages in pool and selection: {described}."
    return draw_chart(Dumbbells(pairs, words, shares=True))


def language_label(code: str | None) -> str:
    """Return the code of a language, or why there is none."""
    return "too short to tell" if code is None else code


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
