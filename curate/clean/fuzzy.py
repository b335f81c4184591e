"""Near duplicates: rows that share most of their n-grams with a row that is kept.

MinHash-LSH proposes pairs, the true Jaccard similarity of their sets of n-grams decides (Broder 1997;
Lee et al. 2021, arXiv:2107.06499, who cut at about 0.7 as FineWeb does, arXiv:2406.17557). Of the pairs
found, those whose system turn, numbers or responses differ are near prompts with different answers,
not duplicates (see curate.clean.guards).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from curate.clean.duplicates import RETHRESHOLDABLE, judge_duplicates, read_pairs
from curate.clean.duplicates_section import ComparedTexts, compared_by, duplicates_section
from curate.clean.guards import (
    Guard,
    GuardedDedupParams,
    differing_table,
    guard_keys,
    split_pairs,
)
from curate.core.calls import Table, cached_files
from curate.core.methods import method
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Counts
from curate.core.tableparts import SurvivorPart, survivor_parts
from curate.core.tables import scan_table, write_table
from curate.core.threads import in_threads
from curate.core.turntext import CONVERSATION
from curate.text import minhash
from curate.text.compared import Compared, compared_text
from curate.text.jaccard import incidence, jaccard, shared_grams
from curate.text.pairs import Pairs, pair_table, repeated
from curate.text.shingles import Shingles, Unit, shingle

VERSION = 4
PAIRS_VERSION = 7
BATCH_ROWS = 4_096
VERIFY_PAIRS = 10_000
# Keys of rows that are in memory at a time.
BUCKET_KEYS = 2**24
# Rows whose sets of n-grams are in memory at a time: half a gigabyte of a hundred words each.
HELD_ROWS = 500_000

UNITS = {"script": "word (or, by script, character)", "char": "character"}


@method
class FuzzyStage(GuardedDedupParams, Stage):
    """Drop rows whose n-grams are mostly those of a kept row (Jaccard similarity)."""

    title: ClassVar[str] = "Near duplicates"
    reads_rejected: ClassVar[bool] = True
    version: ClassVar[int] = 3
    rethresholdable: ClassVar[tuple[str, ...]] = RETHRESHOLDABLE

    method: Literal["fuzzy"] = "fuzzy"
    unit: Unit = Field(
        "script",
        description="n-grams of words, of characters, or by the script of each text: of words, and of "
        "characters where a script puts no spaces between words",
    )
    ngram: int = Field(5, gt=0, description="by script: three characters at most")

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return all pairs found with at least the floor's similarity.

        `pairs` are those of duplicates, `differing` those that the guards tell apart.
        """
        bands, width = minhash.choose_bands(self.floor)
        compared = (self.compare, self.unit, self.ngram)
        parts = survivor_parts(data)
        keys = run.map(write_keys, parts, *compared, bands, width)
        offsets = [part.offset for part in parts]
        guards = self.guards_of(data.rows.scan())
        pairs = run(write_pairs, data, keys, offsets, *compared, bands, self.floor, guards)
        return {name: Table(pairs, name) for name in ("pairs", "differing")}

    def section(self, record: StageRecord) -> Section:
        """Return what was merged, the border, and what other thresholds would drop."""
        return duplicates_section(record, self.compared_texts())

    def compared_texts(self) -> ComparedTexts:
        """Return how rows are compared, in words."""
        unit = UNITS.get(self.unit, self.unit)
        return compared_by(self, (f"the {unit} {self.ngram}-grams that they share",))

    def decide(self, data: StageData) -> StageResult:
        """Drop rows for a kept twin; score is the similarity to the nearest kept row outranking it."""
        pairs = read_pairs(data.prepared["pairs"])
        return judge_duplicates(data, pairs, self, Reason.FUZZY_DUPLICATE)


@cached_files(version=VERSION, name="fuzzy-signatures", title="Sign the n-grams of rows")
def write_keys(
    out: Path,
    rows: SurvivorPart,
    compare: Compared,
    unit: Unit,
    ngram: int,
    bands: int,
    width: int,
) -> Counts:
    """Write keys.parquet: position in the file and band keys of the rows of one part of the pool."""
    names = [f"band-{i:03d}" for i in range(bands + 1)]
    schema = pl.Schema({"row": pl.UInt32(), **dict.fromkeys(names, pl.UInt64())})

    def sign(batch: pl.DataFrame) -> pl.DataFrame:
        texts = batch.select(text=compared_text(compare))["text"]
        keys = minhash.band_keys(minhash.signatures(shingle(texts, unit, ngram)), bands, width)
        columns = dict(zip(names, keys.T, strict=True))
        return pl.DataFrame({"row": batch["position"], **columns}, schema=schema)

    count = 0
    with pq.ParquetWriter(
        out / "keys.parquet", schema.to_frame().to_arrow().schema, compression="none"
    ) as writer:
        for keys in in_threads(sign, rows.batches(["messages"], BATCH_ROWS)):
            writer.write_table(keys.to_arrow())
            count += keys.height
    return {"rows_in": count}


@cached_files(version=PAIRS_VERSION, name="fuzzy-pairs", title="Find pairs of near duplicates")
def write_pairs(
    out: Path,
    data: StageInputs,
    signed: Sequence[Artifact],
    offsets: Sequence[int],
    compare: Compared,
    unit: Unit,
    ngram: int,
    bands: int,
    floor: float,
    guards: Sequence[Guard],
) -> Counts:
    """Write every candidate pair whose true Jaccard similarity reaches the floor.

    `signed` are the keys of the parts of the pool, `offsets` where in it the file of each part begins.

    pairs.parquet has the pairs of duplicates, differing.parquet those that the guards tell apart.
    """
    rows = _Rows(data, compare, unit, ngram, guards)
    keys = keys_of_pool([part.file("keys.parquet") for part in signed], offsets)
    pairs, candidates = _find_pairs(rows, keys, bands, floor)
    ids, alike, differing = _split(rows, pairs, floor)
    write_table(pair_table(ids, alike), out / "pairs.parquet")
    write_table(differing_table(ids, differing), out / "differing.parquet")
    return {"candidates": candidates, "pairs": len(alike.first), "differing": differing.height}


def keys_of_pool(files: Sequence[Path], offsets: Sequence[int]) -> pl.LazyFrame:
    """Return the keys of all parts, their rows by pool position, in a single scan of many files."""
    starts = dict(zip(map(str, files), offsets, strict=True))
    start = pl.col("file").replace_strict(starts, return_dtype=pl.UInt32)
    keys = scan_table(files, file_column="file").with_columns(pl.col("row") + start)
    return keys.drop("file")


@dataclass(frozen=True)
class _Rows:
    """The rows of a stage by pool position: what tells them apart, and their sets of n-grams."""

    data: StageInputs
    compare: Compared
    unit: Unit
    ngram: int
    active_guards: Sequence[Guard]

    def read(
        self, involved: NDArray[np.int64], columns: Mapping[str, pl.Expr]
    ) -> Iterator[pl.DataFrame]:
        """Yield columns of the rows at these pool positions, batch by batch in their order."""
        if not len(involved):
            return iter(())
        is_involved = np.zeros(self.data.rows.height, dtype=np.bool_)
        is_involved[involved] = True

        def read(batch: pl.DataFrame) -> pl.DataFrame:
            rows = batch.filter(pl.Series(is_involved[batch["position"].to_numpy()]))
            return rows.select(**columns)

        start, stop = int(involved.min()), int(involved.max()) + 1
        names = [*CONVERSATION, *(["rejected"] if "rejected" in self.active_guards else [])]
        return in_threads(read, self.data.survivor_batches(names, BATCH_ROWS, start, stop))

    def ids(self, involved: NDArray[np.int64]) -> pl.Series:
        """Return the ids of the rows at these pool positions, which ascend."""
        places = pl.LazyFrame({"row": pl.Series(involved, dtype=pl.get_index_type())})
        ids = self.data.rows.scan().select("row_id").with_row_index("row")
        some = ids.join(places, on="row", how="semi", maintain_order="left")
        return some.collect()["row_id"]

    def guards(self, involved: NDArray[np.int64]) -> pl.DataFrame:
        """Return row and guard keys of the involved rows: few, so it is dear to hash all."""
        keys = guard_keys(self.compare, self.active_guards)
        if not len(involved) or not keys:
            return pl.DataFrame(schema={"row": pl.UInt32, **dict.fromkeys(keys, pl.UInt64)})
        columns = {"row": pl.col("position").cast(pl.UInt32), **keys}
        return pl.concat(self.read(involved, columns))

    def shingles(self, batch: pl.DataFrame) -> Shingles:
        """Return the n-grams of the column text of a batch."""
        return shingle(batch["text"], self.unit, self.ngram)

    def gram_sums(self, text: pl.Expr, involved: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return for each involved row one number that equal sets of n-grams share."""

        def add(batch: pl.DataFrame) -> NDArray[np.uint64]:
            sets = incidence([self.shingles(batch)], batch.height)
            grams = minhash.fold(sets.indices.astype(np.uint64)[:, None])
            return np.add.reduceat(grams, sets.indptr[:-1]) if len(grams) else grams

        sums = in_threads(add, self.read(involved, {"text": text}))
        return np.concatenate([np.empty(0, dtype=np.uint64), *sums])

    def jaccard(self, text: pl.Expr, pairs: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Return the true Jaccard similarity of the pairs' sets of n-grams; only those rows are read.

        Args:
            text: what of the rows is compared.
            pairs: of pool positions, packed.
        """
        parts = (self._jaccard(text, part) for part in few_rows(pairs))
        return np.concatenate([np.empty(0), *parts])

    def _jaccard(self, text: pl.Expr, pairs: NDArray[np.uint64]) -> NDArray[np.float64]:
        first, second = _first(pairs), _second(pairs)
        involved = np.unique(np.concatenate([first, second]))
        shingles = in_threads(self.shingles, self.read(involved, {"text": text}))
        sets = incidence(shingles, len(involved))
        left, right = np.searchsorted(involved, first), np.searchsorted(involved, second)

        def count(at: int) -> NDArray[np.int64]:
            part = slice(at, at + VERIFY_PAIRS)
            return shared_grams(sets, left[part], right[part])

        counted = in_threads(count, range(0, len(pairs), VERIFY_PAIRS))
        shared = np.concatenate([np.empty(0, dtype=np.int64), *counted])
        return jaccard(sets, left, right, shared)


def few_rows(pairs: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    """Yield pairs part by part, in order, so that each part's rows are few enough to be held."""
    rows = len(np.unique(np.concatenate([_first(pairs), _second(pairs)])))
    if rows <= max(HELD_ROWS, 2):
        yield pairs
    else:
        middle = len(pairs) // 2
        yield from few_rows(pairs[:middle])
        yield from few_rows(pairs[middle:])


def _find_pairs(rows: _Rows, keys: pl.LazyFrame, bands: int, floor: float) -> tuple[Pairs, int]:
    """Return the pairs of similar rows, in order, and how many there were to compare."""
    names = [f"band-{i:03d}" for i in range(bands + 1)]
    same = _copies(rows, keys.select("row", signature=names[-1]))
    candidates = minhash.distinct(_candidates(keys, _second(same), names[:-1]))
    similarity = rows.jaccard(compared_text(rows.compare), candidates)
    near = similarity >= floor
    pairs = np.concatenate([same, candidates[near]])
    values = np.concatenate([np.ones(len(same)), similarity[near]])
    is_same = np.arange(len(pairs)) < len(same)
    order = np.argsort(pairs)
    table = Pairs(_first(pairs)[order], _second(pairs)[order], values[order], is_same[order])
    return table, len(same) + len(candidates)


def _split(rows: _Rows, pairs: Pairs, floor: float) -> tuple[pl.Series, Pairs, pl.DataFrame]:
    """Return the ids of the rows with a pair, and by their places in these ids two kinds of pairs.

    The first are those of duplicates, the second those that the guards tell apart.
    """
    involved, places = np.unique([pairs.first, pairs.second], return_inverse=True)
    first, second = places.reshape(2, -1)

    def compare_texts(
        text: pl.Expr, first: NDArray[np.int64], second: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        return rows.jaccard(text, _packed(involved[first], involved[second]))

    placed = Pairs(first, second, pairs.similarity, pairs.same)
    keys = rows.guards(involved)
    split = split_pairs(placed, keys, rows.active_guards, floor, compare_texts)
    return rows.ids(involved), *split


def _packed(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.uint64]:
    return first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)


def _first(pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (pairs >> np.uint64(32)).astype(np.int64)


def _second(pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _copies(rows: _Rows, keys: pl.LazyFrame) -> NDArray[np.uint64]:
    """Return pairs of the first row with a set of n-grams and each other row with the same set.

    Long texts that differ in a word can have one signature, so the sets of such rows are read. Rows
    that a guard tells apart, or may, are no copies of each other.
    """
    key = ["signature", *rows.active_guards]
    signatures = _buckets(keys, "signature", _count(keys))
    alike = pl.concat(_repeated(bucket, "signature") for bucket in signatures)
    guards = rows.guards(alike["row"].to_numpy().astype(np.int64))
    alike = alike.join(guards, on="row", how="left")
    shared = alike.filter(pl.struct(key).is_duplicated()).sort("row")
    text = compared_text(rows.compare)
    sums = rows.gram_sums(text, shared["row"].to_numpy().astype(np.int64))
    first = pl.col("row").min().over(*key, "sum")
    linked = shared.with_columns(sum=pl.Series(sums)).with_columns(first=first)
    linked = linked.filter(pl.col("row") != pl.col("first"))
    return np.sort(_packed(linked["first"].to_numpy(), linked["row"].to_numpy()))


def _candidates(
    keys: pl.LazyFrame, copies: NDArray[np.int64], bands: list[str]
) -> Iterator[NDArray[np.uint64]]:
    """Yield the pairs of each band; rows that are the same as an earlier row stand back."""
    earlier = pl.LazyFrame({"row": pl.Series(np.unique(copies), dtype=pl.UInt32)})
    alone = keys.join(earlier, on="row", how="anti", maintain_order="left")
    count = _count(alone)
    # A single band is its own neighbour.
    neighbours = zip(bands, [*bands[1:], bands[0]], strict=True)
    if count * len(keys.collect_schema()) <= BUCKET_KEYS:
        # All of them are few enough to be held: the files are read once, and not for each band.
        held = alone.collect()
        for name, other in neighbours:
            columns = {"row": held["row"], "key": held[name], "other": held[other]}
            yield minhash.bucket_pairs(pl.DataFrame(columns))
        return
    for name, other in neighbours:
        for bucket in _buckets(alone.select("row", key=name, other=other), "key", count):
            yield minhash.bucket_pairs(bucket)


def _count(keys: pl.LazyFrame) -> int:
    count: int = keys.select(pl.len()).collect().item()
    return count


def _buckets(keys: pl.LazyFrame, column: str, count: int) -> Iterator[pl.DataFrame]:
    """Yield keys bucket by bucket: equal ones are in one, and few enough of `count` in memory."""
    buckets = -(-count // BUCKET_KEYS)
    if buckets <= 1:
        yield keys.collect()
        return
    for bucket in range(buckets):
        yield keys.filter(pl.col(column) % buckets == bucket).collect()


def _repeated(keys: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return the keys that come more than once."""
    return keys[repeated(keys[column].to_numpy())]
