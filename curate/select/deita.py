"""DEITA: the best rows by complexity x quality, each unlike every better one that was taken.

Liu et al. 2024, "What Makes Good Data for Alignment?", arXiv:2312.15685, section 3:

    s = sum over turns of complexity x quality
    go down s; take a row unless its cosine to a row taken before is above the threshold (0.9)

The paper's scores come from two fine-tuned judges. Here `score` names columns of earlier evidence, as
STAGE.COLUMN, and several are multiplied: `score: [complexity.score, quality.score]`. Without such
stages there is `length`, the tokens of the assistant's turns: a plain stand-in that needs no judge and
knows nothing of quality (as a baseline see Zhao et al. 2024, arXiv:2402.04833). Both favour long
conversations by construction.

Passed-over rows come after all that were taken, rows without a score last of all. The vectors are
sentence embeddings, the paper's are last-token states of a language model, for which 0.9 means
something else.

Cost: finding all pairs above the threshold (see curate.models.neighbours), then one pass.

Pitfalls: the paper writes "distance below 0.9" but its code rejects a similarity above it, which is
what is meant. That code drops a row for an earlier one of the same batch even if that was dropped
itself, so that its choice depends on the batch size; here only rows that were taken count. A row that
cannot be scored got the middle score there, in silence.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.errors import UserError
from curate.core.fixedpoint import cosines
from curate.core.registry import ScoreRun, Selector, add_selector
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import rows_at_once, scan_table, table_schema
from curate.models.control import text_ids
from curate.models.load import load_tokenizer, template_of
from curate.models.neighbours import find_pairs
from curate.select.vectors import VectorParams, embed_pool, read_pool_embeddings

VERSION = 2
SCORES_VERSION = 3
LENGTH = "length"
BATCH_ROWS = 8_192
# Pairs that a row may bring along; a kept row with more is compared with all rows once.
MOST_PAIRS = 1_000
DECIMALS = 6
# Why a row comes after all that were taken, in this order.
LATER = {"too_similar": 1, "no_score": 2}


class DeitaParams(VectorParams):
    """Best rows by a score, passing over what is much like a better one."""

    method: Literal["deita"] = "deita"
    score: str | Annotated[list[str], Field(min_length=1)] = Field(
        LENGTH,
        description="length (tokens of the response), or STAGE.COLUMN of earlier evidence; several "
        "are multiplied",
    )
    threshold: float = Field(
        0.9, gt=0, le=1, description="cosine to a better row above which a row is passed over"
    )

    @property
    def factors(self) -> list[str]:
        """Return what is multiplied."""
        return [self.score] if isinstance(self.score, str) else list(dict.fromkeys(self.score))


@dataclass(frozen=True)
class SimilarityMatches:
    """The diversity filter's result: for each row the better row it is too similar to, and their cosine.

    `similar_to` [N] is -1 for a row that was taken.
    """

    similar_to: NDArray[np.int64]
    cosine: NDArray[np.float64]


def score(run: ScoreRun, params: DeitaParams) -> Artifact:
    """Embed the rows, count or look up their scores, and store the filtered order.

    Raises:
        UserError: the recipe has no such stage, or its evidence no such column of numbers.
    """
    inputs = embed_pool(run, params)
    columns: list[list[str]] = []
    for name in params.factors:
        if name == LENGTH:
            inputs[LENGTH] = run.execute(_length_step(run))
            columns.append([LENGTH, "tokens"])
        else:
            stage, _, column = name.partition(".")
            inputs[f"evidence-{stage}"] = _find_evidence(run, stage, column or "score")
            columns.append([f"evidence-{stage}", column or "score"])
    step_params = {"columns": columns, "threshold": params.threshold}
    return run.execute(Step("score-deita", SCORES_VERSION, write_scores, inputs, step_params))


def _find_evidence(run: ScoreRun, stage: str, column: str) -> Artifact:
    stages: Mapping[str, Artifact] = getattr(run, "evidence", {})
    if stage not in stages:
        stage_names = ", ".join([LENGTH, *stages])
        raise UserError(f"select.score: no stage named {stage!r}; known: {stage_names}")
    schema = table_schema(stages[stage].file("evidence.parquet"))
    numbers = [name for name, kind in schema.items() if kind.is_numeric() or kind == pl.Boolean]
    if column not in numbers:
        problem = f"evidence of {stage!r} has no column {column!r} of numbers"
        raise UserError(f"select.score: {problem}; it has {', '.join(numbers)}")
    return stages[stage]


def _length_step(run: ScoreRun) -> Step:
    identity = template_of(run.model_identity())
    inputs = {"rows": run.rows, "kept": run.kept}
    return Step(
        "deita-tokens", VERSION, count_tokens, inputs, {"model": identity}, run.model_runtime()
    )


def count_tokens(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write evidence.parquet (row_id, tokens): those of all turns of the assistant, without markup."""
    tokenizer = load_tokenizer(Path(runtime["folder"]), runtime["trust"])
    parts = []
    for ids, texts in _responses(inputs):
        counts = [len(row) for row in text_ids(tokenizer, texts)]
        parts.append(pl.DataFrame({"row_id": ids, "tokens": counts}))
    frame = pl.concat(parts)
    frame.write_parquet(out / "evidence.parquet")
    return {"rows_in": frame.height, "rows_out": frame.height}


def _responses(inputs: Mapping[str, Artifact]) -> Iterator[tuple[pl.Series, list[str]]]:
    turn = pl.element().struct
    content = pl.when(turn.field("role") == "assistant").then(turn.field("content")).drop_nulls()
    kept = scan_table(inputs["kept"].file("kept.parquet")).select("row_id")
    responses = (
        scan_table(inputs["rows"].file("rows.parquet"))
        .join(kept, on="row_id", how="semi", maintain_order="left")
        .select("row_id", text=pl.col("messages").list.eval(content).list.join("\n"))
    )
    size = rows_at_once(inputs["rows"].file("rows.parquet"), BATCH_ROWS)
    for batch in responses.collect_batches(chunk_size=size, maintain_order=True):
        yield batch["row_id"], batch["text"].to_list()


def write_scores(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write scores.parquet: row_id, score, nearest_id, place, duplicate_of, cosine, reason.

    reason is too_similar (to duplicate_of, which ranks higher) or no_score; null for rows taken.
    """
    pool = read_pool_embeddings(inputs)
    scores = multiply(pool.ids, inputs, params["columns"])
    # The ids are sorted, so ties go to the smaller one; rows without a score come last.
    order = np.argsort(-scores.fill_null(-np.inf).to_numpy(), kind="stable")
    scored = len(scores) - scores.null_count()
    matches = filter_similar(pool.vectors[order[:scored]], params["threshold"])
    similar_to = pl.Series(np.append(matches.similar_to, np.full(len(order) - scored, -1)))
    cosine = np.append(matches.cosine, np.full(len(order) - scored, np.nan))
    ids = pool.ids.gather(order)
    reason = (
        pl.when(pl.col("score").is_null())
        .then(pl.lit("no_score"))
        .when(pl.col("duplicate_of").is_not_null())
        .then(pl.lit("too_similar"))
    )
    frame = (
        pl.DataFrame(
            {
                "row_id": ids,
                "score": scores.gather(order).cast(pl.Float32),
                "nearest_id": pl.Series([None] * len(ids), dtype=pl.String),
                "duplicate_of": ids.gather(similar_to.set(similar_to < 0, None)),
                "cosine": pl.Series(cosine).fill_nan(None).cast(pl.Float32),
            }
        )
        .with_columns(reason=reason)
        .sort(pl.col("reason").replace_strict(LATER, default=0), maintain_order=True)
        .with_columns(place=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    )
    frame.write_parquet(out / "scores.parquet")
    reason_counts = {name: int((frame["reason"] == name).sum()) for name in LATER}
    return {"rows_in": frame.height, "rows_out": frame.height, **reason_counts}


def multiply(
    ids: pl.Series, inputs: Mapping[str, Artifact], columns: Sequence[tuple[str, str]]
) -> pl.Series:
    """Return the product of columns of evidence, for these ids; null where one is not a number."""
    table = ids.to_frame("row_id").lazy()
    for i, (key, column) in enumerate(columns):
        factor = pl.col(column).cast(pl.Float64).alias(f"factor-{i}")
        evidence = scan_table(inputs[key].file("evidence.parquet")).select("row_id", factor)
        table = table.join(evidence, on="row_id", how="left", maintain_order="left")
    product = reduce(mul, (pl.col(f"factor-{i}") for i in range(len(columns))))
    products = table.select(score=pl.when(product.is_finite()).then(product)).collect()
    return products["score"]


def filter_similar(vectors: NDArray[np.float32], threshold: float) -> SimilarityMatches:
    """Return which rows are passed over, going down the rows from the first.

    Args:
        vectors: unit or zero vectors [N, d], best row first.
        threshold: the cosine above which a row is passed over for one taken before.
    """
    everyone = np.zeros(len(vectors), dtype=np.int64)
    pairs = find_pairs(vectors, everyone, threshold, most=MOST_PAIRS)
    above = pairs.cosine > threshold
    later, values = pairs.second[above], pairs.cosine[above]
    starts = np.searchsorted(pairs.first[above], np.arange(len(vectors) + 1))
    # Of these not all later pairs were kept.
    crowded = np.bincount(pairs.first, minlength=len(vectors)) >= pairs.most
    similar_to = np.full(len(vectors), -1)
    cosine = np.full(len(vectors), np.nan)
    for row in np.flatnonzero(crowded | (np.diff(starts) > 0)):
        if similar_to[row] >= 0:
            continue
        if crowded[row]:
            near = cosines(vectors[row + 1 :], vectors[row : row + 1])[:, 0]
            near = np.minimum(near.round(DECIMALS), 1)
            like = row + 1 + np.flatnonzero(near > threshold)
            near = near[like - row - 1]
        else:
            part = slice(starts[row], starts[row + 1])
            like, near = later[part], values[part]
        new = similar_to[like] < 0
        similar_to[like[new]], cosine[like[new]] = row, near[new]
    return SimilarityMatches(similar_to, cosine)


def rank(scores: pl.DataFrame, params: DeitaParams, seed: int) -> NDArray[np.int64]:
    """Return row numbers: rows taken, rows passed over, rows without a score; each by score."""
    return scores["place"].arg_sort().to_numpy().astype(np.int64)


def unscored(scores: pl.DataFrame, params: DeitaParams) -> pl.Series:
    """Return why a row has no score."""
    lacking = pl.lit(f"no number in {' x '.join(params.factors)}")
    finite = pl.col("score").is_finite().fill_null(value=False)
    return scores.select(pl.when(~finite).then(lacking)).to_series()


add_selector(Selector(DeitaParams, VERSION, False, score, rank, unscored=unscored))
