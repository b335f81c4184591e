"""Which groups of rows are kept: by their measures, or by their effect where they were tried."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, cached
from curate.core.errors import UserError

VERSION = 1
HELPFUL, NEUTRAL, HARMFUL = "helpful", "neutral", "harmful"
ORDER = {HELPFUL: 0, NEUTRAL: 1, HARMFUL: 2}
EFFECT = ("effect", "low", "high")
# Why a row's group is not kept.
HARMS = "learning rows of its group raised the loss of the target examples"
UNTRIED = "its group is not among the nearest ones, which alone were tried"
BEHIND = "other groups are nearer to the target, or help it more"
NOT_NEARER = "no row of its group is nearer to a target example than those of the groups before it"


@cached(version=VERSION, name="source-choice")
def choices(
    measured: Table,
    first: str,
    keep: int | str,
    effects: Mapping[str, Sequence[float | None]] | None = None,
) -> pl.DataFrame:
    """Return what was measured of each group, the order of choice, and which are kept.

    Further columns: effect, low, high and kind (helpful, neutral, harmful), null where a group was not
    tried; kept; reason, why it is not.

    Args:
        measured: the groups with their measures.
        first: the measure that ranks them.
        keep: so many groups, or coverage.
        effects: mean, low and high of those that were tried. The helpful ones come first, by their
            effect, then the neutral ones, whose effects are no more than noise, by the measure.

    Raises:
        UserError: every group that was tried is harmful.
    """
    table = measured.read().join(_trials(effects or {}), on="group", how="left")
    helpful = pl.when(kind=HELPFUL).then(-pl.col("effect"))
    place = pl.col("kind").replace_strict(ORDER, default=len(ORDER), return_dtype=pl.Int8)
    table = table.sort(place, helpful.otherwise(pl.col(f"{first}_rank")), "group")
    untried = pl.col("kind").is_null() & (effects is not None)
    harmful = pl.when(kind=HARMFUL).then(pl.lit(HARMS))
    table = table.with_columns(reason=harmful.when(untried).then(pl.lit(UNTRIED)))
    eligible = np.flatnonzero(table["reason"].is_null().to_numpy())
    if not len(eligible):
        raise UserError(
            f"sources: each of the {len(effects or {})} groups that were tried is harmful to the target "
            "examples; try more of them (select.trial.top), or give other rows"
        )
    kept = np.zeros(table.height, dtype=np.bool_)
    kept[eligible[: _count(table["nearest"].to_numpy()[eligible], keep)]] = True
    rest = pl.lit(NOT_NEARER if keep == "coverage" else BEHIND)
    return table.with_columns(kept=pl.Series(kept)).with_columns(
        reason=pl.when(~pl.col("kept")).then(pl.coalesce("reason", rest))
    )


def _trials(effects: Mapping[str, Sequence[float | None]]) -> pl.DataFrame:
    """Return group, effect, low, high and kind of the groups that were tried."""
    schema = {"group": pl.String, **dict.fromkeys(EFFECT, pl.Float64)}
    table = pl.DataFrame([(n, *values) for n, values in effects.items()], schema, orient="row")
    kind = pl.when(pl.col("low") > 0).then(pl.lit(HELPFUL)).when(pl.col("high") < 0)
    return table.with_columns(kind=kind.then(pl.lit(HARMFUL)).otherwise(pl.lit(NEUTRAL)))


def _count(nearest: NDArray[np.float32], keep: int | str) -> int:
    """Return how many of the first groups are kept.

    Args:
        nearest: the largest cosine of each group with each target example [G, Q].
        keep: so many; coverage: all before the first one that is nearest so far to no example.
    """
    if keep != "coverage":
        return int(keep)
    best = np.maximum.accumulate(nearest, axis=0)
    adds = (nearest[1:] > best[:-1]).any(axis=1)
    return len(nearest) if adds.all() else 1 + int(np.argmin(adds))
