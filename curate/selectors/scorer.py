"""Scorer: rows that a sequence-classification checkpoint rates highest.

Any folder or hub id that transformers loads as AutoModelForSequenceClassification: Cappy (Tan et al.
2023, arXiv:2311.06720; RoBERTa, regression) or a classifier of quality, topic or toxicity. It reads the
pair (everything before the last turn, last turn). With one output the score is that number as it is;
with several it is the probability of the named `label`. Cost: one pass of that model over every row.

A pair that is too long loses the start of its conversation first and the end of its response only when
that alone is too long: what is judged is the response. Weights are read from safetensors, code of the
model's own never runs (models.trust_remote_code does not apply), and a checkpoint without a trained
classifier is refused, since transformers would make one up at random. Computed in float32: in bfloat16 a
score has three digits, and ties would decide.

A scorer knows what it was trained on. Cappy's labels are Rouge-L on classification-like tasks, so it
says little of open conversation. Reward models that expect a chat template are not read as they were
trained. Scores are for ranking; no threshold carries over to another pool.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import polars as pl

from curate.core.calls import Table, cached
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.workload import Workload
from curate.models.ratings import RatingParams, rate_rows, read_ratings

VERSION = 2


@method
class ScorerSelector(RatingParams, Selector):
    """Rows by a classifier or regression model that reads prompt and response."""

    title: ClassVar[str] = "a scorer model"
    version: ClassVar[int] = VERSION
    scores_alone: ClassVar[bool] = True

    method: Literal["scorer"] = "scorer"

    def score_rows(self, run: ScoreRun) -> Table:
        """Rate the kept rows block by block, then join the blocks."""
        positions = run.kept.read(["position"])["position"].to_numpy()
        return run(scores, run.kept, rate_rows(run, run.rows, positions, self, "select"))

    def cost(self, rows: int) -> Workload:
        """Return one pass of a model, counted as the base model's."""
        return Workload(read_rows=rows, max_length=self.max_length)


@cached(version=VERSION, name="score-scorer")
def scores(kept: Table, blocks: Sequence[Table]) -> pl.DataFrame:
    """Return row_id, score, nearest_id (null)."""
    ratings = pl.Series("score", read_ratings(blocks))
    return kept.read(["row_id"]).with_columns(ratings, nearest_id=pl.lit(None, dtype=pl.String))
