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

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.registry import ScoreRun, Selector, SelectParams, add_selector, by_row
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table
from curate.models.index import named
from curate.models.ratings import RatingParams, rating_steps, read_ratings

VERSION = 2


class ScorerParams(RatingParams, SelectParams):
    """Rows by a classifier or regression model that reads prompt and response."""

    method: Literal["scorer"] = "scorer"


def score(run: ScoreRun, params: ScorerParams) -> Artifact:
    """Rate the kept rows block by block, then join the blocks."""
    positions = read_table(run.kept.file("kept.parquet"))["position"].to_numpy()
    steps = rating_steps(run.rows, positions, params, "select")
    inputs = {"kept": run.kept, **named(run.execute_all(steps))}
    return run.execute(Step("score-scorer", VERSION, write_scores, inputs))


def write_scores(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write scores.parquet: row_id, score, nearest_id (null)."""
    frame = pl.DataFrame(
        {
            "row_id": read_table(inputs["kept"].file("kept.parquet"))["row_id"],
            "score": read_ratings(inputs),
        }
    ).with_columns(nearest_id=pl.lit(None, dtype=pl.String))
    frame.write_parquet(out / "scores.parquet")
    return {"rows_in": frame.height, "rows_out": frame.height}


def rank(scores: pl.DataFrame, params: ScorerParams, seed: int) -> NDArray[np.int64]:
    """Return row numbers, best first; ties go to the smaller row_id."""
    order = scores.select(pl.arg_sort_by("score", "row_id", descending=[True, False]))
    return order.to_series().to_numpy().astype(np.int64)


add_selector(Selector(ScorerParams, VERSION, False, score, rank, score_more=by_row(score)))
