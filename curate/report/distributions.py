"""How long rows are and in which languages: the pool, what the stages kept, and the selection."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from curate.runs.folder import RunFolder

# Bins for each power of ten.
STEPS = 10
LANGUAGES = 6


@dataclass(frozen=True)
class FateCounts:
    """How many rows there are: in the pool, among the kept ones, in the selection."""

    pool: int
    kept: int
    selected: int

    def shares(self, total: "FateCounts") -> tuple[float, float, float]:
        """Return the shares of each total that these are, 0 where there is nothing."""
        pairs = (
            (self.pool, total.pool),
            (self.kept, total.kept),
            (self.selected, total.selected),
        )
        pool, kept, selected = (part / whole if whole else 0.0 for part, whole in pairs)
        return pool, kept, selected


@dataclass(frozen=True)
class LengthBin:
    """Rows that have `low` to below `high` characters in all turns."""

    low: float
    high: float
    counts: FateCounts


@dataclass(frozen=True)
class LengthDistribution:
    """Bins of equal width on a logarithmic scale, those between without a row too."""

    bins: tuple[LengthBin, ...]
    total: FateCounts


@dataclass(frozen=True)
class LanguageLine:
    """The rows whose response is in a language, None where it is too short to tell."""

    code: str | None
    counts: FateCounts


@dataclass(frozen=True)
class LanguageMix:
    """The languages of responses, frequent ones first, of `count`; of the rows that the stage judged."""

    stage: str
    lines: tuple[LanguageLine, ...]
    total: FateCounts
    count: int


def gather_lengths(run: RunFolder) -> LengthDistribution | None:
    """Return None where the store has lost the texts of the pool."""
    rows = run.rows("pool")
    if rows is None:
        return None
    content = pl.element().struct.field("content").str.len_chars()
    chars = pl.col("messages").list.eval(content).list.sum()
    place = (pl.max_horizontal(chars, 1).log10() * STEPS + 1e-9).floor().cast(pl.Int16)
    counted = _count_places(rows.select("row_id", place=place), run.table("ledger"))
    by_place = {at: FateCounts(*counts) for at, *counts in counted.iter_rows()}
    if not by_place:
        return None
    bins = tuple(
        LengthBin(
            _edge(at), _edge(at + 1), by_place.get(at, FateCounts(0, 0, 0))
        )
        for at in range(min(by_place), max(by_place) + 1)
    )  # fmt: skip
    return LengthDistribution(bins, _total(counted))


def _count_places(rows: pl.LazyFrame, ledger: pl.LazyFrame) -> pl.DataFrame:
    """Return how many rows of each fate there are at each place."""
    # The ledger has the order of the pool: hashes tell, where a join would hold the ids of all rows.
    row_hash = pl.col("row_id").hash()
    placed = rows.select("place", row_hash=row_hash).collect()
    fates = ledger.select(row_hash=row_hash, fate=pl.col("fate").cast(pl.Categorical)).collect()
    if fates["row_hash"].equals(placed["row_hash"]):
        both = placed.select("place", fate=fates["fate"]).lazy()
    else:
        both = rows.join(ledger.select("row_id", "fate"), on="row_id")
    return both.group_by("place").agg(*_count_fates()).collect()


def _edge(place: int) -> float:
    return float(10.0 ** (place / STEPS))


def gather_languages(run: RunFolder) -> LanguageMix | None:
    """Return None where no stage has told languages."""
    stage = next(_telling_stages(run), None)
    if stage is None:
        return None
    fates = run.table("ledger").select("row_id", "fate")
    languages = run.table(f"evidence/{stage}").select("row_id", code="response_language")
    counted = (
        languages.join(fates, on="row_id")
        .group_by("code")
        .agg(*_count_fates())
        .sort("pool", "code", descending=[True, False], nulls_last=True)
        .collect()
    )
    lines = (LanguageLine(code, FateCounts(*n)) for code, *n in counted.head(LANGUAGES).iter_rows())
    return LanguageMix(stage, tuple(lines), _total(counted), counted.height)


def _telling_stages(run: RunFolder) -> Iterator[str]:
    for entry in (entry for entry in run.manifest["stages"] if "dropped" in entry):
        name = f"evidence/{entry['stage']}"
        if run.has(name) and "response_language" in run.table(name).collect_schema():
            yield entry["stage"]


def _count_fates() -> tuple[pl.Expr, ...]:
    fate = pl.col("fate")
    sums = {
        "pool": pl.len(),
        "kept": (fate != "dropped").sum(),
        "selected": (fate == "selected").sum(),
    }
    return tuple(total.cast(pl.Int64).alias(name) for name, total in sums.items())


def _total(counted: pl.DataFrame) -> FateCounts:
    return FateCounts(*(int(counted[name].sum()) for name in ("pool", "kept", "selected")))


def median_bin(lengths: LengthDistribution) -> tuple[float, float, float]:
    """Return the middle of the bin that holds the median: of pool, kept rows and selection."""
    middles = []
    for name in ("pool", "kept", "selected"):
        half, passed = getattr(lengths.total, name) / 2, 0
        for one in lengths.bins:
            passed += getattr(one.counts, name)
            if passed >= half:
                middles.append(math.sqrt(one.low * one.high))
                break
    pool, kept, selected = middles
    return pool, kept, selected
