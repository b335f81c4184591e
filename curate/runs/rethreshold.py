"""Another threshold of a stage, from the pairs that a run stored: seconds, and no text compared anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from curate.clean.duplicates import DedupParams, count_drops, read_pairs
from curate.config.names import stage_names
from curate.core.cut import CutParams
from curate.core.errors import UserError
from curate.core.params import Params, suggest_key
from curate.core.pins import decide, pinned_ids
from curate.core.stage import Stage, StageData
from curate.core.tables import ParquetFile
from curate.core.yamltext import load_setting
from curate.runs.folder import RunFolder

SWEPT = 9
LOWEST = 0.2


@dataclass(frozen=True)
class RethresholdResult:
    """The verdicts of a stage at another threshold or other parameters, beside those of the run.

    `sweep` has threshold and dropped: how many rows each threshold would drop.
    """

    stage: str
    params: Params
    evidence: pl.DataFrame
    before: pl.DataFrame
    sweep: pl.DataFrame

    @property
    def back(self) -> int:
        """Return how many rows the run dropped that now stay."""
        return self._changed(now=True)

    @property
    def gone(self) -> int:
        """Return how many rows the run kept that now go."""
        return self._changed(now=False)

    def _changed(self, *, now: bool) -> int:
        other = self.before.filter(keep=not now).select("row_id")
        return self.evidence.filter(keep=now).join(other, on="row_id", how="semi").height


def rethreshold(
    run: RunFolder, name: str, overrides: Sequence[str], points: int = SWEPT
) -> RethresholdResult:
    """Judge a run's rows anew by a stage's stored pairs.

    Args:
        run: a finished run.
        name: the stage, e.g. "fuzzy" or "fuzzy-2".
        overrides: key=value, e.g. threshold=0.8, rows=1000 or keep=longest.
        points: thresholds of the sweep; none of them is tried if 0.

    Raises:
        UserError: no such stage, it stores no pairs, or the parameters need pairs that are not stored.
    """
    stage = _changed_stage(find_rethresholdable(run, name), name, overrides)
    data = stage_data(run, name)
    evidence = decide(stage, data).frame
    before = run.table(f"evidence/{name}").collect()
    return RethresholdResult(name, stage, evidence, before, sweep(data, stage, points))


def find_rethresholdable(run: RunFolder, name: str) -> Stage:
    """Return a run's stage whose threshold can be moved.

    Raises:
        UserError: there is no such stage, or it has nothing to move.
    """
    stages = dict(zip(stage_names(run.config.stages), run.config.stages, strict=True))
    rethresholdable = {n: stage for n, stage in stages.items() if stage.rethresholdable}
    if name not in rethresholdable:
        alternatives = ", ".join(rethresholdable) or "none"
        what = "has no stored pairs" if name in stages else "did not run"
        raise UserError(f"{run.path}: the stage {name!r} {what}; stages that have: {alternatives}")
    return rethresholdable[name]


class _PreparedTables(dict[str, ParquetFile]):
    """A stage's prepared tables, by what follows the stage's name in those of their files."""

    def __init__(self, run: RunFolder, name: str) -> None:
        self.start = str(run.path / "evidence" / f"{name}-")
        paths = sorted((run.path / "evidence").glob(f"{name}-*.parquet"))
        super().__init__((path.stem.removeprefix(f"{name}-"), ParquetFile(path)) for path in paths)

    def __missing__(self, part: str) -> ParquetFile:
        raise UserError(
            f"{self.start}{part}.parquet is missing; run `curate run` again to rebuild the run folder"
        )


def stage_data(run: RunFolder, name: str) -> StageData:
    """Return what the stage read in the run.

    Raises:
        UserError: the store no longer has the rows.
    """
    stage = find_rethresholdable(run, name)
    tables = {role: run.rows(role) for role in ("pool", *stage.uses)}
    rows = tables.pop("pool")
    artifacts = run.manifest["artifacts"]
    lost = [role for role, table in tables.items() if table is None and role in artifacts]
    if rows is None or lost:
        what = ", ".join(lost) or "pool"
        raise UserError(
            f"{run.path}: the store has lost the rows of the {what}; run `curate run` again"
        )
    names = stage_names(run.config.stages)
    evidence = {earlier: run.table(f"evidence/{earlier}") for earlier in names[: names.index(name)]}
    read = run.table(f"evidence/{name}").select("row_id")
    rows = rows.join(read, on="row_id", how="semi", maintain_order="left")
    prepared = _PreparedTables(run, name)
    examples = {role: None if table is None else table.collect() for role, table in tables.items()}
    return StageData(rows, evidence=evidence, prepared=prepared, **examples)


def has_threshold(stage: Stage) -> bool:
    """Return whether a stage cuts at a threshold, and not by constants of its own."""
    return isinstance(stage, CutParams) or "threshold" in type(stage).model_fields


def sweep(data: StageData, stage: Stage, points: int = SWEPT) -> pl.DataFrame:
    """Return how many rows each of some thresholds drops.

    They reach from the lowest that is stored to 1, or over the scores where these have a scale of
    their own; there are none for a stage that has constants instead of a threshold.

    Args:
        data: what the stage read.
        stage: the stage; of its parameters, threshold and number of rows play no part.
        points: number of thresholds, at even distances.
    """
    if not points or not has_threshold(stage):
        return pl.DataFrame(schema={"threshold": pl.Float64, "dropped": pl.Int64})
    low, high = getattr(stage, "floor", LOWEST), 1.0
    if isinstance(stage, CutParams):
        scores = decide(stage, data).frame["score"].drop_nulls().to_list() or [0.0]
        low, high = min(scores), max(scores)
    thresholds = [round(float(t), 4) for t in np.linspace(low, high, points)]
    if isinstance(stage, DedupParams) and not len(pinned_ids(data.evidence.values())):
        dropped = _count_duplicates(data, stage, thresholds)
    else:
        variants = [stage.model_copy(update={"threshold": t}) for t in thresholds]
        dropped = [_count_drops(decide(one, data).frame) for one in variants]
    return pl.DataFrame({"threshold": thresholds, "dropped": dropped})


def _count_duplicates(
    data: StageData, params: DedupParams, thresholds: Sequence[float]
) -> list[int]:
    return count_drops(data, read_pairs(data.prepared["pairs"]), params.keep, thresholds)


def _count_drops(evidence: pl.DataFrame) -> int:
    return int((~evidence["keep"]).sum())


def _changed_stage(own: Stage, name: str, overrides: Sequence[str]) -> Stage:
    changes = dict(_read_override(own, name, override) for override in overrides)
    rows = changes.get("rows", getattr(own, "rows", None))
    if "threshold" in changes and rows is not None:
        raise UserError(
            f"{name}.threshold: rows is {rows}, which decides where it is set; add --set rows=null"
        )
    try:
        return type(own).model_validate({**own.model_dump(mode="json"), **changes})
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join([name, *(str(part) for part in fault["loc"][:1])])
        raise UserError(f"{place}: {fault['msg'].removeprefix('Value error, ')}") from error


def _read_override(own: Stage, name: str, override: str) -> tuple[str, Any]:
    key, separator, value = override.partition("=")
    if not separator:
        raise UserError(f"--set {override}: write it as key=value, e.g. threshold=0.8")
    if key not in own.rethresholdable:
        problem = (
            f"needs other pairs than the stored ones: run the recipe with it (here you can move "
            f"{', '.join(own.rethresholdable)})"
            if key in type(own).model_fields
            else suggest_key(key, own.rethresholdable)
        )
        raise UserError(f"{name}.{key}: {problem}")
    return key, load_setting(override, value)
