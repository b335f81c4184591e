"""Selectors: an expensive score of rows, stored once, and a cheap ranking made from it."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table
from curate.core.methods import Method
from curate.core.run import ScoreRun
from curate.core.runrecord import SelectionRecord
from curate.core.score_section import score_section
from curate.core.section import Section
from curate.core.selectparams import SelectParams
from curate.core.workload import Workload

NOT_FINITE = "its score is no finite number"


class Selector(SelectParams, Method):
    """A way to choose rows: scores, and an order made from them.

    Attributes:
        needs_target: it compares rows with target examples.
        rank_params: the parameters that `rank` alone reads, so that another ranking needs no other
            scores.
        needs_scores: False for a method that ranks any method's table.
        needs_tokens: False for a plain draw: rows are counted in tokens only where a budget or condition
            speaks of them.
        renders_target: the base model reads the target examples, in its chat template.
        on_targets: for a method that did not beat random draws, what it did on the 8 targets of
            docs/real-targets.md.
        evidence_keys: the parameters that may name a column of earlier evidence, as STAGE.COLUMN.
        scores_alone: a row's score depends on the row and the target alone, not on which others there
            are.
    """

    family: ClassVar[str] = "selector"
    packages: ClassVar[tuple[str, ...]] = ("curate.selectors",)
    needs_target: ClassVar[bool] = False
    rank_params: ClassVar[tuple[str, ...]] = ()
    needs_scores: ClassVar[bool] = True
    needs_tokens: ClassVar[bool] = True
    renders_target: ClassVar[bool] = False
    on_targets: ClassVar[str] = ""
    evidence_keys: ClassVar[tuple[str, ...]] = ()
    scores_alone: ClassVar[bool] = False

    def score_rows(self, run: ScoreRun) -> Table:
        """Return row_id, score (higher is better), nearest_id and whatever else `rank` reads."""
        raise NotImplementedError

    def score_more(self, run: ScoreRun, rows: Table) -> Table:
        """Return the scores of further rows, a table like the kept ones, as those of the run's own.

        Only for a method that `scores_alone`, or takes something over in a cascade.
        """
        return self.score_rows(run.with_kept(rows))

    def takes_over(self, earlier: "Selector") -> bool:
        """Return whether, in a cascade, it goes on with what an earlier part has learned of all rows.

        It then scores the rows that are left by `score_more`, as those of that part's run.
        """
        return False

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return the row numbers of a table of scores, best first; ties go to the smaller row_id.

        It is given no other rows than those that have a score (see curate.selectors.scored).
        """
        order = scores.select(pl.arg_sort_by("score", "row_id", descending=[True, False]))
        return order.to_series().to_numpy().astype(np.int64)

    def unscored(self, scores: pl.DataFrame) -> pl.Series:
        """Return for each row of a table why it has no score, null for one that has.

        Here that is the column `reason`, if there is one, of rows whose score is no finite number.
        """
        finite = pl.col("score").cast(pl.Float64).is_finite().fill_null(value=False)
        reason = pl.col("reason") if "reason" in scores.columns else pl.lit(None, dtype=pl.String)
        reasons = pl.coalesce(reason, pl.lit(NOT_FINITE))
        return scores.select(pl.when(~finite).then(reasons)).to_series()

    def section(self, record: SelectionRecord) -> Section | None:
        """Return the method's part of the report: by default its scores, and what is near to what."""
        return score_section(record)

    def cost(self, rows: int) -> Workload:
        """Return what it takes at most to score so many rows: what models read."""
        return Workload()

    def members(self) -> Sequence[tuple["Selector", float]]:
        """Return the selectors whose scores it takes, each with the share of the rows that it scores."""
        return [(self, 1.0)]
