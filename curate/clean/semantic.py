"""Semantic duplicates: rows whose embeddings are nearly those of a row that is kept.

SemDeDup (Abbas et al. 2023, arXiv:2303.09540, section 3) looks for twins inside the cells of k-means and
drops a row for any twin, also a dropped one. Here no twin across cells is missed (see
curate.models.neighbours), and a row is dropped only for a kept one, as at all levels.

What counts as the same meaning is up to the embedder. The static one sees words without their order:
at 0.9, the same passage under two questions is one row to it. Embedders of any kind hardly see numbers:
of the 64 pairs of GSM8K problems that are twins to the static one at 0.9, 63 have other numbers, and so
other answers. So only rows with equal numbers in the same order are compared, unless `numbers` is off;
what else tells similar rows apart says curate.clean.guards.
"""

import hashlib
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.clean.duplicates import RETHRESHOLDABLE, judge_duplicates, read_pairs
from curate.clean.guards import (
    GuardedDedupParams,
    answer_text,
    differing_table,
    guard_keys,
    split_pairs,
)
from curate.core.fixedpoint import cosines_of_pairs
from curate.core.ledger import survivor_mask, survivors
from curate.core.reasons import Reason
from curate.core.registry import StageData, StageResult, StepRun, stage
from curate.core.store import Artifact, Counts, Step
from curate.models.embed import embed_steps, embed_texts
from curate.models.index import encode_steps, named, read_vectors
from curate.models.neighbours import find_pairs
from curate.text.compared import compared_text
from curate.text.pairs import Pairs, pair_table

LOG = logging.getLogger("curate")
VERSION = 5
MODEL = "lm"
MODEL_LENGTH = 2_048
# Of two rows of P3, the median cosine in SmolLM2-135M is 0.76; from 0.98 on, MiniLM agrees.
MODEL_THRESHOLDS = {"threshold": 0.98, "floor": 0.95}


class SemanticParams(GuardedDedupParams):
    """Drop rows that mean much the same as a kept row (cosine of their embeddings)."""

    kind: Literal["semantic"] = "semantic"
    # As in semhash, for sentence embedders.
    threshold: float = Field(0.9, gt=0, le=1, description="0.98 if the embedder is lm")
    floor: float = Field(
        0.8,
        gt=0,
        le=1,
        description="pairs are stored from here on, so a threshold can go down to it; 0.95 if the "
        "embedder is lm",
    )
    embedder: str | None = Field(
        None,
        description="static, minilm, a folder, a hub id, or lm: the base model's representation, as "
        "in rds; models.embedder if not given",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_thresholds(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("embedder") == MODEL:
            return {**MODEL_THRESHOLDS, **value}
        return value

    @model_validator(mode="after")
    def _check_embedder(self) -> "SemanticParams":
        if self.embedder == MODEL and self.compare != "example":
            raise ValueError("embedder lm represents whole rows: it needs `compare: example`")
        return self


def prepare_pairs(
    run: StepRun, inputs: Mapping[str, Artifact], params: SemanticParams
) -> Mapping[str, Artifact]:
    """Return the artifact with all pairs with at least the floor's cosine.

    Those of duplicates are in pairs.parquet, those that the guards tell apart in differing.parquet.
    """
    steps = _vector_steps(run, inputs, params)
    blocks = run.execute_all(steps) if steps else []
    guards = params.guards
    step_params: dict[str, Any] = {
        "compare": params.compare,
        "floor": params.floor,
        "guards": guards,
    }
    runtime: dict[str, Any] = {}
    if "responses" in guards:
        # The base model represents whole rows alone, so beside it the run's own embedder reads them.
        name = None if params.embedder == MODEL else params.embedder
        step_params["model"], runtime = run.embedder(name)
    read = {**inputs, **named(blocks)}
    pairs = run.execute(
        Step("semantic-pairs", VERSION, write_pairs, read, step_params, runtime=runtime)
    )
    return {"pairs": pairs, "differing": pairs}


def _vector_steps(
    run: StepRun, inputs: Mapping[str, Artifact], params: SemanticParams
) -> list[Step]:
    if params.embedder != MODEL:
        return embed_steps(run, inputs, params.compare, params.embedder)
    positions = np.flatnonzero(survivor_mask(inputs))
    return encode_steps(run, inputs["rows"], positions, MODEL_LENGTH)


@stage(
    SemanticParams,
    version=2,
    prepare=prepare_pairs,
    rethresholdable=RETHRESHOLDABLE,
    reads_base=lambda params: params.embedder == MODEL,
)
def semantic(data: StageData, params: SemanticParams) -> StageResult:
    """Drop rows for a kept twin; score is the cosine to it, or to the nearest kept row."""
    pairs = read_pairs(data.prepared["pairs"])
    return judge_duplicates(data, pairs, params, Reason.SEMANTIC_DUPLICATE)


def write_pairs(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write every pair from the floor on; copies are paired with the first of them.

    Copies are rows that no guard tells apart, with equal texts or with vectors equal in every bit.
    pairs.parquet has the pairs of duplicates, differing.parquet those that the guards tell apart.
    """
    text = compared_text(params["compare"]).fill_null("").hash()
    keys = guard_keys(params["compare"], params["guards"])
    rows = survivors(inputs).select("row_id", text=text, **keys).collect()
    vectors = read_vectors([inputs[name] for name in sorted(inputs) if name.startswith("block-")])
    if not np.isfinite(vectors).all():
        raise FloatingPointError("an embedding is not finite; try models.dtype: float32")
    # A column beside them, since there may be no guards.
    guards = rows.with_columns(none=0).select("none", *params["guards"]).hash_rows()
    first = first_copies(rows["text"], guards, vectors)
    copies = np.flatnonzero(first != np.arange(len(first)))
    near = find_pairs(vectors, _groups(rows, copies), params["floor"])
    pairs = Pairs(
        np.concatenate([first[copies], near.first]),
        np.concatenate([copies, near.second]),
        np.concatenate([np.ones(len(copies)), near.cosine]),
        np.arange(len(copies) + len(near.first)) < len(copies),
    )
    compare = partial(_response_cosines, survivors(inputs), runtime)
    alike, differing = split_pairs(pairs, rows, params["guards"], params["floor"], compare)
    pair_table(rows["row_id"], alike).write_parquet(out / "pairs.parquet")
    differing_table(rows["row_id"], differing).write_parquet(out / "differing.parquet")
    if near.capped:
        LOG.warning(
            "semantic: %d rows are similar to more than %d others; only the nearest are compared, so "
            "some twins may stay",
            near.capped,
            near.most,
        )
    return {
        "rows_in": len(rows),
        "pairs": len(alike.first),
        "differing": differing.height,
        "twins_allowed": near.most,
        "rows_with_more": near.capped,
    }


def _groups(rows: pl.DataFrame, copies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which rows are compared with each other: those with the same numbers, copies with none."""
    numbers = rows["numbers"] if "numbers" in rows.columns else pl.zeros(rows.height, eager=True)
    groups = numbers.rank("dense").cast(pl.Int64).to_numpy().copy()
    groups[copies] = -1
    return groups


def _response_cosines(
    rows: pl.LazyFrame,
    runtime: Mapping[str, Any],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the cosines of the responses of pairs of rows; only those responses are embedded."""
    involved = np.unique(np.concatenate([first, second]))
    texts = (
        rows.select(text=answer_text())
        .with_row_index("at")
        .filter(pl.col("at").is_in(involved.tolist()))
    )
    vectors = embed_texts(texts.collect()["text"].to_list(), runtime)
    left, right = np.searchsorted(involved, first), np.searchsorted(involved, second)
    return np.round(cosines_of_pairs(vectors, left, vectors, right), 6)


def first_copies(
    texts: pl.Series, guards: pl.Series, vectors: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return for each row [N] the number of the first row that is the same, often its own.

    A vector of zeros says nothing, so such rows are the same only if their texts are.

    Args:
        texts: hashes of the compared texts.
        guards: hashes of what else must be equal.
        vectors: unit or zero vectors [N, d].
    """
    # An embedder may round equal texts differently, so the vector of the first one counts.
    first = _first_of(texts.to_frame())
    digests = [hashlib.blake2b(vectors[i], digest_size=16).digest() for i in first]
    silent = np.array([not vectors[i].any() for i in first], dtype=np.bool_)
    keys = pl.DataFrame(
        {"vector": pl.Series(digests, dtype=pl.Binary), "guards": guards, "silent": silent}
    )
    return _first_of(keys.with_columns(text=pl.when("silent").then(texts)))


def _first_of(keys: pl.DataFrame) -> NDArray[np.int64]:
    """Return for each row the number of the first row with the same keys."""
    numbered = keys.with_columns(_row=pl.int_range(pl.len(), dtype=pl.Int64))
    return numbered.select(pl.col("_row").min().over(keys.columns)).to_series().to_numpy()
