"""How far random draws lie apart, and so what difference a proof can show: its power, in short.

Measured after the controls and before the selection, and kept: `curate check` quotes what the last run
with the same model, training, budget and eval set has found.
"""

from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from curate.core.calls import Table, cached_files
from curate.core.jsontypes import JSON
from curate.core.store import MANIFEST, Counts, write_json
from curate.proof.described import SpreadValues
from curate.proof.metrics import METRICS
from curate.proof.results import scored_examples
from curate.proof.statistics import Spread, measure_spread, prediction_factor

VERSION = 2
NAME, FILE = "spread", "spread.json"


def setting_of(
    budget: Mapping[str, JSON],
    identity: Mapping[str, JSON],
    lora: Mapping[str, object],
    then: JSON,
) -> dict[str, Any]:
    """Return what a spread holds for, beside its eval set.

    Args:
        budget: of the selection.
        identity: of the model that is tuned.
        lora: the recipe's `prove.lora`.
        then: its `prove.then`.
    """
    return {"budget": dict(budget), "model": dict(identity), "lora": lora, "then": then}


@cached_files(version=VERSION, name=NAME)
def write_spread(
    out: Path,
    results: Mapping[str, Table],
    eval: Table,
    metric: str,
    alpha: float,
    setting: Mapping[str, JSON],
) -> Counts:
    """Write spread.json: the spread of the draws, and the difference that can be shown.

    Args:
        out: the folder.
        results: of the draws of the control that is drawn most often.
        eval: the eval set.
        metric: that decides.
        alpha: of the proof.
        setting: what else the spread may be quoted for (setting_of).
    """
    deciding = METRICS[metric]
    values = [
        scored_examples(table.read()).select(deciding.values).drop_nulls()
        for table in results.values()
    ]
    means = [float(table.to_numpy().mean()) if table.height else 0.0 for table in values]
    step = 1 / values[0].height if deciding.counted and values[0].height else 0.0
    spread = describe_spread(measure_spread(means), alpha, metric, step)
    write_json(out / FILE, spread)
    return {"draws": len(means), "sentence": spread_sentence(spread)}


def describe_spread(spread: Spread, alpha: float, metric: str, step: float = 0.0) -> SpreadValues:
    """Return a spread and the difference that it lets a proof show, as proof.json has them.

    Args:
        spread: of the draws.
        alpha: of the proof.
        metric: that decides.
        step: by how much draws are taken to differ at least (see curate.proof.statistics.compare).
    """
    factor = prediction_factor(spread.draws, alpha)
    return {
        "draws": spread.draws,
        "mean": spread.mean,
        "sd": spread.sd,
        "low": spread.low,
        "high": spread.high,
        "metric": metric,
        "alpha": alpha,
        "factor": factor,
        "step": step,
        "detectable": factor * max(spread.sd, step),
        "detectable_low": factor * max(spread.low, step),
        "detectable_high": factor * max(spread.high, step),
    }


def tie_sentence(spread: SpreadValues, factor: float) -> str:
    """Return what draws that all score the same can show, in words.

    Args:
        spread: as `describe_spread` gives it.
        factor: how many standard deviations of the draws a difference has to exceed.
    """
    metric, step = METRICS[spread["metric"]], spread.get("step", 0.0)
    tie = f"{spread['draws']} random draws all have a mean {metric.label} of {spread['mean']:.3f}"
    if not step:
        return f"{tie}: no spread could be estimated, so nothing can be called better or worse"
    return (
        f"{tie}: no spread could be estimated; taken to differ by one example ({step:.3f}), they let a "
        f"difference above {factor * step:.3f} be shown"
    )


def power_sentence(spread: SpreadValues, draws: int, alpha: float) -> str:
    """Return what so many draws could show, by the spread of an earlier run, in words."""
    factor = prediction_factor(draws, alpha)
    if not spread["sd"]:
        return f"last time {tie_sentence(spread, factor)}"
    detectable = factor * max(spread["sd"], spread.get("step", 0.0))
    return (
        f"last time {spread['draws']} random draws had a spread of {spread['sd']:.3f}, so {draws} can "
        f"show a difference above {detectable:.3f} {METRICS[spread['metric']].unit}"
    )


def spread_sentence(spread: SpreadValues) -> str:
    """Return what random draws differ by and what can be shown, in words."""
    metric = METRICS[spread["metric"]]
    if not spread["sd"]:
        return f"{tie_sentence(spread, spread['factor'])}, in {metric.unit}"
    return (
        f"{spread['draws']} random draws have a mean {metric.label} of {spread['mean']:.3f} and a "
        f"spread (standard deviation) of {spread['sd']:.3f} "
        f"[{spread['low']:.3f}, {spread['high']:.3f}]; "
        f"with so many, a difference above {spread['detectable']:.3f} can be shown "
        f"[{spread['detectable_low']:.3f}, {spread['detectable_high']:.3f}], in "
        f"{metric.unit}"
    )


def last_spread(store: Path, setting: Mapping[str, JSON], eval_key: str) -> SpreadValues | None:
    """Return the newest stored spread of a setting and an eval set; None if there is none."""
    spread: SpreadValues | None = last_result(store, f"{NAME}/{FILE}", setting, eval_key)
    return spread


def last_result(store: Path, file: str, setting: Mapping[str, JSON], rows_key: str) -> Any:
    """Return the newest stored result of a setting and a set of rows; None if there is none.

    Args:
        store: the folder.
        file: the name of a step and of the JSON file that it writes: spread/spread.json.
        setting: what the result must be quoted for (setting_of).
        rows_key: key of rows that the step must have read.
    """
    step, _, name = file.partition("/")
    results = []
    for path in store.glob(f"{step}-*/{MANIFEST}"):
        try:
            manifest = orjson.loads(path.read_bytes())
            result = orjson.loads(path.with_name(name).read_bytes())
            same = manifest["params"]["setting"] == setting
            fits = same and rows_key in manifest["inputs"].values()
            results += [(path.stat().st_mtime, result)] if fits else []
        except (OSError, KeyError, TypeError, ValueError, AttributeError):
            continue
    return max(results, key=itemgetter(0))[1] if results else None
