"""Set-BSR: for each target example the set of rows that covers its tokens together.

Gupta et al. 2023, "Coverage-based Example Selection for In-Context Learning", arXiv:2305.14907. Let
x_1..x_L be unit vectors of an example's tokens in their context, and z_1..z_M a row's. BSR is the recall
of BERTScore (Zhang et al. 2020, arXiv:1904.09675):

    R[i, z] = max over j of x_i . z_j       BSR(z) = mean over i of R[i, z]
    Set-BSR(Z) = mean over i of max over z in Z of R[i, z]

Set-BSR is monotone and submodular, so adding the row that raises it most reaches at least 1 - 1 / e of
the best. Once no row raises it, what is covered is forgotten and the rows left cover the example anew,
one layer after the other. The target examples then take turns (as in rds), each naming the next row of
its order. Rows that cover the same tokens do not come together, unlike nearest neighbours.

An example only looks at its `candidates` nearest rows by sentence embedding; rows that are nobody's
candidate come last, by that cosine, without a score. Tokens come from a sentence encoder (minilm by
default) and not from the base model: the paper's are a bidirectional encoder's, in which a token knows
both sides of it, where a causal model's last states serve the next token; and it takes a fraction of
the time. Special tokens count on neither side; idf weights are off, as is the authors' default.

Cost: one pass of the encoder over the union of candidates, then examples x candidates x tokens of both.
Of each pair R is stored, 4 bytes x tokens of the example; vectors of rows' tokens are not.

Pitfalls: the encoder reads the start of long rows alone (256 tokens for minilm). Function words are
tokens like others and easily covered. The authors' list is best last, for prompts; here best is first.
A rise up to ROUNDING counts as none and so does such a difference between rows: what else is in a
batch moves a row's vectors by about that much, and copies of a row have to be equal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import CachedCall, Counted, Table, cached, cached_files
from curate.core.digests import digest_of
from curate.core.fixedpoint import cosines
from curate.core.keyed import EmbedderSource
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.store import Artifact, Counts
from curate.core.wants import ONE_GPU
from curate.models.embed import TextBlock, text_blocks
from curate.models.tokenvectors import best_cosines, encode_tokens
from curate.selectors.pool_target import (
    PoolAndTarget,
    embed_pool_and_target,
    iter_pool_embeddings,
    read_target_embeddings,
    read_target_texts,
)
from curate.selectors.similarities import DECIMALS
from curate.selectors.vectors import VectorParams
from curate.text.compared import Compared
from curate.text.setcover import cover

VERSION = 3
SMALLEST_BLOCK = 512
NOT_NEAR = "not among the nearest rows of any target example"

NOTHING_COVERED = "covers no token of any target example"


@method
class BsrSelector(VectorParams):
    """Rows that together cover the tokens of the target examples."""

    title: ClassVar[str] = "Set-BSR"
    version: ClassVar[int] = VERSION
    needs_target: ClassVar[bool] = True

    method: Literal["bsr"] = "bsr"
    encoder: str = Field("minilm", description="of tokens: minilm, a folder or a hub id")
    candidates: int = Field(
        1_000, gt=0, description="rows nearest by embedder that each example looks at"
    )

    def score_rows(self, run: ScoreRun) -> Table:
        """Find candidates by sentence embedding, compare their tokens, store the order of all rows."""
        embedded = embed_pool_and_target(run, self.compare, self.embedder)
        near = run(write_candidates, embedded, self.candidates)
        encoder = run.embedder(self.encoder)
        tokens = run(write_tokens, target=embedded.target, model=encoder, compare=self.compare)
        blocks = run.results(_recall_calls(run, self, near, tokens))
        return run(
            scores, kept=run.kept, target=embedded.target, near=near, tokens=tokens, blocks=blocks
        )

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first: the stored order."""
        return scores["place"].arg_sort().to_numpy().astype(np.int64)


# --- candidates -----------------------------------------------------------------------------------


@cached_files(version=VERSION, name="bsr-candidates")
def write_candidates(out: Path, embedded: PoolAndTarget, candidates: int) -> Counts:
    """Write candidates.parquet (row, position, example) and nearest.parquet (example, cosine a row).

    `row` numbers the kept rows; candidates are sorted by row, then example.
    """
    target_embeddings = read_target_embeddings(embedded)
    near = np.concatenate(
        [
            cosines(block, target_embeddings).round(DECIMALS)
            for block in iter_pool_embeddings(embedded)
        ]
    )
    kept = embedded.kept.read()
    by_id = kept["row_id"].arg_sort().to_numpy()
    chosen = [
        by_id[np.argsort(-near[by_id, q], kind="stable")[:candidates]]
        for q in range(len(target_embeddings))
    ]
    pairs = pl.DataFrame(
        {
            "row": np.concatenate(chosen),
            "example": np.repeat(np.arange(len(chosen)), [len(rows) for rows in chosen]),
        }
    ).sort("row", "example")
    pairs = pairs.with_columns(position=kept["position"].gather(pairs["row"]))
    pairs.write_parquet(out / "candidates.parquet")
    nearest = pl.DataFrame(
        {"example": near.argmax(axis=1), "cosine": near.max(axis=1).astype(np.float32)}
    )
    nearest.write_parquet(out / "nearest.parquet")
    return {"rows_in": kept.height, "rows_out": pairs["row"].n_unique(), "pairs": pairs.height}


# --- tokens ---------------------------------------------------------------------------------------


@cached_files(version=VERSION, name="bsr-target", wants=ONE_GPU)
def write_tokens(out: Path, target: Table, model: EmbedderSource, compare: Compared) -> Counts:
    """Write tokens.npy [sum of L, d] and starts.npy [Q + 1]: the target examples' tokens."""
    texts = read_target_texts(target, compare).to_list()
    states = list(encode_tokens(texts, model.name))
    starts = np.concatenate([[0], np.cumsum([len(part) for part in states])])
    np.save(out / "tokens.npy", np.concatenate(states), allow_pickle=False)
    np.save(out / "starts.npy", starts, allow_pickle=False)
    return {"rows_in": len(texts), "rows_out": len(texts), "tokens": int(starts[-1])}


@dataclass(frozen=True)
class PairBlock:
    """Pairs of a row and a target example, row after row, by their numbers in a block and the target."""

    rows: Sequence[int]
    examples: Sequence[int]
    reads: tuple[Artifact, ...] = ()

    @property
    def identity(self) -> str:
        """Return the digest of the numbers."""
        return digest_of({"owners": self.rows, "examples": self.examples})

    def by_row(self) -> list[NDArray[np.int64]]:
        """Return the examples of each row of the block; each has one at least."""
        return np.split(np.asarray(self.examples), np.flatnonzero(np.diff(self.rows)) + 1)


def _recall_calls(
    run: ScoreRun, params: BsrSelector, near: Artifact, tokens: Artifact
) -> list[CachedCall[Table]]:
    encoder = run.embedder(params.encoder)
    pairs = Table(near, "candidates").read()
    positions = pairs["position"].unique().sort().to_numpy()
    calls = []
    for texts in text_blocks(run, run.rows, positions, params.compare, SMALLEST_BLOCK):
        block = texts.positions
        inside = pairs.filter(pl.col("position").is_between(block[0], block[-1]))
        numbers = np.searchsorted(block, inside["position"].to_numpy()).tolist()
        pair_block = PairBlock(numbers, inside["example"].to_list())
        calls.append(recall.call(tokens, texts, pair_block, encoder))
    return calls


@cached(version=VERSION, name="bsr-recall", wants=ONE_GPU)
def recall(
    tokens: Artifact, texts: TextBlock, pairs: PairBlock, model: EmbedderSource
) -> Counted[NDArray[np.float32]]:
    """Return R of each token of the example, pair of row and example after pair."""
    target_tokens, starts = read_tokens(tokens)
    strings = texts.texts()
    parts = []
    for states, examples in zip(encode_tokens(strings, model.name), pairs.by_row(), strict=True):
        example_tokens = [target_tokens[starts[q] : starts[q + 1]] for q in examples]
        parts.append(best_cosines(np.concatenate(example_tokens), states))
    rows = len(strings)
    return Counted(np.concatenate(parts), {"rows_in": rows, "rows_out": rows})


def read_tokens(tokens: Artifact) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the target examples' token vectors, one example after the other, and where each starts."""
    return Table(tokens, "tokens").array(), Table(tokens, "starts").array()


# --- order ----------------------------------------------------------------------------------------


@cached(version=VERSION, name="score-bsr")
def scores(
    kept: Table, target: Table, near: Artifact, tokens: Artifact, blocks: Sequence[Table]
) -> Counted[pl.DataFrame]:
    """Return row_id, score (largest BSR), nearest_id, place in the order, reason.

    nearest_id is the example that names the row first, or the nearest by cosine if none does.
    """
    nearest = Table(near, "nearest").read()
    ids = kept.read(["row_id"])["row_id"]
    target_ids = target.read(["row_id"])["row_id"]
    by_id = np.empty(len(ids), dtype=np.int64)
    by_id[ids.arg_sort().to_numpy()] = np.arange(len(ids))
    value, orders = np.full(len(ids), -np.inf, dtype=np.float32), []
    for rows, parts in _parts_by_example(near, tokens, blocks, by_id):
        value[rows] = np.maximum(value[rows], parts.sum(axis=1))
        orders.append(rows[cover(parts)])
    time, example = first_turns(orders, len(ids))
    is_named = example >= 0
    place = np.empty(len(ids), dtype=np.int64)
    place[np.lexsort((by_id, -nearest["cosine"].to_numpy(), time))] = np.arange(len(ids))
    frame = pl.DataFrame(
        {
            "row_id": ids,
            "score": value.round(DECIMALS),
            "nearest_id": target_ids.gather(np.where(is_named, example, nearest["example"])),
            "place": place,
            "named": is_named,
        }
    )
    return Counted(_explain(frame), {"named": int(is_named.sum())})


def _explain(frame: pl.DataFrame) -> pl.DataFrame:
    """Return row_id, score, nearest_id, place, and the reason of rows that have no score."""
    score = pl.col("score")
    return frame.select(
        "row_id",
        pl.when(score.is_finite() & (score != 0)).then("score"),
        "nearest_id",
        "place",
        reason=pl.when(~pl.col("named"))
        .then(pl.lit(NOT_NEAR))
        .when(score == 0)
        .then(pl.lit(NOTHING_COVERED)),
    )


def _parts_by_example(
    near: Artifact, tokens: Artifact, blocks: Sequence[Table], by_id: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield each example's candidates, in the order of their ids, and what they add to BSR [C, L]."""
    pairs = Table(near, "candidates").read()
    rows, example = pairs["row"].to_numpy(), pairs["example"].to_numpy()
    flat = np.concatenate([block.array() for block in blocks])
    _, bounds = read_tokens(tokens)
    lengths = np.diff(bounds)
    starts = np.cumsum(lengths[example]) - lengths[example]
    for q, length in enumerate(lengths):
        example_pairs = np.flatnonzero(example == q)
        example_pairs = example_pairs[np.argsort(by_id[rows[example_pairs]])]
        yield (
            rows[example_pairs],
            flat[starts[example_pairs, None] + np.arange(length)] / np.float32(max(length, 1)),
        )


def first_turns(
    orders: Sequence[NDArray[np.int64]], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each of `count` rows the first turn at which an order names it, and which one does.

    In round t order q names its t-th row, new or not. Rows that none names come at the end, owner -1.
    """
    time = np.full(count, count * len(orders))
    owner = np.full(count, -1)
    for q, rows in enumerate(orders):
        turns = np.arange(len(rows)) * len(orders) + q
        first = turns < time[rows]
        time[rows[first]], owner[rows[first]] = turns[first], q
    return time, owner
