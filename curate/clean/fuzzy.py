"""Near duplicates: rows that share most of their n-grams with a row that is kept.

MinHash-LSH proposes pairs, the true Jaccard similarity of their sets of n-grams decides (Broder 1997;
Lee et al. 2021, arXiv:2107.06499, who cut at about 0.7 as FineWeb does, arXiv:2406.17557).
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
from curate.clean.shingles import Shingles, Unit, shingle
from curate.clean.twins import MOVABLE, Pairs, TwinParams, compared_text, judge_twins, pair_table
from curate.ledger import survivor_batches
from curate.reasons import Reason
from curate.registry import StageData, StageResult, StepRun, stage
from curate.store import Artifact, Counts, Step
from curate.tables import read_table, scan_table

VERSION = 1
SHARD_ROWS = 131_072
BATCH_ROWS = 4_096
VERIFY_PAIRS = 10_000
THREADS = 2

Given = TypeVar("Given")
Made = TypeVar("Made")
Batch = tuple[NDArray[np.int64], pl.Series]


class FuzzyParams(TwinParams):
    """Drop rows whose n-grams are mostly those of a kept row (Jaccard similarity)."""

    kind: Literal["fuzzy"] = "fuzzy"
    unit: Unit = Field("word", description="n-grams of words or of characters")
    ngram: int = Field(5, gt=0)


def prepare_pairs(
    run: StepRun, inputs: Mapping[str, Artifact], params: FuzzyParams
) -> Mapping[str, Artifact]:
    """Return the artifact with pairs.parquet: all pairs found with at least the floor's similarity."""
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
    shards = {f"shard-{i:05d}": made for i, made in enumerate(run.execute_all(steps))}
    told = {**compared, "bands": bands, "floor": params.floor}
    return {
        "pairs": run.execute(Step("fuzzy-pairs", VERSION, write_pairs, {**inputs, **shards}, told))
    }


@stage(FuzzyParams, version=1, prepare=prepare_pairs, movable=MOVABLE)
def fuzzy(data: StageData, params: FuzzyParams) -> StageResult:
    """Drop rows for a kept twin; score is the similarity to the nearest kept row that outranks it."""
    pairs = read_table(data.prepared["pairs"])
    return judge_twins(data, pairs, params, Reason.FUZZY_DUPLICATE)


def write_keys(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write keys.parquet: pool position and band keys of one shard of the pool."""
    names = [f"band-{i:03d}" for i in range(params["bands"] + 1)]
    schema = pl.Schema({"row": pl.UInt32(), **dict.fromkeys(names, pl.UInt64())})
    count = 0
    with pq.ParquetWriter(
        out / "keys.parquet", schema.to_frame().to_arrow().schema, compression="none"
    ) as writer:
        batches = _texts(inputs, params["compare"], params["start"], params["stop"])
        for positions, shingles in in_threads(partial(_shingle, params), batches):
            signature = minhash.signatures(shingles)
            keys = minhash.band_keys(signature, params["bands"], params["rows"])
            columns = dict(zip(names, keys.T, strict=True))
            table = pl.DataFrame({"row": positions, **columns}, schema=schema)
            writer.write_table(table.to_arrow())
            count += len(positions)
    return {"rows_in": count}


def in_threads(function: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """Yield function(item) in the order of the items, a few of them made at the same time."""
    with ThreadPoolExecutor(THREADS) as threads:
        waiting: deque[Future[Made]] = deque()
        for item in items:
            waiting.append(threads.submit(function, item))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _shingle(params: Mapping[str, Any], batch: Batch) -> tuple[NDArray[np.int64], Shingles]:
    positions, texts = batch
    return positions, shingle(texts, params["unit"], params["ngram"])


def _texts(inputs: Mapping[str, Artifact], compare: Any, start: int, stop: int) -> Iterator[Batch]:
    for batch in survivor_batches(inputs, ["messages"], BATCH_ROWS, start, stop):
        told = batch.select("position", text=compared_text(compare))
        yield told["position"].to_numpy(), told["text"]


def write_pairs(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write pairs.parquet: every candidate pair whose true Jaccard similarity reaches the floor."""
    keys = pl.concat(
        scan_table(inputs[name].file("keys.parquet"))
        for name in sorted(inputs)
        if name.startswith("shard-")
    )
    whole = f"band-{params['bands']:03d}"
    same = _copies(inputs, params, keys.select("row", signature=whole).collect())
    bands = [f"band-{i:03d}" for i in range(params["bands"])]
    found = minhash.distinct(_candidates(keys, _second(same), bands))
    similarity = _jaccard(inputs, params, found)
    near = similarity >= params["floor"]
    pairs = np.concatenate([same, found[near]])
    values = np.concatenate([np.ones(len(same)), similarity[near]])
    is_same = np.arange(len(pairs)) < len(same)
    order = np.argsort(pairs)
    ids = read_table(inputs["rows"].file("rows.parquet"), columns=["row_id"])["row_id"]
    table = Pairs(_first(pairs)[order], _second(pairs)[order], values[order], is_same[order])
    pair_table(ids, table).write_parquet(out / "pairs.parquet")
    return {"candidates": len(same) + len(found), "pairs": len(pairs)}


def _first(pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (pairs >> np.uint64(32)).astype(np.int64)


def _second(pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _copies(
    inputs: Mapping[str, Artifact], params: Mapping[str, Any], keys: pl.DataFrame
) -> NDArray[np.uint64]:
    """Return pairs of the first row with a set of n-grams and each other row with the same set.

    Long texts that differ in a word can have one signature, so the sets of such rows are read.
    """
    shared = keys.filter(pl.col("signature").is_duplicated()).sort("row")
    sets = _incidence(inputs, params, shared["row"].to_numpy().astype(np.int64))
    sums = np.zeros(len(shared), dtype=np.uint64)
    if len(shared):
        grams = minhash.fold(sets.indices.astype(np.uint64)[:, None])
        sums = np.add.reduceat(grams, sets.indptr[:-1])
    first = pl.col("row").min().over("signature", "sum")
    linked = shared.with_columns(sum=pl.Series(sums)).with_columns(first=first)
    linked = linked.filter(pl.col("row") != pl.col("first"))
    left, right = (linked[name].to_numpy().astype(np.uint64) for name in ("first", "row"))
    return np.sort(left << np.uint64(32) | right)


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
    inputs: Mapping[str, Artifact], params: Mapping[str, Any], pairs: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Return the true Jaccard similarity of the pairs' sets of n-grams; only those rows are read."""
    first, second = _first(pairs), _second(pairs)
    involved = np.unique(np.concatenate([first, second]))
    sets = _incidence(inputs, params, involved)
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
    inputs: Mapping[str, Artifact], params: Mapping[str, Any], involved: NDArray[np.int64]
) -> csr_array:
    """Return which n-grams the involved rows hold: 1 where row i has the n-gram with that hash."""
    total = inputs["rows"].counts["rows_out"]
    wanted = np.zeros(total, dtype=np.bool_)
    wanted[involved] = True
    columns, counts = [np.empty(0, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    batches = _texts(inputs, params["compare"], 0, total)
    mine = ((at, texts.filter(pl.Series(wanted[at]))) for at, texts in batches)
    for _, shingles in in_threads(partial(_shingle, params), mine):
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
