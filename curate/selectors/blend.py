"""Blend: the weighted mean of where several methods rank a row.

Ranks, not scores, are averaged: a cosine, a loss and a length have no common scale, and the average of
ranks (Borda count) needs none. Each part alone ranks all kept rows; a row's score is the weighted mean
of 1 - place / (N - 1). A row that a part has no score for has none here. Cost: that of the parts; other
weights are a query.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.selectors.parts import check_parts, part_of, ranks_of

VERSION = 2
OWN = ("weight",)


@method
class BlendSelector(Selector):
    """Rows that several methods rank high."""

    title: ClassVar[str] = "a blend"
    version: ClassVar[int] = VERSION

    method: Literal["blend"] = "blend"
    parts: list[dict[str, Any]] = Field(
        min_length=2,
        description="methods with their parameters, and a weight each (1 if not given)",
        examples=[[{"method": "bm25"}, {"method": "rds", "weight": 2}]],
    )

    @model_validator(mode="after")
    def _check(self) -> "BlendSelector":
        check_parts(self.parts, OWN)
        if not all(isinstance(w, int | float) and w > 0 for w in self.weights):
            raise ValueError(f"weights must be numbers above 0 (got {self.weights})")
        return self

    @property
    def weights(self) -> list[float]:
        """Return the weight of every part."""
        return _weights(self.parts)

    def members(self) -> Sequence[tuple[Selector, float]]:
        """Return the parts, each of which scores all rows."""
        return [member for part in self.parts for member in part_of(part, OWN).members()]

    def score_rows(self, run: ScoreRun) -> Table:
        """Let every part score the rows, then join their rankings."""
        selectors = [part_of(part, OWN) for part in self.parts]
        part_scores = [selector.score_rows(run) for selector in selectors]
        versions = [selector.version for selector in selectors]
        return run(scores, run.kept, part_scores, self.parts, run.seed, versions)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers by the weighted mean of heights, best first, ties by row_id."""
        heights = scores["heights"].to_numpy()
        if heights.shape[1] != len(self.parts):
            raise UserError(
                f"select.parts: {heights.shape[1]} methods were scored, not {len(self.parts)}; run the "
                "recipe with the other parts"
            )
        by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
        mean = np.average(heights, axis=1, weights=self.weights)
        return by_id[np.argsort(-mean[by_id], kind="stable")]


def _weights(parts: Sequence[Mapping[str, Any]]) -> list[float]:
    return [part.get("weight", 1.0) for part in parts]


@cached(version=VERSION, name="score-blend")
def scores(
    kept: Table,
    part_scores: Sequence[Table],
    parts: Sequence[Mapping[str, JSON]],
    seed: int,
    versions: Sequence[int],
) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id, reason, and heights [P]: 1 for a part's best row.

    reason is that of the first part that has no score for the row. `versions` are those of the parts.
    """
    ids = kept.read(["row_id"])
    ranks = [
        ids.join(
            ranks_of(table.read(), part, OWN, seed), on="row_id", how="left", maintain_order="left"
        )
        for table, part in zip(part_scores, parts, strict=True)
    ]
    heights = np.stack([1 - r["place"].to_numpy() / max(ids.height - 1, 1) for r in ranks], axis=1)
    mean = np.average(heights, axis=1, weights=_weights(parts))
    reason = _first_value(ranks, "reason")
    frame = ids.with_columns(
        score=pl.Series(mean).set(reason.is_not_null(), None),
        nearest_id=_first_value(ranks, "nearest_id"),
        reason=reason,
        heights=pl.Series(heights, dtype=pl.Array(pl.Float64, len(ranks))),
    )
    return Counted(frame, {"unscored": len(reason) - reason.null_count()})


def _first_value(tables: Sequence[pl.DataFrame], column: str) -> pl.Series:
    """Return for each row the value of the first table that has one in this column."""
    return pl.select(pl.coalesce([table[column] for table in tables])).to_series()
