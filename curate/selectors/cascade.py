"""Cascade: a cheap method keeps a share of the rows, the next one ranks what is left, and so on.

The usual way to afford an expensive method (DEITA's quality order before its diversity filter,
Superfiltering's small model before the large one): only what an earlier part kept is ever scored by a
later one. Rows that a part cut rank below all that it kept, in that part's order. A part keeps no row
that it has no score for, even if its share is larger.

`less` behind `cluster_less` goes on with the warm-up that this made, instead of one of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.calls import Counted, Table, cached
from curate.core.jsontypes import JSON
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.selectors.parts import check_parts, part_of, ranks_of

VERSION = 2
OWN = ("keep",)


@method
class CascadeSelector(Selector):
    """Methods one after the other, each on what the one before it kept."""

    title: ClassVar[str] = "a cascade"
    version: ClassVar[int] = VERSION

    method: Literal["cascade"] = "cascade"
    parts: list[dict[str, Any]] = Field(
        min_length=2,
        description="methods with their parameters; all but the last with keep: the share of rows "
        "that goes on to the next",
        examples=[[{"method": "embed", "keep": 0.2}, {"method": "rds"}]],
    )

    @model_validator(mode="after")
    def _check(self) -> "CascadeSelector":
        check_parts(self.parts, OWN)
        for i, part in enumerate(self.parts[:-1]):
            keep = part.get("keep")
            if not isinstance(keep, int | float) or not 0 < keep <= 1:
                raise ValueError(f"part {i} needs keep: a share of rows above 0 and at most 1")
        if "keep" in self.parts[-1]:
            raise ValueError("the last part ranks what is left: it has no keep")
        return self

    def members(self) -> Sequence[tuple[Selector, float]]:
        """Return the parts, each of which scores what those before it kept."""
        members, left = [], 1.0
        for part in self.parts:
            members += [(one, left * share) for one, share in part_of(part, OWN).members()]
            left *= part.get("keep", 1.0)
        return members

    def score_rows(self, run: ScoreRun) -> Table:
        """Score part by part, each on the rows that the one before it kept."""
        part_scores: list[Table] = []
        runs = [run]
        selectors = [part_of(part, OWN) for part in self.parts]
        for i, (part, selector) in enumerate(zip(self.parts, selectors, strict=True)):
            earlier = zip(selectors[:i], runs, strict=False)
            own = next((one for other, one in earlier if selector.takes_over(other)), None)
            rows = runs[i].kept
            scored = selector.score_more(own, rows) if own else selector.score_rows(runs[i])
            part_scores.append(scored)
            if i < len(self.parts) - 1:
                best = run(kept, rows, scored, part, run.seed, selector.version)
                runs.append(runs[i].with_kept(best))
        versions = [selector.version for selector in selectors]
        return run(scores, run.kept, part_scores, self.parts, run.seed, versions)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers: those that came furthest first, in the order of the part they came to."""
        order: NDArray[np.int64] = np.lexsort(
            (scores["place"].to_numpy(), -scores["part"].to_numpy())
        )
        return order

    def unscored(self, scores: pl.DataFrame) -> pl.Series:
        """Return why the part that a row came to has no score for it; rows that were cut have one."""
        return scores["reason"]


@cached(version=VERSION, name="kept-cascade", title="Keep a share for the next method")
def kept(
    kept: Table, scores: Table, part: Mapping[str, JSON], seed: int, version: int
) -> Counted[pl.DataFrame]:
    """Return the best of the kept rows by one part, in pool order; `version` is that of its method."""
    rows = kept.read()
    ranks = ranks_of(scores.read(), part, OWN, seed)
    share = part["keep"]
    assert isinstance(share, int | float), "the selector's own check says so"
    count = max(round(share * rows.height), 1)
    best = ranks.filter(pl.col("place") < count, pl.col("reason").is_null())
    left = rows.join(best, on="row_id", how="semi", maintain_order="left")
    return Counted(left, {"rows_in": rows.height})


@cached(version=VERSION, name="score-cascade")
def scores(
    kept: Table,
    part_scores: Sequence[Table],
    parts: Sequence[Mapping[str, JSON]],
    seed: int,
    versions: Sequence[int],
) -> Counted[pl.DataFrame]:
    """Return row_id, part (that ranked it last), place in it, its score, nearest_id.

    reason says why that part has no score for the row. `versions` are those of the parts.
    """
    last = len(parts) - 1
    ranks = [
        ranks_of(table.read(), part, OWN, seed).select(
            "row_id",
            "reason",
            part=pl.lit(i, dtype=pl.Int64),
            place="place",
            # Scores of earlier parts have another scale: only the last part's are shown.
            score=pl.col("score").cast(pl.Float64) if i == last else None,
            nearest_id="nearest_id",
        )
        for i, (table, part) in enumerate(zip(part_scores, parts, strict=True))
    ]
    latest = pl.concat(ranks, how="vertical_relaxed").sort("part").unique("row_id", keep="last")
    ids = kept.read(["row_id"])
    frame = ids.join(latest, on="row_id", how="left", maintain_order="left")
    return Counted(frame, {"rows_out": int((frame["part"] == last).sum())})
