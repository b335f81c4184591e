"""DEITA: the best rows by complexity x quality, each unlike every better one that was taken.

Liu et al. 2024, "What Makes Good Data for Alignment?", arXiv:2312.15685, section 3:

    s = sum over turns of complexity x quality
    go down s; take a row unless its cosine to a row taken before is above the threshold (0.9)

The paper's scores come from two fine-tuned judges. Here `score` names columns of earlier evidence, as
STAGE.COLUMN, and several are multiplied; the stage `deita` gives the paper's (`score: deita.score`).
Without such stages there is `length`, the tokens of the assistant's turns: a plain stand-in that needs
no judge and knows nothing of quality (as a baseline see Zhao et al. 2024, arXiv:2402.04833). Both favour
long conversations by construction.

Passed-over rows come after all that were taken, rows without a score last of all. The vectors are
sentence embeddings, the paper's are last-token states of a language model, for which 0.9 means
something else.

Cost: finding all pairs above the threshold (see curate.models.neighbours), then one pass.

Pitfalls: the paper writes "distance below 0.9" but its code rejects a similarity above it, which is
what is meant. That code drops a row for an earlier one of the same batch even if that was dropped
itself, so that its choice depends on the batch size; here only rows that were taken count. A row that
cannot be scored got the middle score there, in silence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import Annotated, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.core.fixedpoint import cosines
from curate.core.keyed import ModelSource
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.tables import rows_at_once, table_schema
from curate.core.turntext import text_of_turn
from curate.models.control import text_ids
from curate.models.load import load_tokenizer, template_source
from curate.models.neighbours.allpairs import find_pairs
from curate.selectors.vectors import PoolBlocks, VectorParams, embed_pool, read_pool_embeddings

VERSION = 2
SCORES_VERSION = 3
LENGTH = "length"
BATCH_ROWS = 8_192
# Pairs that a row may bring along; a kept row with more is compared with all rows once.
MOST_PAIRS = 1_000
DECIMALS = 6
# Why a row comes after all that were taken, in this order.
LATER = {"too_similar": 1, "no_score": 2}


@method
class DeitaSelector(VectorParams):
    """Best rows by a score, passing over what is much like a better one."""

    title: ClassVar[str] = "DEITA"
    version: ClassVar[int] = VERSION
    evidence_keys: ClassVar[tuple[str, ...]] = ("score",)
    on_targets: ClassVar[str] = "worse than random draws on 7, better on 1"

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

    def score_rows(self, run: ScoreRun) -> Table:
        """Embed the rows, count or look up their scores, and store the filtered order.

        Raises:
            UserError: the recipe has no such stage, or its evidence no such column of numbers.
        """
        embedded = embed_pool(run, self.compare, self.embedder)
        factors = [_find_factor(run, name) for name in self.factors]
        tables, columns = [table for table, _ in factors], [column for _, column in factors]
        return run(scores, embedded, tables, columns, self.threshold)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers: rows taken, rows passed over, rows without a score; each by score."""
        return scores["place"].arg_sort().to_numpy().astype(np.int64)

    def unscored(self, scores: pl.DataFrame) -> pl.Series:
        """Return why a row has no score."""
        lacking = pl.lit(f"no number in {' x '.join(self.factors)}")
        finite = pl.col("score").is_finite().fill_null(value=False)
        return scores.select(pl.when(~finite).then(lacking)).to_series()


@dataclass(frozen=True)
class SimilarityMatches:
    """The diversity filter's result: for each row the better row it is too similar to, and their cosine.

    `similar_to` [N] is -1 for a row that was taken.
    """

    similar_to: NDArray[np.int64]
    cosine: NDArray[np.float64]


def _find_factor(run: ScoreRun, name: str) -> tuple[Table, str]:
    """Return the table that has a factor of the score, and the column that it is."""
    if name == LENGTH:
        return run(evidence, run.rows, run.kept, template_source(run.base)), "tokens"
    stage, _, column = name.partition(".")
    return _find_evidence(run, stage, column or "score"), column or "score"


def _find_evidence(run: ScoreRun, stage: str, column: str) -> Table:
    if stage not in run.evidence:
        stage_names = ", ".join([LENGTH, *run.evidence])
        raise UserError(f"select.score: no stage named {stage!r}; known: {stage_names}")
    schema = table_schema(run.evidence[stage].path)
    numbers = [name for name, kind in schema.items() if kind.is_numeric() or kind == pl.Boolean]
    if column not in numbers:
        problem = f"evidence of {stage!r} has no column {column!r} of numbers"
        raise UserError(f"select.score: {problem}; it has {', '.join(numbers)}")
    return run.evidence[stage]


@cached(version=VERSION, name="deita-tokens", title="Count tokens of responses")
def evidence(rows: Table, kept: Table, model: ModelSource) -> pl.DataFrame:
    """Return row_id and tokens: those of all turns of the assistant, without markup."""
    tokenizer = load_tokenizer(model.folder, model.trust)
    parts = []
    for ids, texts in _responses(rows, kept):
        counts = [len(row) for row in text_ids(tokenizer, texts)]
        parts.append(pl.DataFrame({"row_id": ids, "tokens": counts}))
    return pl.concat(parts)


def _responses(rows: Table, kept: Table) -> Iterator[tuple[pl.Series, list[str]]]:
    turn = pl.element().struct
    content = pl.when(turn.field("role") == "assistant").then(text_of_turn()).drop_nulls()
    responses = (
        rows.scan()
        .join(kept.scan().select("row_id"), on="row_id", how="semi", maintain_order="left")
        .select("row_id", text=pl.col("messages").list.eval(content).list.join("\n"))
    )
    size = rows_at_once(rows.paths, BATCH_ROWS)
    for batch in responses.collect_batches(chunk_size=size, maintain_order=True):
        yield batch["row_id"], batch["text"].to_list()


@cached(version=SCORES_VERSION, name="score-deita")
def scores(
    embedded: PoolBlocks, factors: Sequence[Table], columns: Sequence[str], threshold: float
) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id, place, duplicate_of, cosine, reason.

    reason is too_similar (to duplicate_of, which ranks higher) or no_score; null for rows taken.
    """
    pool = read_pool_embeddings(embedded)
    products = multiply(pool.ids, factors, columns)
    # The ids are sorted, so ties go to the smaller one; rows without a score come last.
    order = np.argsort(-products.fill_null(-np.inf).to_numpy(), kind="stable")
    scored = len(products) - products.null_count()
    matches = filter_similar(pool.vectors[order[:scored]], threshold)
    frame = _order_taken(pool.ids.gather(order), products.gather(order), matches)
    return Counted(frame, {name: int((frame["reason"] == name).sum()) for name in LATER})


def _order_taken(ids: pl.Series, products: pl.Series, matches: SimilarityMatches) -> pl.DataFrame:
    """Return rows that are best first in rank order: those taken first, with places and reasons."""
    rest = len(ids) - len(matches.similar_to)
    similar_to = pl.Series(np.append(matches.similar_to, np.full(rest, -1)))
    cosine = np.append(matches.cosine, np.full(rest, np.nan))
    reason = (
        pl.when(pl.col("score").is_null())
        .then(pl.lit("no_score"))
        .when(pl.col("duplicate_of").is_not_null())
        .then(pl.lit("too_similar"))
    )
    frame = pl.DataFrame(
        {
            "row_id": ids,
            "score": products.cast(pl.Float32),
            "nearest_id": pl.Series([None] * len(ids), dtype=pl.String),
            "duplicate_of": ids.gather(similar_to.set(similar_to < 0, None)),
            "cosine": pl.Series(cosine).fill_nan(None).cast(pl.Float32),
        }
    ).with_columns(reason=reason)
    later = pl.col("reason").replace_strict(LATER, default=0)
    return frame.sort(later, maintain_order=True).with_columns(
        place=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    )


def multiply(ids: pl.Series, factors: Sequence[Table], columns: Sequence[str]) -> pl.Series:
    """Return the product of columns of tables, for these ids; null where one is not a number."""
    table = ids.to_frame("row_id").lazy()
    for i, (one, column) in enumerate(zip(factors, columns, strict=True)):
        factor = pl.col(column).cast(pl.Float64).alias(f"factor-{i}")
        numbers = one.scan().select("row_id", factor)
        table = table.join(numbers, on="row_id", how="left", maintain_order="left")
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
