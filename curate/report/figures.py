"""The report's charts: altair specifications, rendered to SVG without a browser.

Every chart is drawn about 420 px wide, so that it fits a column of the page and, hardly smaller, a
telephone. Colours come from PALETTE: a chart is drawn in the light ones, and `palette_css` turns
these into variables that follow the reader's colour scheme.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

from curate.report.data import Funnel, FunnelStep, Mix, MixLine, Report
from curate.report.duplicates import Level
from curate.report.proof import Comparison, Proof
from curate.report.scores import Coverage, Scores
from curate.report.wording import (
    arm_label,
    metric_label,
    number,
    percent,
    ratio,
    shorten,
    signed,
    significant,
    similarity,
    stage_label,
)

FONT = "'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
FONT_SIZE = 12
WIDTH = 420
# Room for the names beside a chart and for the marks; names of origins are long.
GUTTER, PLOT = 142, 264
WIDE_GUTTER, NARROW_PLOT = 196, 206
# A tick label at the right end sticks out so far.
TICK_OVERHANG = 14
# The width of a digit, bold.
DIGIT = 7
CHARS = 22
WIDE_CHARS = 29
CHARTED_TARGETS = 25
NAMED = 3
GAINS = {"loss": "loss lower by", "exact_match": "exact match higher by"}


@dataclass(frozen=True)
class Shade:
    """A colour on a light page and on a dark one."""

    light: str
    dark: str


PALETTE = {
    "paper": Shade("#ffffff", "#15181b"),
    "ink": Shade("#1d2126", "#e4e7ea"),
    "muted": Shade("#59626d", "#a3abb5"),
    "line": Shade("#d8dce1", "#343a41"),
    "faint": Shade("#e9ecef", "#2a3036"),
    "accent": Shade("#0b5fae", "#6bb3f7"),
    "control": Shade("#848d98", "#838c97"),
    "alarm": Shade("#a63c06", "#ffa26b"),
    "alarm-paper": Shade("#fdf3ec", "#2c1e15"),
    "mark": Shade("#ffe9a8", "#5a4708"),
}
INK, MUTED, LINE = PALETTE["ink"].light, PALETTE["muted"].light, PALETTE["line"].light
FAINT, ACCENT, CONTROL = PALETTE["faint"].light, PALETTE["accent"].light, PALETTE["control"].light


@dataclass(frozen=True)
class Figure:
    """A chart as SVG, and what it shows in words."""

    svg: str
    alt: str


def palette_css() -> str:
    """Return the colours as CSS variables, and the rules that make charts use them."""
    light = "".join(f"--{name}:{shade.light};" for name, shade in PALETTE.items())
    dark = "".join(f"--{name}:{shade.dark};" for name, shade in PALETTE.items())
    drawn = "\n".join(
        f'svg [{kind}="{shade.light}"]{{{kind}:var(--{name})}}'
        for name, shade in PALETTE.items()
        for kind in ("fill", "stroke")
    )
    return (
        f":root{{{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{drawn}\n"
    )


def draw_all(report: Report) -> dict[str, Any]:
    """Return every figure of a report by name; `proof` has one for each metric, `curves` for a stage."""
    proof, mix = report.proof, report.mix
    return {
        "proof": {m: draw_proof(proof, m) for m in proof.metrics} if proof else {},
        "funnel": draw_funnel(report.funnel),
        "curves": {x.merger.stage: draw_curve(x) for x in report.duplicates if x.curve},
        "sources": draw_sources(mix) if len(mix.sources) > 1 else None,
        "origins": draw_origins(mix) if mix.origin_count > 1 else None,
        "scores": draw_scores(report.scores) if report.scores else None,
        "coverage": draw_coverage(report.coverage) if report.coverage else None,
    }


def draw_proof(proof: Proof, metric: str) -> Figure:
    """Draw the differences of one metric: mean, interval and seeds, a line for each control."""
    told = [c for c in proof.comparisons if c.metric == metric]
    lines = [_difference(c) for c in told]
    seeds = [{"control": arm_label(c.control), "at": s} for c in told for s in c.by_seed]
    low, high = _padded([0.0, *(v for c in told for v in (c.low, c.high, *c.by_seed))])
    title = f"{GAINS.get(metric, metric_label(metric))}, {told[0].unit}"
    scale = alt.Scale(domain=[low, high], nice=False)
    axis = alt.Axis(tickCount=5, labelExpr="datum.value == 0 ? '0' : format(datum.value, '+~g')")

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=title, scale=scale, axis=axis)

    intervals = _chart(lines).encode(_rows("control", [line["control"] for line in lines]))
    points = _chart(seeds).mark_point(
        filled=True, size=22, color=CONTROL, opacity=1, yOffset=11, clip=False
    )
    layers = [
        _chart([{"at": 0}]).mark_rule(color=MUTED).encode(x("at")),
        intervals.mark_rule(color=ACCENT, strokeWidth=2.5).encode(x("low"), alt.X2("high")),
        intervals.mark_point(filled=True, size=80, color=ACCENT, opacity=1).encode(x("mean")),
        intervals.mark_text(dy=-13, color=INK, fontWeight="bold").encode(
            x("mean"), alt.Text("label:N")
        ),
        points.encode(x("at"), alt.Y("control:N")),
        _remark("selection better →", alt.value("width"), -8, "right"),
    ]
    described = "; ".join(f"against {line['control'].lower()} {line['told']}" for line in lines)
    return Figure(
        _svg(alt.layer(*layers), row=56, plot=PLOT - TICK_OVERHANG), f"{title}: {described}."
    )


def _difference(told: Comparison) -> dict[str, Any]:
    interval = f"{signed(told.low)} to {signed(told.high)}"
    return {
        "control": arm_label(told.control),
        "mean": told.mean,
        "low": told.low,
        "high": told.high,
        "label": signed(told.mean),
        "told": f"{signed(told.mean)}, interval {interval}, {told.verdict}",
    }


def draw_funnel(funnel: Funnel) -> Figure:
    """Draw what remains after each step, and beside it what the step took away."""
    first = FunnelStep("Records", (), funnel.records)
    steps = [(first.stage, first), *((_step_label(s), s) for s in funnel.steps)]
    lines: list[dict[str, Any]] = [
        {
            "step": label,
            "remaining": step.remaining,
            "before": step.remaining + step.removed,
            "last": step is funnel.steps[-1],
            "label": number(step.remaining),
            "loss": f"−{number(step.removed)}" if step.removed else "",
        }
        for label, step in steps
    ]
    counts_end = PLOT - DIGIT * max(len(line["loss"]) for line in lines) - 10
    bars_end = counts_end - DIGIT * max(len(line["label"]) for line in lines) - 12
    scale = alt.Scale(domain=[0, funnel.records], range=[0, bars_end], nice=False)
    x = alt.X("remaining:Q", axis=None, scale=scale)
    bars = _chart(lines).encode(_rows("step", [label for label, _ in steps]))
    colour = alt.when("datum.last").then(alt.value(ACCENT)).otherwise(alt.value(CONTROL))
    layers = [
        bars.mark_bar(height=18, color=FAINT).encode(x, alt.X2("before")),
        bars.mark_bar(height=18).encode(x, alt.X2(datum=0), color=colour),
        bars.mark_text(align="right", color=INK, fontWeight="bold").encode(
            alt.Text("label:N"), x=alt.value(counts_end)
        ),
        bars.mark_text(align="right", color=MUTED).encode(alt.Text("loss:N"), x=alt.value(PLOT)),
    ]
    told = "; ".join(f"{line['step']} {line['label']}" for line in lines)
    return Figure(_svg(alt.layer(*layers), row=30), f"Rows after each step: {told}.")


def _step_label(step: FunnelStep) -> str:
    return {"pool": "Rows read", "select": "Selected"}.get(step.stage, stage_label(step.stage))


def draw_curve(level: Level) -> Figure:
    """Draw how many rows each threshold drops, and where the run's lies."""
    curve, merger = level.curve, level.merger
    if curve is None:
        raise ValueError(f"{merger.stage} has no curve")
    values = [
        {"at": at, "dropped": dropped}
        for at, dropped in zip(curve.thresholds, curve.dropped, strict=True)
    ]
    low, high = curve.thresholds[0], curve.thresholds[-1]
    scale = alt.Scale(domain=[low, high], nice=False)
    ticks = alt.Axis(tickCount=5, format="~g", labelFlush=False)
    x = alt.X("at:Q", title="threshold", scale=scale, axis=ticks)
    most = max(*curve.dropped, merger.dropped, 1)
    axis = alt.Axis(tickCount=min(4, most), format="~s", minExtent=50, maxExtent=50, grid=True)
    top = alt.Scale(domain=[0, most * 1.08], nice=False)
    y = alt.Y("dropped:Q", title="rows dropped", scale=top, axis=axis)
    ran = _chart([{"at": merger.limit, "dropped": merger.dropped}])
    told = f"{number(merger.dropped)} at {similarity(merger.limit)}"
    place = (merger.limit - low) / (high - low) if high > low else 0.0
    label = ran.mark_text(
        text=told, align="left" if place < 0.2 else "right" if place > 0.8 else "center",
        baseline="bottom", color=ACCENT, fontWeight="bold",
    )  # fmt: skip
    layers = [
        _chart(values).mark_line(color=CONTROL, strokeWidth=2).encode(x, y),
        ran.mark_rule(color=ACCENT, strokeDash=[3, 3]).encode(x),
        ran.mark_point(filled=True, size=80, color=ACCENT, opacity=1).encode(x, y),
        label.encode(x, y=alt.value(-5)),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH - 80 - TICK_OVERHANG, height=150)
    some = values[:: max(len(values) // 4, 1)]
    points = "; ".join(f"{number(v['dropped'])} at {similarity(v['at'])}" for v in some)
    return Figure(_svg(chart), f"Rows dropped by threshold: {points}; this run {told}.")


def draw_sources(mix: Mix) -> Figure:
    """Draw each source's share in pool and selection."""
    lines = mix.sources[:10]
    return _dumbbells([line.source for line in lines], lines, "sources")


def draw_origins(mix: Mix) -> Figure:
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


def _dumbbells(names: Sequence[str], lines: Sequence[MixLine], what: str) -> Figure:
    labels = _labels(names, WIDE_CHARS)
    wide = max(map(len, labels)) > CHARS
    gutter, plot = (WIDE_GUTTER, NARROW_PLOT) if wide else (GUTTER, PLOT - TICK_OVERHANG)
    values = [
        {"name": label, "pool": line.pool_share, "selected": line.selected_share}
        for label, line in zip(labels, lines, strict=True)
    ]
    largest = max(max(line.pool_share, line.selected_share) for line in lines)
    scale = alt.Scale(domain=[0, largest * 1.04], nice=False)
    axis = alt.Axis(format="~%", tickCount=5, orient="top")

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=None, scale=scale, axis=axis)

    base = _chart(values).encode(_rows("name", labels, gutter))
    layers = [
        base.mark_rule(color=LINE, strokeWidth=3).encode(x("pool"), alt.X2("selected")),
        base.mark_point(filled=True, size=55, color=CONTROL, opacity=1).encode(x("pool")),
        base.mark_point(filled=True, size=55, color=ACCENT, opacity=1).encode(x("selected")),
    ]
    told = "; ".join(
        f"{label} {percent(line.pool_share)} of the pool, {percent(line.selected_share)} of the "
        f"selection ({ratio(line.ratio)})"
        for label, line in zip(labels[:NAMED], lines, strict=False)
    )
    more = f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    words = f"Share of {what} in pool and selection: {told}{more}."
    return Figure(_svg(alt.layer(*layers), row=24, plot=plot), words)


def draw_scores(scores: Scores) -> Figure:
    """Draw two histograms of the scores, of the chosen rows and of the others, and the cut."""
    values = [
        {"low": b.low, "high": b.high, "selected": b.selected, "others": b.not_selected}
        for b in scores.bins
    ]
    scale = alt.Scale(domain=[scores.bins[0].low, scores.bins[-1].high], nice=False)

    def panel(field: str, title: str, colour: str, height: int) -> alt.LayerChart:
        last = field == "others"
        axis = alt.Axis(title="score", tickCount=6) if last else None
        x = alt.X("low:Q", scale=scale, axis=axis)
        y = alt.Y(
            f"{field}:Q",
            title="rows",
            axis=alt.Axis(tickCount=3, tickMinStep=1, format="~s", minExtent=50, maxExtent=50),
        )
        bars = (
            _chart(values)
            .mark_bar(color=colour, binSpacing=1)
            .encode(x, alt.X2("high"), y, alt.Y2(datum=0))
        )
        cut = _chart([{"low": scores.cut}]).mark_rule(color=INK, strokeDash=[3, 3])
        title_mark = _remark(title, 0, -8, "left", colour=MUTED if last else colour)
        return alt.layer(bars, cut.encode(x), title_mark).properties(
            width=WIDTH - 80, height=height
        )

    chosen = panel("selected", f"{number(scores.selected)} selected", ACCENT, 80)
    others = panel("others", f"{number(scores.not_selected)} not selected", CONTROL, 110)
    words = (
        f"Histogram of scores from {significant(scores.bins[0].low)} to "
        f"{significant(scores.bins[-1].high)}: {number(scores.selected)} selected rows lie at "
        f"{significant(scores.cut)} and above; {number(scores.not_selected)} were not selected."
    )
    return Figure(_svg(alt.vconcat(chosen, others, spacing=26)), words)


def draw_coverage(coverage: Coverage) -> Figure:
    """Draw how many selected rows are nearest to each target example, thinnest first."""
    shown = coverage.examples[:CHARTED_TARGETS]
    labels = _labels([example.row_id.rsplit("/", 1)[-1] for example in shown], CHARS)
    values = [
        {
            "target": label,
            "rows": example.rows,
            "best": significant(example.best),
            "count": number(example.rows),
        }
        for label, example in zip(labels, shown, strict=True)
    ]
    largest = max(1, *(example.rows for example in shown))
    scale = alt.Scale(domain=[0, largest], range=[0, PLOT - 90], nice=False)
    x = alt.X("rows:Q", axis=None, scale=scale)
    base = _chart(values).encode(_rows("target", labels))
    layers = [
        base.mark_bar(height=11, color=ACCENT).encode(x),
        base.mark_text(align="left", dx=5, color=INK).encode(x, alt.Text("count:N")),
        base.mark_text(align="right", color=MUTED).encode(alt.Text("best:N"), x=alt.value(PLOT)),
        _remark("rows nearest to it", 0, -10, "left"),
        _remark("best similarity", PLOT, -10, "right"),
    ]
    told = f"Selected rows nearest to each target example: from {number(shown[0].rows)} for "
    words = f"{told}{labels[0]} to {number(max(e.rows for e in coverage.examples))}."
    return Figure(_svg(alt.layer(*layers), row=19), words)


def _chart(values: Sequence[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.Data(values=list(values)))


def _rows(field: str, order: Sequence[str], gutter: int = GUTTER) -> alt.Y:
    """Return a y encoding with a labelled line for each name, in the order given."""
    axis = alt.Axis(ticks=False, minExtent=gutter, maxExtent=gutter, labelLimit=gutter - 10)
    return alt.Y(f"{field}:N", sort=list(order), title=None, axis=axis)


def _remark(text: str, x: Any, y: int, align: Any, *, colour: str = MUTED) -> alt.Chart:
    """Return a line of text at pixels x and y of a panel; its bottom is there."""
    mark = _chart([{}]).mark_text(text=text, align=align, baseline="bottom", color=colour)
    return mark.encode(x=x if isinstance(x, dict) else alt.value(x), y=alt.value(y))


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _labels(names: Sequence[str], chars: int) -> list[str]:
    """Return short names for an axis, made distinct by a number where cutting made them equal."""
    short = [shorten(name, chars) for name in names]
    seen: Counter[str] = Counter()
    labels = []
    for name in short:
        seen[name] += 1
        labels.append(name if seen[name] == 1 else f"{seen[name]}: {name}")
    return labels


def _svg(chart: Any, row: int | None = None, plot: int = PLOT) -> str:
    """Render a chart, each of its rows so many pixels high, in a WIDTH that all charts share.

    The opening tag is reduced to the size, for which CSS has the last word.
    """
    sized = chart.properties(width=plot, height=alt.Step(row)) if row else chart
    text = {"labelFont": FONT, "titleFont": FONT, "labelFontSize": FONT_SIZE}
    themed = (
        sized.configure(font=FONT, background="transparent", padding=2, aria=False)
        .configure_view(stroke=None)
        .configure_text(fontSize=FONT_SIZE, font=FONT)
        .configure_axis(
            **text, labelColor=MUTED, titleColor=MUTED, titleFontSize=FONT_SIZE,
            titleFontWeight="normal", gridColor=FAINT, domain=False, tickColor=LINE,
        )
        .configure_axisX(titlePadding=8)
        .configure_axisY(grid=False, labelPadding=8)
        .configure_axisDiscrete(labelColor=INK)
    )  # fmt: skip
    svg = vl_convert.vegalite_to_svg(themed.to_dict(), vl_version=_vega_lite_version())
    size = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg)
    if size is None:
        raise ValueError(f"vl-convert returned an SVG without a size: {svg[:200]}")
    wide, high = max(WIDTH, round(float(size[1]))), size[2]
    tag = f'<svg viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" aria-hidden="true">'
    return tag + svg.split(">", 1)[1]


def _vega_lite_version() -> str:
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
