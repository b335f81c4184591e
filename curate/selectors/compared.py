"""Methods to compare with the run's own: how a recipe writes them, what they take over from `select:`.

compare: [bm25, {method: rds, combine: global_max}]
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field, ValidationInfo, create_model

from curate.core.errors import UserError
from curate.core.params import Params
from curate.core.selector import Selector
from curate.core.selectparams import Budget, SelectParams
from curate.core.tables import read_table
from curate.selectors.planner import common_plan
from curate.selectors.race import RaceParams

CONTROL = "random"
OWN_KEYS = "budget, filter, shares and diversity are those of select where it gives none of its own"


def numbered(kinds: Sequence[str]) -> list[str]:
    """Return distinct names: the kinds themselves, numbered from the second of a kind on."""
    repeats = [kinds[:i].count(kind) for i, kind in enumerate(kinds)]
    return [f"{kind}-{n + 1}" if n else kind for kind, n in zip(kinds, repeats, strict=True)]


def selection_names(select: Selector | RaceParams, compare: Sequence[Selector]) -> list[str]:
    """Return the names of a run's selections: their methods, the run's own first."""
    return numbered([params.method for params in (select, *compare)])


def candidate_names(race: RaceParams) -> list[str]:
    """Return the names of a race's candidates: their methods."""
    return numbered([entry["method"] for entry in race.of])


def scoring(params: Selector) -> dict[str, Any]:
    """Return the parameters that go into a method's scores: two selections with the same share them."""
    dump = params.model_dump(mode="json")
    changeable = {*SelectParams.model_fields, *params.rank_params}
    return {key: value for key, value in dump.items() if key not in changeable}


def fill_compared(value: Any, info: ValidationInfo) -> Any:
    """Return the methods to compare, each with the plan of `select:` where it has none of its own.

    A random draw is added if there is none: it costs nothing, and without it nobody knows how much two
    selections overlap by chance.
    """
    entries = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(entries, list):
        return value
    select = info.data.get("select")
    plan = _plan_of(select)
    method_entries = [{"method": entry} if isinstance(entry, str) else entry for entry in entries]
    methods = {entry.get("method") for entry in method_entries if isinstance(entry, Mapping)}
    if "race" in methods:
        raise ValueError("a race chooses the run's own selection: it stands under `select:` alone")
    if select is not None:
        methods.add(select.method)
    if method_entries and CONTROL not in methods:
        method_entries.append({"method": CONTROL})
    return [{**plan, **entry} if isinstance(entry, Mapping) else entry for entry in method_entries]


def _plan_of(select: Selector | RaceParams | None) -> dict[str, Any]:
    try:
        return common_plan(select) if select is not None else {"budget": Budget(rows=1)}
    except UserError:
        # A condition that is no SQL: told of as a fault of `select:`, once.
        return {"budget": Budget(rows=1)}


def without_budget(selector: type[Selector]) -> type[Params]:
    """Return a selector as `compare:` takes it, for the JSON schema."""
    return create_model(
        f"Compared{selector.__name__}",
        __base__=selector,
        __doc__=f"{selector.__doc__}\n\nTo compare: {OWN_KEYS}.",
        budget=(Budget | None, Field(None, description="that of select if not given")),
    )


def compared_lines(run: Path) -> list[str]:
    """Return a line for each method that a run compares: what it has in common with the run's own."""
    path = run / "evidence" / "comparison-overlap.parquet"
    if not path.is_file():
        return []
    overlap = read_table(path)
    own = overlap.filter(pl.col("one") == overlap["one"][0])
    other_methods = own.select(
        "other", "shared", "other_rows", "jaccard", "by_chance", "correlation"
    )
    return [
        f"{name}: {shared:,} of its {rows:,} rows are in the selection too (Jaccard {jaccard:.2f}, "
        f"by chance {chance:.2f}"
        + (")" if correlation is None else f"; rank correlation {correlation:+.2f})")
        for name, shared, rows, jaccard, chance, correlation in other_methods.iter_rows()
    ]
