"""What a curve says: points and class of each ability, the budget that is enough, all in a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.keyed import KeyedRecord
from curate.proof.abilities import PairedTest, classify, paired_test
from curate.proof.metrics import Metric
from curate.proof.results import gains_of
from curate.proof.statistics import Matrix
from curate.proof.values import MetricSetting

# The least margin: a loss hardly differs by this; of examples that are right or wrong it is one of them.
FLOOR = 0.02


@dataclass(frozen=True)
class CurveDesign(KeyedRecord):
    """What a curve compares.

    runs: how many models selection and control have of each size. control: its name. factor: what the
    budget is divided by, once and once more. divisors: the points, 1 first. left_out: those that leave
    too few rows. sizes: mean rows and tokens by divisor and arm. metric: the recipe's `prove.metric`.
    """

    runs: Mapping[str, int]
    control: str
    factor: int
    divisors: Sequence[int]
    left_out: Sequence[int]
    sizes: Sequence[Mapping[str, Any]]
    metric: MetricSetting


@dataclass(frozen=True)
class LearningCurve:
    """Gains of selection, control and base on some eval examples, by what the budget is divided by."""

    selected: Mapping[int, Matrix]
    control: Mapping[int, Matrix]
    base: NDArray[np.float64]

    @property
    def examples(self) -> int:
        """Return how many eval examples it is measured on."""
        return len(self.base)

    def gain(self, divisor: int, margin: float) -> PairedTest:
        """Return what the whole selection gains over a prefix of it."""
        return paired_test(self.selected[1], self.selected[divisor], margin)


def prefix_name(arm: str, divisor: int) -> str:
    """Return the name of an arm's prefix, e.g. "selected-4"; that of the whole is the arm's own."""
    return arm if divisor == 1 else f"{arm}-{divisor}"


def describe_curve(points: pl.DataFrame, metric: Metric, design: CurveDesign) -> dict[str, Any]:
    """Return a curve as proof.json has it.

    Args:
        points: arm, seed, eval_id, ability and metrics of every measured model.
        metric: the one that decides the verdict.
        design: that of the curve.
    """
    points = points.filter(pl.col(metric.name).is_not_null())
    control, divisors = design.control, design.divisors
    whole = _curve(points, metric, control, divisors)
    floor = 1 / whole.examples if metric.counted else FLOOR
    margin = max(float(whole.control[1].mean(axis=1).std(ddof=1)), floor)
    rows = {s["divisor"]: round(s["rows"]) for s in design.sizes if s["arm"] == "selected"}
    names = points["ability"].unique().sort().to_list()
    curves = [_curve(points.filter(ability=name), metric, control, divisors) for name in names]
    described: dict[str, Any] = {
        "factor": design.factor,
        "metric": metric.name,
        "unit": metric.unit,
        "control": control,
        "margin": margin,
        "sizes": _sizes(design),
        "left_out": design.left_out,
        "total": _describe(whole, metric, rows, margin),
        "abilities": [
            {"ability": name, **_describe(curve, metric, rows, margin)}
            for name, curve in zip(names, curves, strict=True)
        ],
    }
    if len(divisors) > 1:
        tests = [curve.gain(divisors[1], margin) for curve in curves]
        for ability, growth in zip(described["abilities"], classify(tests), strict=True):
            ability["class"] = growth
        described["total"]["class"] = classify([whole.gain(divisors[1], margin)])[0]
    described["sentence"] = curve_sentence(described, metric)
    return described


def _sizes(design: CurveDesign) -> list[dict[str, Any]]:
    """Return rows and mean tokens of selection and control at each size, the largest first."""
    of = {(size["divisor"], size["arm"]): size for size in design.sizes}
    return [
        {
            "divisor": d,
            "rows": round(of[d, "selected"]["rows"]),
            "tokens": round(of[d, "selected"]["tokens"]),
            "control_rows": of[d, design.control]["rows"],
            "control_tokens": of[d, design.control]["tokens"],
        }
        for d in design.divisors
    ]


def _curve(
    points: pl.DataFrame, metric: Metric, control: str, divisors: Sequence[int]
) -> LearningCurve:
    def gains(arm: str) -> dict[int, Matrix]:
        return {d: gains_of(points, prefix_name(arm, d), metric) for d in divisors}

    return LearningCurve(gains("selected"), gains(control), gains_of(points, "base", metric)[0])


def _describe(
    curve: LearningCurve, metric: Metric, rows: Mapping[int, int], margin: float
) -> dict[str, Any]:
    """Return points of a curve, the gain of its last step, and the fewest rows that are enough."""
    divisors = [*curve.selected]
    described: dict[str, Any] = {
        "examples": curve.examples,
        "base": float(metric.gain(curve.base).mean()),
        "points": [_point(curve, metric, d, rows[d]) for d in divisors],
        "enough": enough_rows({rows[d]: curve.gain(d, margin) for d in divisors[1:]}, margin),
    }
    if len(divisors) > 1:
        described |= asdict(curve.gain(divisors[1], margin))
    return described


def _point(curve: LearningCurve, metric: Metric, divisor: int, rows: int) -> dict[str, Any]:
    selected, control = (
        metric.gain(gains[divisor]).mean(axis=1) for gains in (curve.selected, curve.control)
    )
    return {
        "rows": rows,
        "selected": float(selected.mean()),
        "by_seed": selected.tolist(),
        "control": float(control.mean()),
        "by_draw": control.tolist(),
    }


def enough_rows(gains: Mapping[int, PairedTest], margin: float) -> int | None:
    """Return the fewest rows from which on the gain to the whole selection is below the margin.

    A smaller size is looked at only where the larger one is enough, so that no level needs to be divided
    among them.

    Args:
        gains: of the whole selection over a prefix, by the rows of the prefix.
        margin: what is no gain to speak of.
    """
    enough = None
    for rows in sorted(gains, reverse=True):
        if not gains[rows].high < margin:
            break
        enough = rows
    return enough


def curve_sentence(curve: Mapping[str, Any], metric: Metric) -> str:
    """Return which abilities still grow and which budget is enough, in words."""
    rows = [size["rows"] for size in curve["sizes"]]
    if len(rows) == 1:
        return f"No curve: {_left_out(curve, rows[0])}."
    total = curve["total"]
    label = metric.gain_label[0].upper() + metric.gain_label[1:]
    text = (
        f"{label} {total['gain']:+.3f} [{total['low']:+.3f}, {total['high']:+.3f}] with "
        f"{rows[0]} rows than with {rows[1]} of them"
    )
    groups = [
        (growth, [a["ability"] for a in curve["abilities"] if a["class"] == growth])
        for growth in ("growing", "saturated", "harmed", "not shown")
    ]
    classes = "; ".join(f"{growth}: {', '.join(names)}" for growth, names in groups if names)
    margin = f"the margin of {curve['margin']:.3f} {metric.unit}"
    if total["enough"] is None:
        end = f"No smaller budget is shown to be enough, by {margin}"
    else:
        end = (
            f"{total['enough']} rows are enough: from there on the gain to {rows[0]} is below {margin} "
            f"(`curate plan RUN --budget {total['enough']}`)"
        )
    left_out = f" Left out: {_left_out(curve, rows[0])}." if curve["left_out"] else ""
    return f"{text}; {classes}. {end}.{left_out}"


def _left_out(curve: Mapping[str, Any], rows: int) -> str:
    parts = " and ".join(f"1/{divisor}" for divisor in curve["left_out"])
    return f"{parts} of {rows} rows, which are too few to train on"
