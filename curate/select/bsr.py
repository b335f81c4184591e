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

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.fixedpoint import cosines
from curate.core.registry import ScoreRun, Selector, add_selector
from curate.core.store import Artifact, Counts, Step, digest_of
from curate.core.tables import read_table
from curate.models.embed import read_texts, unit
from curate.models.index import blocks_of, named
from curate.models.load import find_model, identify_embedder, load_embedder
from curate.select.pool_target import (
    embed_pool_and_target,
    iter_pool_embeddings,
    read_target_embeddings,
    read_target_texts,
)
from curate.select.similarities import DECIMALS
from curate.select.vectors import VectorParams

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

VERSION = 3
SMALLEST_BLOCK = 512
BATCH_TEXTS = 256
ROUNDING = 1e-5
NOT_NEAR = "not among the nearest rows of any target example"

NOTHING_COVERED = "covers no token of any target example"


class BsrParams(VectorParams):
    """Rows that together cover the tokens of the target examples."""

    method: Literal["bsr"] = "bsr"
    encoder: str = Field("minilm", description="of tokens: minilm, a folder or a hub id")
    candidates: int = Field(
        1_000, gt=0, description="rows nearest by embedder that each example looks at"
    )


def score(run: ScoreRun, params: BsrParams) -> Artifact:
    """Find candidates by sentence embedding, compare their tokens, and store the order of all rows."""
    embedding_inputs = embed_pool_and_target(run, params)
    most = {"candidates": params.candidates}
    near = run.execute(Step("bsr-candidates", VERSION, write_candidates, embedding_inputs, most))
    model, runtime = run.embedder(params.encoder)
    encoder_params = {"model": model, "compare": params.compare}
    target = {"target": embedding_inputs["target"]}
    tokens = run.execute(Step("bsr-target", VERSION, write_tokens, target, encoder_params, runtime))
    blocks = run.execute_all(_recall_steps(run, params, near, tokens))
    inputs = {"kept": run.kept, **target, "near": near, "tokens": tokens, **named(blocks)}
    return run.execute(Step("score-bsr", VERSION, write_scores, inputs))


# --- candidates -----------------------------------------------------------------------------------


def write_candidates(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write candidates.parquet (row, position, example) and nearest.parquet (example, cosine a row).

    `row` numbers the kept rows; candidates are sorted by row, then example.
    """
    target_embeddings = read_target_embeddings(inputs)
    near = np.concatenate(
        [
            cosines(block, target_embeddings).round(DECIMALS)
            for block in iter_pool_embeddings(inputs)
        ]
    )
    kept = read_table(inputs["kept"].file("kept.parquet"))
    by_id = kept["row_id"].arg_sort().to_numpy()
    chosen = [
        by_id[np.argsort(-near[by_id, q], kind="stable")[: params["candidates"]]]
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


def encode_tokens(
    texts: Sequence[str], runtime: Mapping[str, Any]
) -> Iterator[NDArray[np.float32]]:
    """Yield the unit vectors [L, d] of each text's tokens; special ones are left out.

    Raises:
        UserError: the encoder has no vectors of tokens.
    """
    source = find_model(runtime["name"])
    model = _load_encoder(source.name, digest_of(identify_embedder(source)))
    special = set(model.tokenizer.all_special_ids) - {model.tokenizer.unk_token_id}
    for start in range(0, len(texts), BATCH_TEXTS):
        batch = list(texts[start : start + BATCH_TEXTS])
        for output in model.encode(batch, output_value=None, show_progress_bar=False):
            content_mask = output["attention_mask"].bool().cpu().numpy()
            content_mask &= ~np.isin(output["input_ids"].cpu().numpy(), list(special))
            yield unit(output["token_embeddings"].float().cpu().numpy()[content_mask])


@lru_cache(maxsize=1)
def _load_encoder(name: str, digest: str) -> "SentenceTransformer":
    model = load_embedder(find_model(name))
    if "token_embeddings" not in model.encode(["a"], output_value=None)[0]:
        raise UserError(
            f"select.encoder: {name!r} has no vectors of tokens in their context; use minilm or "
            "another transformer"
        )
    return model


def write_tokens(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write tokens.npy [sum of L, d] and starts.npy [Q + 1]: the target examples' tokens."""
    texts = read_target_texts(Table(inputs["target"], "rows"), params["compare"]).to_list()
    states = list(encode_tokens(texts, runtime))
    starts = np.concatenate([[0], np.cumsum([len(part) for part in states])])
    np.save(out / "tokens.npy", np.concatenate(states), allow_pickle=False)
    np.save(out / "starts.npy", starts, allow_pickle=False)
    return {"rows_in": len(texts), "rows_out": len(texts), "tokens": int(starts[-1])}


def _recall_steps(run: ScoreRun, params: BsrParams, near: Artifact, tokens: Artifact) -> list[Step]:
    model, runtime = run.embedder(params.encoder)
    path = run.rows.file("rows.parquet")
    pairs = read_table(near.file("candidates.parquet"))
    positions = pairs["position"].unique().sort().to_numpy()
    steps = []
    for block in blocks_of(positions, run.rows.counts["rows_out"], SMALLEST_BLOCK):
        inside = pairs.filter(pl.col("position").is_between(block[0], block[-1]))
        owners = np.searchsorted(block, inside["position"].to_numpy()).tolist()
        pair_numbers = {"owners": owners, "examples": inside["example"].to_list()}
        texts = digest_of(read_texts(path, block, params.compare))
        step_params = {"texts": texts, "pairs": digest_of(pair_numbers), "model": model}
        block_runtime = {"rows": str(path), "positions": block, "compare": params.compare}
        steps.append(
            Step("bsr-recall", VERSION, write_recall, {"tokens": tokens}, step_params,
                 {**runtime, **block_runtime, **pair_numbers})
        )  # fmt: skip
    return steps


def write_recall(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write recall.npy (float32): R of each token of the example, pair of row and example after pair."""
    tokens, starts = read_tokens(inputs)
    texts = read_texts(Path(runtime["rows"]), runtime["positions"], runtime["compare"])
    bounds = np.flatnonzero(np.diff(runtime["owners"])) + 1
    examples_by_row = np.split(np.asarray(runtime["examples"]), bounds)
    parts = []
    for states, examples in zip(encode_tokens(texts, runtime), examples_by_row, strict=True):
        example_tokens = np.concatenate([tokens[starts[q] : starts[q + 1]] for q in examples])
        parts.append(recall(example_tokens, states))
    np.save(out / "recall.npy", np.concatenate(parts), allow_pickle=False)
    return {"rows_in": len(texts), "rows_out": len(texts)}


def recall(example_tokens: NDArray[np.float32], states: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine of each example token [L, d] to the nearest of a row's [M, d]; 0 if M is 0."""
    if not len(states):
        return np.zeros(len(example_tokens), dtype=np.float32)
    best: NDArray[np.float32] = cosines(example_tokens, states).max(axis=1).astype(np.float32)
    return best


def read_tokens(inputs: Mapping[str, Artifact]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the target examples' token vectors, one example after the other, and where each starts."""
    return (
        np.load(inputs["tokens"].file("tokens.npy"), allow_pickle=False),
        np.load(inputs["tokens"].file("starts.npy"), allow_pickle=False),
    )


# --- order ----------------------------------------------------------------------------------------


def cover(parts: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return all rows of parts [C, L] in greedy order, one covering layer after the other.

    The value of a set is the sum over columns of its largest part; ties go to the earlier row.
    """
    left = np.arange(len(parts))
    layers = []
    while len(left):
        layer = _cover_once(parts[left])
        layers.append(left[layer])
        left = np.delete(left, layer)
    return np.concatenate(layers)


def _cover_once(parts: NDArray[np.float32]) -> list[int]:
    chosen = [_first_of_best(parts.sum(axis=1))]
    covered = parts[chosen[0]].copy()
    useful = np.arange(len(parts))
    while True:
        rises = np.maximum(parts[useful] - covered, 0).sum(axis=1)
        # What raises the value by nothing now will not do so later either.
        useful, rises = useful[rises > ROUNDING], rises[rises > ROUNDING]
        if not len(useful):
            return chosen
        chosen.append(int(useful[_first_of_best(rises)]))
        np.maximum(covered, parts[chosen[-1]], out=covered)


def _first_of_best(values: NDArray[np.float32]) -> int:
    return int((values >= values.max() - ROUNDING).argmax())


def write_scores(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write scores.parquet: row_id, score (largest BSR), nearest_id, place in the order, reason.

    nearest_id is the example that names the row first, or the nearest by cosine if none does.
    """
    nearest = read_table(inputs["near"].file("nearest.parquet"))
    ids = read_table(inputs["kept"].file("kept.parquet"))["row_id"]
    target_ids = read_table(inputs["target"].file("rows.parquet"))["row_id"]
    by_id = np.empty(len(ids), dtype=np.int64)
    by_id[ids.arg_sort().to_numpy()] = np.arange(len(ids))
    value, orders = np.full(len(ids), -np.inf, dtype=np.float32), []
    for rows, parts in _parts_by_example(inputs, by_id):
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
    ).select(
        "row_id",
        pl.when(pl.col("score").is_finite() & (pl.col("score") != 0)).then("score"),
        "nearest_id",
        "place",
        reason=pl.when(~pl.col("named"))
        .then(pl.lit(NOT_NEAR))
        .when(pl.col("score") == 0)
        .then(pl.lit(NOTHING_COVERED)),
    )
    frame.write_parquet(out / "scores.parquet")
    return {"rows_in": frame.height, "rows_out": frame.height, "named": int(is_named.sum())}


def _parts_by_example(
    inputs: Mapping[str, Artifact], by_id: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield each example's candidates, in the order of their ids, and what they add to BSR [C, L]."""
    pairs = read_table(inputs["near"].file("candidates.parquet"))
    rows, example = pairs["row"].to_numpy(), pairs["example"].to_numpy()
    blocks = [inputs[name].file("recall.npy") for name in sorted(inputs) if "block-" in name]
    flat = np.concatenate([np.load(path, allow_pickle=False) for path in blocks])
    _, bounds = read_tokens(inputs)
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


def rank(scores: pl.DataFrame, params: BsrParams, seed: int) -> NDArray[np.int64]:
    """Return row numbers, best first: the stored order."""
    return scores["place"].arg_sort().to_numpy().astype(np.int64)


add_selector(Selector(BsrParams, VERSION, True, score, rank))
