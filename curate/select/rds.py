"""RDS+: the rows whose representations are nearest to the target examples.

Ivison et al. 2025, arXiv:2503.01807, algorithm 1. Score S[q, i] = cosine of target example q and row
i, see curate.represent.lm. Cost: one forward pass without the vocabulary head over every row.

`round_robin` (the paper's) lets the target examples take turns, each naming its best row; a row that
was named before costs the turn but no budget. `refill` lets the example name its next one instead.
`global_max` takes the rows with the largest max over q of S[q, i], as the authors' script for large
pools does under the name of the same option; a few easily matched examples can take everything.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.registry import ScoreRun, Selector, SelectParams, add_selector
from curate.store import Artifact, Counts, Step

VERSION = 1
BLOCK_ROWS = 65_536


class RdsParams(SelectParams):
    """Nearest rows by position-weighted hidden states of the base model."""

    method: Literal["rds"] = "rds"
    combine: Literal["round_robin", "global_max"] = "round_robin"
    refill: bool = Field(False, description="a duplicate does not cost its example the turn")
    max_length: int = Field(2048, gt=0, description="tokens; longer rows are cut at the end")


def score(run: ScoreRun, params: RdsParams) -> Artifact:
    """Encode pool and target, then store the cosines of every row with every target example."""
    from curate.represent.index import index_steps, named, target_step

    if run.target is None:
        raise ValueError("rds needs target examples")
    blocks = run.execute_all(index_steps(run, params.max_length))
    wanted = run.execute(target_step(run, params.max_length))
    inputs = {"kept": run.kept, "target": run.target, "target-vectors": wanted, **named(blocks)}
    return run.execute(Step("score-rds", VERSION, write_scores, inputs))


def write_scores(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write scores.parquet: row_id, score (largest cosine), nearest_id, similarities [Q]."""
    from curate.represent.index import read_vectors

    blocks = [inputs[name] for name in sorted(inputs) if name.startswith("block-")]
    vectors = read_vectors(blocks)
    wanted = np.load(inputs["target-vectors"].file("vectors.npy"), allow_pickle=False)
    target_ids = pl.read_parquet(inputs["target"].file("rows.parquet"))["row_id"]
    ids = pl.read_parquet(inputs["kept"].file("kept.parquet"))["row_id"]
    cosines = np.concatenate(
        [vectors[i : i + BLOCK_ROWS] @ wanted.T for i in range(0, len(vectors), BLOCK_ROWS)]
    )
    if not np.isfinite(cosines).all():
        raise FloatingPointError("a representation is not finite; try models.dtype: float32")
    frame = pl.DataFrame(
        {
            "row_id": ids,
            "score": cosines.max(axis=1),
            "nearest_id": target_ids.gather(cosines.argmax(axis=1)),
            "similarities": pl.Series(cosines, dtype=pl.Array(pl.Float32, len(target_ids))),
        }
    )
    frame.write_parquet(out / "scores.parquet")
    return {"rows_in": frame.height, "rows_out": frame.height}


def rank(scores: pl.DataFrame, params: RdsParams, seed: int) -> NDArray[np.int64]:
    """Return row numbers, best first; ties go to the smaller row_id."""
    by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
    cosines = scores["similarities"].to_numpy()[by_id]
    if params.combine == "global_max":
        order = np.argsort(-cosines.max(axis=1), kind="stable")
    elif params.refill:
        order = round_robin_refill(cosines.T)
    else:
        order = round_robin(cosines.T)
    return by_id[order]


def round_robin(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return all columns of scores [Q, N] in the order in which the rows of it name them.

    In turn t of the published loop, example q always names its t-th best row, new or not. So row i
    comes at the first of the times t(q, i) * Q + q, and sorting by that gives the whole order.
    """
    examples, count = scores.shape
    first = np.full(count, examples * count, dtype=np.int64)
    for q in range(examples):
        times = np.empty(count, dtype=np.int64)
        times[np.argsort(-scores[q], kind="stable")] = np.arange(count) * examples + q
        np.minimum(first, times, out=first)
    return np.argsort(first, kind="stable")


def round_robin_refill(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return all columns of scores [Q, N], each turn naming the example's best row still free."""
    examples, count = scores.shape
    best = np.argsort(-scores, axis=1, kind="stable")
    taken = np.zeros(count, dtype=bool)
    at = np.zeros(examples, dtype=np.int64)
    order = np.empty(count, dtype=np.int64)
    for turn in range(count):
        q = turn % examples
        while taken[best[q, at[q]]]:
            at[q] += 1
        order[turn] = best[q, at[q]]
        taken[order[turn]] = True
    return order


add_selector(Selector(RdsParams, VERSION, True, score, rank, ("combine", "refill")))
