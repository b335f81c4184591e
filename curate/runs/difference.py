"""Two runs compared: what their recipes differ in, their funnels, what both select, their verdicts."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from curate.runs.folder import RunFolder
from curate.runs.funnel import gather_funnel
from curate.runs.verdict_text import read_verdict

# Where results and names lie says nothing of the rows.
APART = ("name", "store", "out", "run")
WIDTH = 40


def difference_lines(one: RunFolder, other: RunFolder) -> Iterator[str]:
    """Yield what two runs differ in and have in common.

    Raises:
        ValueError: the tables of a run contradict each other.
    """
    yield f"A  {one.path}"
    yield f"B  {other.path}"
    yield ""
    yield from _recipe_lines(one.manifest["config"], other.manifest["config"])
    yield from _funnel_lines(one, other)
    yield from _selection_lines(one, other)
    for letter, run in (("A", one), ("B", other)):
        proof = read_verdict(run)
        yield f"{letter}: {proof['sentence'] if proof else 'not proved'}"


def _recipe_lines(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of the recipes whose values differ."""
    left, right = (dict(_flat(config)) for config in (one, other))
    keys = [k for k in dict.fromkeys([*left, *right]) if k.partition(".")[0] not in APART]
    different = [key for key in keys if left.get(key) != right.get(key)]
    yield f"{'recipe':<{WIDTH}}  A  |  B" if different else "The recipes are the same."
    for key in different:
        yield f"{key:<{WIDTH}}  {_value(left, key)}  |  {_value(right, key)}"


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a recipe by their keys: stages.1.threshold."""
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    if not items:
        yield place, value
    for key, inner in items:
        yield from _flat(inner, f"{place}.{key}" if place else str(key))


def _value(values: dict[str, Any], key: str) -> str:
    return "-" if key not in values else str(values[key])


def _funnel_lines(one: RunFolder, other: RunFolder) -> Iterator[str]:
    """Yield what remains after each step of the runs."""
    funnels = [gather_funnel(run) for run in (one, other)]
    remaining = [{step.stage: step.remaining for step in funnel.steps} for funnel in funnels]
    yield ""
    yield f"{'rows':<{WIDTH}}  {'A':>10}  {'B':>10}"
    yield f"{'records':<{WIDTH}}  {funnels[0].records:>10,}  {funnels[1].records:>10,}"
    # The selection is last in both.
    stages = [s for s in dict.fromkeys([*remaining[0], *remaining[1]]) if s != "select"]
    for stage in [*stages, "select"]:
        counts = [f"{rows[stage]:,}" if stage in rows else "-" for rows in remaining]
        yield f"{f'left after {stage}':<{WIDTH}}  {counts[0]:>10}  {counts[1]:>10}"


def _selection_lines(one: RunFolder, other: RunFolder) -> Iterator[str]:
    """Yield how many rows both select, by their ids and by their texts."""
    selected = [
        run.table("selected").select("row_id", "content_hash").collect() for run in (one, other)
    ]
    yield ""
    for column, what in (("row_id", "rows of one id"), ("content_hash", "rows of one text")):
        left, right = (table[column].unique() for table in selected)
        both = left.is_in(right.implode()).sum()
        total = pl.concat([left, right]).n_unique()
        share = f" ({both / total:.0%} of those of either)" if total else ""
        yield f"{f'{what} in both selections':<{WIDTH}}  {both:>10,}{share}"
    yield ""
