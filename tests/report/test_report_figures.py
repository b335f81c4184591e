from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import altair as alt
import pytest

from curate.clean.duplicate_figures import DuplicateFigures, ThresholdCurve
from curate.clean.duplicates_section import curve_chart
from curate.core.chart import (
    Chart,
    CountBars,
    CurveChart,
    Dumbbell,
    Dumbbells,
    Histogram,
    Histograms,
    ReliabilityChart,
    SplitHistogram,
    Strip,
    Strips,
)
from curate.core.histogram_bins import HistogramBin
from curate.core.section import Figure
from curate.report.charts import draw_chart
from curate.report.data import Report, gather
from curate.report.drawing import (
    PALETTE,
    WIDTH,
    Drawing,
    draw_unchecked,
    from_values,
    palette_css,
    to_svg,
)
from curate.report.figures import draw_all
from curate.report.funnel_chart import draw_funnel
from curate.runs.funnel import Funnel, FunnelStep
from tests.report.sections import blocks_of

MakeRun = Callable[..., Path]
HOSTILE = "</svg><script>alert(1)</script>\x00\x0b\ufffe\u202e&\"'"


def figures_of(report: Report, call: Callable[..., Any] = draw_unchecked) -> list[Drawing]:
    drawn = draw_all(report, call)
    grouped = [*drawn.pop("proof").values()]
    sections = report.stage_sections, report.selection_sections
    charts = [call(draw_chart, figure.chart) for figure in blocks_of(sections, Figure)]
    return [*grouped, *(figure for figure in drawn.values() if figure), *charts]


def curve_of(limit: float, dropped: int, counts: Sequence[int], floor: float = 0.6) -> CurveChart:
    step = (1 - floor) / (len(counts) - 1)
    thresholds = tuple(round(floor + i * step, 4) for i in range(len(counts)))
    figures = DuplicateFigures(10**8, dropped, limit, 1, ())
    return curve_chart(figures, ThresholdCurve(thresholds, tuple(counts)))


CURVES = {
    "usual": curve_of(0.7, 60, (90, 60, 30, 20, 0)),
    "at the floor": curve_of(0.6, 90, (90, 60, 30, 20, 0)),
    "only equal rows": curve_of(1.0, 3, (90, 60, 30, 20, 3)),
    "nothing": curve_of(0.7, 0, (0, 0, 0)),
    "millions": curve_of(0.9, 98_765_432, (98_765_432, 98_765_432, 1), 0.8),
    "down to a number": curve_of(0.8123, 41, (90, 60, 42, 20, 0)),
}


BINS = (HistogramBin(0.0, 0.5, 3, 1), HistogramBin(0.5, 1.0, 4, 0))
KINDS: tuple[Chart, ...] = (
    Histogram(BINS, "score", "Scores.", 0.4),
    Histograms((("one", BINS), ("two", BINS), ("three", BINS)), "Scores."),
    CURVES["usual"],
    ReliabilityChart(((0.1, 0.2), (0.5, 0.4)), "Shares."),
    Strips((Strip("a", (1.0, 2.0), 1.5), Strip("b", (3.0,))), "gain", "Gains.", 2.0, zero=True),
    Dumbbells((Dumbbell("a", 0.1, 0.3), Dumbbell("b", 0.4, 0.3)), "Means.", "mean", 0.2),
    Dumbbells((Dumbbell("a", 0.1, 0.3),), "Shares.", shares=True),
    SplitHistogram(((0.0, 1.0, 3, 4), (1.0, 2.0, 3, 0)), 1.0, "score", "Scores."),
    CountBars((("a", 3, "x"), ("b", 5, "y")), "rows", "tags", "Rows."),
)


@pytest.mark.parametrize("chart", KINDS, ids=lambda chart: type(chart).__name__)
def test_every_kind_is_as_the_schema_has_it_and_looks_the_same_unchecked(chart: Chart) -> None:
    checked: Drawing = draw_chart(chart)
    assert draw_unchecked(draw_chart, chart) == checked
    assert set(draw_chart.registry) - {object} == {*map(type, KINDS)}


def test_a_chart_that_is_not_as_the_schema_has_it_is_noticed() -> None:
    with alt.utils.schemapi.debug_mode(False):
        chart = from_values([{"a": 1}]).mark_bar(orient="sideways")
    with pytest.raises(alt.utils.schemapi.SchemaValidationError):
        to_svg(chart)


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_is_drawn_like_other_figures(name: str) -> None:
    figure = draw_chart(CURVES[name])
    palette = {shade.light for shade in PALETTE.values()}
    used = set(re.findall(r'(?:fill|stroke)="([^"]+)"', figure.svg)) - {"none", "transparent"}
    assert used <= palette
    assert re.findall(r'viewBox="0 0 (\d+)', figure.svg) == [str(WIDTH)]
    limit, dropped = CURVES[name].own
    own_point = f"{dropped:,.0f} at {limit}".replace("1.0", "1")
    assert own_point in texts_of(figure)
    assert figure.alt.endswith(f"this run {own_point}.")


def test_a_curve_names_thresholds_and_counts_in_words() -> None:
    words = draw_chart(CURVES["usual"]).alt
    assert words.startswith("Rows dropped by threshold: 90 at 0.6; 60 at 0.7; 30 at 0.8; 20 at 0.9")


def texts_of(figure: Drawing) -> list[str]:
    # ElementTree keeps escaped text as text, and fails on anything that is not well-formed.
    return [node.text or "" for node in ElementTree.fromstring(figure.svg).iter("text")]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        ("ink", "paper", 7), ("muted", "paper", 4.5), ("accent", "paper", 4.5),
        ("alarm", "alarm-paper", 4.5), ("ink", "alarm-paper", 7), ("accent", "alarm-paper", 4.5),
        ("ink", "mark", 4.5), ("ink", "faint", 7), ("control", "paper", 3),
    ],
)  # fmt: skip
def test_colours_can_be_told_apart(front: str, back: str, least: float, scheme: str) -> None:
    assert contrast(getattr(PALETTE[front], scheme), getattr(PALETTE[back], scheme)) >= least


def test_every_figure_is_as_the_schema_has_it_and_as_wide_as_the_others(
    make_run: MakeRun, drawn: dict[tuple[str, str], Any]
) -> None:
    # What was drawn before was not compared with the schema.
    drawn.clear()
    name = "a rather long name"
    run = make_run(origin=lambda i: f"{name}, {i % 30}", compared=("bm25", "perplexity_ratio"))
    figures = figures_of(gather(run), operator.call)
    assert len(figures) == 11
    assert {re.findall(r'viewBox="0 0 (\d+)', figure.svg)[0] for figure in figures} == {str(WIDTH)}


def test_figures_use_no_colour_that_the_dark_scheme_does_not_know(make_run: MakeRun) -> None:
    palette = {shade.light for shade in PALETTE.values()}
    css = palette_css()
    for figure in figures_of(gather(make_run(compared=("bm25",)))):
        used = set(re.findall(r'(?:fill|stroke)="([^"]+)"', figure.svg)) - {"none", "transparent"}
        assert used <= palette
        assert all(f'[fill="{colour}"]' in css for colour in used)


def test_text_in_figures_stays_text(make_run: MakeRun) -> None:
    report = gather(
        make_run(taint=HOSTILE, origin=lambda i: f"{i % 3}", source=lambda i: f"{i % 2}")
    )
    for figure in figures_of(report):
        assert "<script" not in figure.svg
        assert figure.svg.count("</svg>") == 1
        texts_of(figure)
    labels = [text for figure in figures_of(report) for text in texts_of(figure)]
    assert any("<script>" in label or "</svg>" in label for label in labels)
    assert any("\\" in label for label in labels)


def test_names_that_look_alike_when_cut_keep_their_own_lines(make_run: MakeRun) -> None:
    report = gather(make_run(origin=lambda i: "x" * 60 + str(i % 4) + "y" * 60))
    labels = [text for figure in figures_of(report) for text in texts_of(figure) if "x…" in text]
    assert len(labels) == len(set(labels)) == 4


def test_every_figure_says_in_words_what_it_shows(make_run: MakeRun) -> None:
    words = [figure.alt for figure in figures_of(gather(make_run()))]
    assert "+0.0236, a random draw within ±0.0363, within the range" in words[0]
    assert "Records 63; Rows read 60; Exact duplicates 54; Eval leaks 52; Selected 10" in words[2]
    assert all(word.endswith(".") for word in words)


def test_counts_of_millions_do_not_run_into_each_other(make_run: MakeRun) -> None:
    steps = (FunnelStep("pool", (), 98_765_432), FunnelStep("select", (("x", 98_765_000),), 432))
    svg = ElementTree.fromstring(draw_funnel(Funnel(98_765_432, steps)).svg)
    ends = {
        text: float(re.findall(r"translate\(([\d.]+)", node.get("transform", ""))[0])
        for node in svg.iter("text")
        if (text := node.text or "").strip("−")[:1].isdigit()
    }
    width = {text: 6.7 * len(text) for text in ends}
    assert ends["98,765,432"] < ends["−98,765,000"] - width["−98,765,000"]
    drawn = ElementTree.tostring(svg, encoding="unicode")
    bars = [float(n) for n in re.findall(r'd="M0,[\d.]+h([\d.]+)v18', drawn)]
    assert 60 < max(bars) < ends["98,765,432"] - width["98,765,432"]


def test_a_run_with_one_source_and_origin_draws_no_mix(make_run: MakeRun) -> None:
    drawn = draw_all(gather(make_run(source=lambda i: "s", origin=lambda i: "o")))
    assert drawn["sources"] is None
    assert drawn["origins"] is None


def test_differences_that_are_all_zero_are_drawn(make_run: MakeRun) -> None:
    run = make_run()
    text = (run / "proof.json").read_text()
    for number in ("0.0236225", "-0.0144", "0.0363", "0.0616", "0.01", "0.02"):
        text = text.replace(number, "0.0")
    (run / "proof.json").write_text(text)
    assert figures_of(gather(run))[0].svg
