"""What another threshold or another selection would give, from what the run stored: seconds, no model.

An answer has the rows that it changes, the selection that it leads to, and the commands that do it.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from curate.config.names import stage_names
from curate.core.cut import CutParams
from curate.core.jsontypes import JSON
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.runs.alternative import rethresholded_alternative
from curate.runs.folder import RunFolder
from curate.runs.plan import plan_selection, tokens_of
from curate.runs.rethreshold import find_rethresholdable, has_threshold, rethreshold

EXAMPLES = 5
MIXED = 12


@dataclass(frozen=True)
class RowExample:
    """A row that an answer changes: its score, and the row that it duplicates if it does."""

    row_id: str
    score: float | None
    duplicate_of: str | None = None


@dataclass(frozen=True)
class RowChange:
    """Rows that an answer changes in one way: how many, and the first of them."""

    title: str
    count: int
    examples: tuple[RowExample, ...]


@dataclass(frozen=True)
class SelectionFigures:
    """A selection beside the run's own: its size, what both have, and its mix by source and origin.

    tokens, run_tokens: None if the run counted none.
    absent: rows that it might hold, but that have no score or no verdict of a later stage.
    """

    rows: int
    tokens: int | None
    run_rows: int
    run_tokens: int | None
    both: int
    mix: tuple[tuple[str, str | None, int, int], ...]
    absent: int = 0


@dataclass(frozen=True)
class WhatIfAnswer:
    """What a change comes to: figures, rows that come and go, and the commands that do the same."""

    selection: SelectionFigures
    changes: tuple[RowChange, ...]
    commands: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    judged: int = 0
    dropped: int = 0
    run_dropped: int = 0
    threshold: float | None = None


def threshold_answer(run: RunFolder, name: str, overrides: Sequence[str]) -> WhatIfAnswer:
    """Return what other parameters of a stage would give.

    Args:
        run: a finished run.
        name: the stage.
        overrides: as `curate rethreshold --set` takes them.

    Raises:
        UserError: as `rethreshold` does.
    """
    overrides = freeing_overrides(find_rethresholdable(run, name), overrides)
    result = rethreshold(run, name, overrides, points=0)
    alternative = rethresholded_alternative(run, result)
    now, before = (one.filter(keep=False) for one in (result.evidence, result.before))
    threshold = result.evidence["threshold"].min()
    return WhatIfAnswer(
        _figures(run, alternative.ranking, alternative.absent),
        (
            _change("come back", before, now),
            _change("go", now, before),
        ),
        _stage_commands(run, name, overrides),
        judged=result.evidence.height,
        dropped=now.height,
        run_dropped=before.height,
        threshold=threshold if isinstance(threshold, float) else None,
    )


def freeing_overrides(stage: Stage, overrides: Sequence[str]) -> list[str]:
    """Return changes that a threshold needs as well: what else would set it, off."""
    names = {one.partition("=")[0] for one in overrides}
    rivals = ["drop"] if isinstance(stage, CutParams) else ["rows"]
    given = [
        name for name in rivals if name not in names and getattr(stage, name, None) is not None
    ]
    return [*overrides, *(f"{name}=null" for name in given if "threshold" in names)]


def _change(title: str, rows: pl.DataFrame, others: pl.DataFrame) -> RowChange:
    """Return the rows that are dropped here and not there, those nearest to the threshold first."""
    changed = rows.join(others, on="row_id", how="anti")
    margin = (pl.col("score") - pl.col("threshold")).abs()
    nearest = changed.sort([margin, "row_id"], nulls_last=True).head(EXAMPLES)
    examples = nearest.select("row_id", "score", "duplicate_of").iter_rows()
    return RowChange(title, changed.height, tuple(RowExample(*row) for row in examples))


def _stage_commands(run: RunFolder, name: str, overrides: Sequence[str]) -> tuple[str, ...]:
    place = stage_names(run.config.stages).index(name)
    settings = [word for one in overrides for word in ("--set", one)]
    recipe = [word for one in overrides for word in ("--set", f"stages.{place}.{one}")]
    return (
        shlex.join(["curate", "rethreshold", str(run.path), name, *settings]),
        f"curate run RECIPE {shlex.join(recipe)}",
    )


def plan_answer(run: RunFolder, budget: str | None, overrides: Sequence[str]) -> WhatIfAnswer:
    """Return what another plan of the selection would give.

    Args:
        run: a finished run.
        budget: as `curate plan --budget` takes it.
        overrides: as `curate plan --set` takes them.

    Raises:
        UserError: as `plan_selection` does.
    """
    planned = plan_selection(run, budget, overrides)
    own = run.table("evidence/select").filter("selected").collect()
    chosen = planned.ranking.filter("selected")
    return WhatIfAnswer(
        _figures(run, planned.ranking),
        (_entering("come in", chosen, own), _entering("go out", own, chosen)),
        _plan_commands(run, budget, overrides, planned.params),
        tuple(planned.remarks),
    )


def _entering(title: str, rows: pl.DataFrame, others: pl.DataFrame) -> RowChange:
    """Return the rows that are selected here and not there, the best first."""
    changed = rows.join(others, on="row_id", how="anti").sort("rank", "row_id")
    examples = changed.head(EXAMPLES).select("row_id", pl.col("score").cast(pl.Float64)).iter_rows()
    return RowChange(title, changed.height, tuple(RowExample(*row) for row in examples))


def _plan_commands(
    run: RunFolder, budget: str | None, overrides: Sequence[str], params: Selector
) -> tuple[str, ...]:
    words = ["curate", "plan", str(run.path)]
    words += ["--budget", budget] if budget is not None else []
    words += [word for one in overrides for word in ("--set", one)]
    before, after = run.select.model_dump(mode="json"), params.model_dump(mode="json")
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    recipe = [word for k, value in changed.items() for word in ("--set", _setting(k, value))]
    return (shlex.join(words), *([f"curate run RECIPE {shlex.join(recipe)}"] if recipe else []))


def _setting(key: str, value: JSON) -> str:
    """Return a key of `select` with its value, as `--set` takes it."""
    if key == "budget" and isinstance(value, dict):
        name, amount = next((n, amount) for n, amount in value.items() if amount is not None)
        return f"select.budget={{{name}: {amount}}}"
    return f"select.{key}={json.dumps(value, ensure_ascii=False)}"


def _figures(run: RunFolder, ranking: pl.DataFrame, absent: int = 0) -> SelectionFigures:
    """Return the size of a selection, and its mix beside that of the run's."""
    own = run.table("evidence/select").filter("selected").collect()
    chosen = ranking.filter("selected")
    origins = run.table("ledger").select("row_id", "source", "origin")
    sides = [
        origins.join(rows.lazy().select("row_id"), on="row_id", how="semi")
        .group_by("source", "origin")
        .agg(pl.len().cast(pl.Int64).alias(name))
        for name, rows in (("now", chosen), ("before", own))
    ]
    groups = ["source", "origin"]
    mix = (
        sides[0]
        .join(sides[1], on=groups, how="full", coalesce=True, nulls_equal=True)
        .select(*groups, pl.col("now").fill_null(0), pl.col("before").fill_null(0))
        .sort("now", "before", *groups, descending=[True, True, False, False])
        .collect()
    )
    return SelectionFigures(
        chosen.height,
        tokens_of(chosen),
        own.height,
        tokens_of(own),
        chosen.join(own, on="row_id", how="semi").height,
        tuple(mix.head(MIXED).iter_rows()),
        absent,
    )


def stages_with_thresholds(run: RunFolder) -> dict[str, Stage]:
    """Return the stages whose threshold can be moved, by their names."""
    names = zip(stage_names(run.config.stages), run.config.stages, strict=True)
    return {n: one for n, one in names if one.rethresholdable and has_threshold(one)}
