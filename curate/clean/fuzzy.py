"""Near duplicates: rows that share most of their n-grams with a row that is kept.

MinHash-LSH proposes pairs, the true Jaccard similarity of their sets of n-grams decides (Broder 1997;
Lee et al. 2021, arXiv:2107.06499, who cut at about 0.7 as FineWeb does, arXiv:2406.17557). Of the pairs
found, those whose system turn, numbers or responses differ are near prompts with different answers,
not duplicates (see curate.clean.guards).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array

from curate.clean import minhash
from curate.clean.duplicates import RETHRESHOLDABLE, judge_duplicates, read_pairs
from curate.clean.guards import (
    GuardedDedupParams,
    answer_text,
    differing_table,
    guard_keys,
    split_pairs,
)
from curate.core.ledger import survivor_batches
from curate.core.reasons import Reason
from curate.core.registry import StageData, StageResult, StepRun, stage
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table, scan_table
from curate.text.compared import compared_text
from curate.text.pairs import Pairs, pair_table
from curate.text.shingles import Shingles, Unit, shingle

VERSION = 3
PAIRS_VERSION = 4
SHARD_ROWS = 131_072
BATCH_ROWS = 4_096
VERIFY_PAIRS = 10_000
THREADS = 2

Item = TypeVar("Item")
Output = TypeVar("Output")


class FuzzyParams(GuardedDedupParams):
    """Drop rows whose n-grams are mostly those of a kept row (Jaccard similarity)."""

    kind: Literal["fuzzy"] = "fuzzy"
    unit: Unit = Field(
        "script",
        description="n-grams of words, of characters, or by the script of each text: of words, and of "
        "characters where a script puts no spaces between words",
    )
    ngram: int = Field(5, gt=0, description="by script: three characters at most")


def prepare_pairs(
    run: StepRun, inputs: Mapping[str, Artifact], params: FuzzyParams
) -> Mapping[str, Artifact]:
    """Return the artifact with all pairs found with at least the floor's similarity.

    Those of duplicates are in pairs.parquet, those that the guards tell apart in differing.parquet.
    """
    bands, rows = minhash.choose_bands(params.floor)
    compared = {"compare": params.compare, "unit": params.unit, "ngram": params.ngram}
    total = inputs["rows"].counts["rows_out"]
    steps = [
        Step(
            "fuzzy-signatures",
            VERSION,
            write_keys,
            inputs,
            {**compared, "bands": bands, "rows": rows, "start": start, "stop": start + SHARD_ROWS},
        )
        for start in range(0, max(total, 1), SHARD_ROWS)
    ]
    shards = {f"shard-{i:05d}": shard for i, shard in enumerate(run.execute_all(steps))}
    step_params = {**compared, "bands": bands, "floor": params.floor, "guards": params.guards}
    pairs = run.execute(
        Step("fuzzy-pairs", PAIRS_VERSION, write_pairs, {**inputs, **shards}, step_params)
    )
    return {"pairs": pairs, "differing": pairs}


@stage(FuzzyParams, version=2, prepare=prepare_pairs, rethresholdable=RETHRESHOLDABLE)
def fuzzy(data: StageData, params: FuzzyParams) -> StageResult:
    """Drop rows for a kept twin; score is the similarity to the nearest kept row that outranks it."""
    pairs = read_pairs(data.prepared["pairs"])
    return judge_duplicates(data, pairs, params, Reason.FUZZY_DUPLICATE)


def write_keys(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write keys.parquet: pool position and band keys of one shard of the pool."""
    names = [f"band-{i:03d}" for i in range(params["bands"] + 1)]
    schema = pl.Schema({"row": pl.UInt32(), **dict.fromkeys(names, pl.UInt64())})
    count = 0
    with pq.ParquetWriter(
        out / "keys.parquet", schema.to_frame().to_arrow().schema, compression="none"
    ) as writer:
        batches = survivor_batches(
            inputs, ["messages"], BATCH_ROWS, params["start"], params["stop"]
        )
        for positions, shingles in in_threads(partial(_read_batch, params), batches):
            signature = minhash.signatures(shingles)
            keys = minhash.band_keys(signature, params["bands"], params["rows"])
            columns = dict(zip(names, keys.T, strict=True))
            table = pl.DataFrame({"row": positions, **columns}, schema=schema)
            writer.write_table(table.to_arrow())
            count += len(positions)
    return {"rows_in": count}


def in_threads(function: Callable[[Item], Output], items: Iterable[Item]) -> Iterator[Output]:
    """Yield function(item) in the order of the items, a few of them made at the same time."""
    with ThreadPoolExecutor(THREADS) as threads:
        waiting: deque[Future[Output]] = deque()
        for item in items:
            waiting.append(threads.submit(function, item))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read_batch(params: Mapping[str, Any], batch: pl.DataFrame) -> tuple[pl.Series, Shingles]:
    """Return the positions of a batch's rows, and their n-grams."""
    texts = batch.select(text=compared_text(params["compare"]))["text"]
    return batch["position"], shingle(texts, params["unit"], params["ngram"])


def write_pairs(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write every candidate pair whose true Jaccard similarity reaches the floor.

    pairs.parquet has the pairs of duplicates, differing.parquet those that the guards tell apart.
    """
    keys = pl.concat(
        scan_table(inputs[name].file("keys.parquet"))
        for name in sorted(inputs)
        if name.startswith("shard-")
    )
    whole = pl.col(f"band-{params['bands']:03d}").alias("signature")
    same = _copies(inputs, params, keys.select("row", whole).collect())
    bands = [f"band-{i:03d}" for i in range(params["bands"])]
    candidates = minhash.distinct(_candidates(keys, _second(same), bands))
    similarity = _jaccard(inputs, params, compared_text(params["compare"]), candidates)
    near = similarity >= params["floor"]
    pairs = np.concatenate([same, candidates[near]])
    values = np.concatenate([np.ones(len(same)), similarity[near]])
    is_same = np.arange(len(pairs)) < len(same)
    order = np.argsort(pairs)
    ids = read_table(inputs["rows"].file("rows.parquet"), columns=["row_id"])["row_id"]
    table = Pairs(_first(pairs)[order], _second(pairs)[order], values[order], is_same[order])
    alike, differing = _split(inputs, params, table)
    pair_table(ids, alike).write_parquet(out / "pairs.parquet")
    differing_table(ids, differing).write_parquet(out / "differing.parquet")
    counts = {"pairs": len(alike.first), "differing": differing.height}
    return {"candidates": len(same) + len(candidates), **counts}


def _split(
    inputs: Mapping[str, Artifact], params: Mapping[str, Any], pairs: Pairs
) -> tuple[Pairs, pl.DataFrame]:
    total = inputs["rows"].counts["rows_out"]
    rows = pl.int_range(total, dtype=pl.UInt32, eager=True).alias("row").to_frame()
    own = _read_guards(inputs, params, np.concatenate([pairs.first, pairs.second]))
    guards = rows.join(own, on="row", how="left", maintain_order="left").fill_null(0)

    def compare_responses(
        first: NDArray[np.int64], second: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        return _jaccard(inputs, params, answer_text(), _packed(first, second))

    return split_pairs(pairs, guards, params["guards"], params["floor"], compare_responses)


def _read_guards(
    inputs: Mapping[str, Artifact], params: Mapping[str, Any], involved: NDArray[np.int64]
) -> pl.DataFrame:
    """Return row and guard keys of the involved rows: few, so it is dear to hash all."""
    keys = guard_keys(params["compare"], params["guards"])
    if not len(involved) or not keys:
        return pl.DataFrame(schema={"row": pl.UInt32, **dict.fromkeys(keys, pl.UInt64)})
    columns = {"row": pl.col("position").cast(pl.UInt32), **keys}
    return pl.concat(_read_rows(inputs, involved, columns))


def _read_rows(
    inputs: Mapping[str, Artifact], involved: NDArray[np.int64], columns: Mapping[str, pl.Expr]
) -> Iterator[pl.DataFrame]:
    """Yield columns of the rows at these pool positions, batch by batch in their order."""
    if not len(involved):
        return iter(())
    is_involved = np.zeros(inputs["rows"].counts["rows_out"], dtype=np.bool_)
    is_involved[involved] = True

    def read(batch: pl.DataFrame) -> pl.DataFrame:
        rows = batch.filter(pl.Series(is_involved[batch["position"].to_numpy()]))
        return rows.select(**columns)

    return in_threads(read, survivor_batches(inputs, ["messages"], BATCH_ROWS))


def _packed(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.uint64]:
    return first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)


def _first(pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (pairs >> np.uint64(32)).astype(np.int64)


def _second(pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _copies(
    inputs: Mapping[str, Artifact], params: Mapping[str, Any], keys: pl.DataFrame
) -> NDArray[np.uint64]:
    """Return pairs of the first row with a set of n-grams and each other row with the same set.

    Long texts that differ in a word can have one signature, so the sets of such rows are read. Rows
    that a guard tells apart, or may, are no copies of each other.
    """
    key = ["signature", *params["guards"]]
    alike = keys.filter(pl.col("signature").is_duplicated())
    guards = _read_guards(inputs, params, alike["row"].to_numpy().astype(np.int64))
    alike = alike.join(guards, on="row", how="left")
    shared = alike.filter(pl.struct(key).is_duplicated()).sort("row")
    text = compared_text(params["compare"])
    sets = _incidence(inputs, params, text, shared["row"].to_numpy().astype(np.int64))
    sums = np.zeros(len(shared), dtype=np.uint64)
    if len(shared):
        grams = minhash.fold(sets.indices.astype(np.uint64)[:, None])
        sums = np.add.reduceat(grams, sets.indptr[:-1])
    first = pl.col("row").min().over(*key, "sum")
    linked = shared.with_columns(sum=pl.Series(sums)).with_columns(first=first)
    linked = linked.filter(pl.col("row") != pl.col("first"))
    return np.sort(_packed(linked["first"].to_numpy(), linked["row"].to_numpy()))


def _candidates(
    keys: pl.LazyFrame, copies: NDArray[np.int64], bands: list[str]
) -> Iterator[NDArray[np.uint64]]:
    """Yield the pairs of each band; rows that are the same as an earlier row stand back."""
    rows = keys.select("row").collect()["row"]
    alone = ~pl.Series(np.isin(rows.to_numpy(), copies))
    column = {name: keys.select(name).collect()[name] for name in bands[:1]}
    for at, name in enumerate(bands):
        following = bands[(at + 1) % len(bands)]
        key, other = column[name], keys.select(following).collect()[following]
        column = {following: other}
        table = pl.DataFrame({"row": rows, "key": key, "other": other})
        yield minhash.bucket_pairs(table.filter(alone))


def _jaccard(
    inputs: Mapping[str, Artifact],
    params: Mapping[str, Any],
    text: pl.Expr,
    pairs: NDArray[np.uint64],
) -> NDArray[np.float64]:
    """Return the true Jaccard similarity of the pairs' sets of n-grams; only those rows are read.

    Args:
        inputs: of the step.
        params: unit and n-gram.
        text: what of the rows is compared.
        pairs: of pool positions, packed.
    """
    first, second = _first(pairs), _second(pairs)
    involved = np.unique(np.concatenate([first, second]))
    sets = _incidence(inputs, params, text, involved)
    sizes = np.diff(sets.indptr)
    left, right = np.searchsorted(involved, first), np.searchsorted(involved, second)

    def count(at: int) -> NDArray[np.int64]:
        part = slice(at, at + VERIFY_PAIRS)
        both: NDArray[np.int64] = sets[left[part]].multiply(sets[right[part]]).sum(axis=1)
        return both

    counted = in_threads(count, range(0, len(pairs), VERIFY_PAIRS))
    shared = np.concatenate([np.empty(0, dtype=np.int64), *counted])
    ratio: NDArray[np.float64] = shared / np.maximum(sizes[left] + sizes[right] - shared, 1)
    return ratio


def _incidence(
    inputs: Mapping[str, Artifact],
    params: Mapping[str, Any],
    text: pl.Expr,
    involved: NDArray[np.int64],
) -> csr_array:
    """Return which n-grams the involved rows hold: 1 where row i has the n-gram with that hash."""
    texts = _read_rows(inputs, involved, {"text": text})

    def cut(batch: pl.DataFrame) -> Shingles:
        return shingle(batch["text"], params["unit"], params["ngram"])

    columns, counts = [np.empty(0, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    for shingles in in_threads(cut, texts):
        if len(shingles.hashes):
            # The hash itself is the column: 63 of its bits make the widest matrix that scipy can hold.
            columns.append((shingles.hashes >> np.uint64(1)).astype(np.int64))
            counts.append(np.diff(shingles.starts))
    ones = np.ones(sum(map(len, columns)), dtype=np.int32)
    starts = np.cumsum(np.concatenate(counts))
    shape = (len(involved), np.iinfo(np.int64).max)
    matrix = csr_array((ones, np.concatenate(columns), starts), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix
