"""Coverage of eval prompts by rows: pairs of a row and an eval example, from what a search found."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.overlap.grams import cover, held_words, touches
from curate.overlap.parts import UnitGrams
from curate.overlap.prompts import PromptIndex
from curate.overlap.search import GRAMS, Hits, RowCounts
from curate.overlap.template import count_words, is_templated, own_words
from curate.text.words import join_words

# What more rows hold is template or common speech: a twentieth of the rows, within these limits. The
# examples of a data set stand in some dozen of templates, with several questions on each passage.
SHARE, FEWEST, MOST = 0.05, 50, 100
# Inside of sentences, where a piece may be the start of another question.
FEW_INSIDE = 10
# Of a prompt in a template a row must hold more than this.
ALMOST = 0.8
ALL = 0.99
# Places at which a row and a prompt share an n-gram that are looked at together.
MATCHES = 1 << 20
# Pairs that are put into words together.
PAIRS = 1 << 15
SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "eval_id": pl.String(),
        "whole": pl.Boolean(),
        "slot": pl.Boolean(),
        "coverage": pl.Float64(),
        "limit": pl.Float64(),
        "run": pl.Int64(),
        "span": pl.String(),
    }
)
UNIT_PAIRS = {
    "row": pl.Int64,
    "unit": pl.Int64,
    "whole": pl.Boolean,
    "slot": pl.Boolean,
    "coverage": pl.Float64,
    "limit": pl.Float64,
    "run": pl.Int64,
    "start": pl.Int64,
    "signs": pl.String,
}


def row_limit(rows: int) -> int:
    """Return how many rows may hold an n-gram before it tells nothing."""
    return min(max(int(SHARE * rows), FEWEST), MOST)


def measure_pairs(index: PromptIndex, hits: Hits, counts: RowCounts) -> Iterator[pl.DataFrame]:
    """Yield every pair of a row and an eval example that share something, as SCHEMA has it.

    whole: a turn is the prompt; slot: the prompt was looked for as a whole; coverage: share of the
    prompt's own words that the row's turns hold, in n-grams or, for a slot, in pieces; limit: of the
    coverage, where only more of such a prompt is evidence, whatever the threshold; run, span: number
    and text of the words in the longest run that both hold. In the order of rows and prompts, some
    thousand pairs at a time.
    """
    measure = _Measure(index, hits, counts)
    parts = [
        *measure.by_grams(),
        *measure.by_parts(),
        measure.by_pieces(),
        measure.by_slots(),
        measure.whole(),
    ]
    pairs = (
        pl.concat([pl.DataFrame(schema=UNIT_PAIRS), *(part.select(list(UNIT_PAIRS)) for part in parts)])
        .with_columns(prompt=_of(index.units.prompt, "unit"))
        .sort(
            "row", "prompt", "whole", "coverage", "run", "unit",
            descending=[False, False, True, True, True, False],
        )
        .unique(["row", "prompt"], keep="first", maintain_order=True)
    )  # fmt: skip
    for part in pairs.iter_slices(PAIRS):
        words = part.select(words=index.units.words.gather(part["unit"]), start="start", run="run")
        spans = join_words(words.select(pl.col("words").list.slice("start", "run")).to_series())
        yield part.join(hits.ids, on="row", how="left", maintain_order="left").select(
            "row_id",
            eval_id=index.ids.gather(part["prompt"]),
            whole="whole",
            slot="slot",
            coverage="coverage",
            limit="limit",
            run="run",
            span=pl.coalesce("signs", spans),
        )


class _Measure:
    """The pairs of rows and units, by what is found of the units."""

    def __init__(self, index: PromptIndex, hits: Hits, counts: RowCounts) -> None:
        self.index, self.hits, self.counts = index, hits, counts
        template, units = index.template, index.units
        at = units.starts[template.unit] + template.place
        gram = np.searchsorted(index.grams.grams, template.gram)
        common = counts.grams[gram] > row_limit(counts.rows)
        shared = cover(at[common], index.ngram, len(units.hashes))
        own = ~touches(shared, at, index.ngram)
        self.templated = is_templated(units, template.shared | shared)
        left = np.bincount(template.unit[own], minlength=len(units.lengths))
        # A prompt that many rows hold from end to end has no template that could be told from it.
        own |= left[template.unit] == 0
        unit, place = template.unit[own], template.place[own]
        words = own_words(units, unit, place, index.ngram, template.plain)
        size = count_words(units, words)
        # Half of an n-gram's words may be the end of a template and the start of a question.
        telling = 2 * held_words(template.plain, at[own], index.ngram) < index.ngram
        rest = own_words(units, unit[telling], place[telling], index.ngram, template.plain)
        # Some prompts are made of words that most hold: their arrangement is all that tells them.
        telling |= (count_words(units, rest) <= ALMOST * size)[unit]
        placed = gram[own][telling], unit[telling], place[telling]
        self.grams = UnitGrams(index.ngram, index.grams, *placed, words, size)

    def whole(self) -> pl.DataFrame:
        """Return the pairs with a turn that is the prompt: its text, or all of many words."""
        lengths = self.index.units.lengths
        enough = (self.grams.size > 0) & (lengths >= self.index.ngram)
        return self.hits.whole.filter(pl.col("same") | _of(enough, "prompt")).select(
            "row",
            unit="prompt",
            whole=pl.lit(True),
            slot=pl.lit(False),
            coverage=pl.lit(1.0),
            limit=pl.lit(None, pl.Float64),
            run=_of(lengths, "prompt"),
            start=pl.lit(0, pl.Int64),
            signs=pl.lit(None, pl.String),
        )

    def by_slots(self) -> pl.DataFrame:
        """Return the pairs whose row holds a unit's slot from end to end."""
        return self.hits.slots.select(
            "row",
            "unit",
            whole=pl.lit(False),
            slot=pl.lit(True),
            coverage=pl.lit(1.0),
            limit=pl.lit(ALMOST),
            run="size",
            start="start",
            signs=pl.lit(None, pl.String),
        )

    def by_pieces(self) -> pl.DataFrame:
        """Return the pairs whose row holds almost all pieces of a unit."""
        index = self.index
        limit = pl.when("inside").then(FEW_INSIDE).otherwise(row_limit(self.counts.rows))
        many = self.counts.forms.filter(pl.col("held") > limit)
        held = self.hits.forms.join(many, on=["number", "inside"], how="anti")
        pieces = index.pieces
        total = pieces.unique(["unit", "piece"]).group_by("unit").agg(total=pl.col("weight").sum())
        return (
            held.select("row", "number").unique()
            .join(pieces, on="number")
            .sort("row", "unit", "words", "piece", descending=[False, False, True, False])
            .unique(["row", "unit", "piece"], keep="first", maintain_order=True)
            .group_by("row", "unit", maintain_order=True)
            .agg(pl.col("weight").sum(), pl.col("words", "start", "number").first())
            .join(total, on="unit")
            .with_columns(coverage=pl.col("weight") / pl.col("total"))
            .filter(pl.col("coverage") > ALMOST)
            .select(
                "row",
                "unit",
                whole=pl.lit(False),
                slot=pl.lit(True),
                coverage="coverage",
                limit=pl.lit(ALMOST),
                run="words",
                start="start",
                signs=pl.when(pl.col("words") == 0).then(
                    pl.lit(index.forms["text"]).gather(pl.col("number"))
                ),
            )
        )  # fmt: skip

    def by_grams(self) -> Iterator[pl.DataFrame]:
        """Yield the pairs whose row holds n-grams of a unit."""
        templated = _of(self.templated, "unit")
        for pairs in self._pairs(self.grams, self.hits.grams):
            # Rows of the same template share parts of the rest by chance.
            yield pairs.filter((pl.col("coverage") > ALMOST) | ~templated).with_columns(
                limit=pl.when(templated).then(ALMOST)
            )

    def by_parts(self) -> Iterator[pl.DataFrame]:
        """Yield the pairs whose row holds almost all of a short unit, in parts."""
        parts = self.index.parts
        rare = self.counts.parts[parts.gram] <= row_limit(self.counts.rows)
        gram, unit, place = parts.gram[rare], parts.unit[rare], parts.place[rare]
        kept = replace(parts, gram=gram, unit=unit, place=place)
        for pairs in self._pairs(kept, self.hits.parts):
            # A slot in a template may differ from another by a word.
            limit = pl.when(_of(self.templated, "unit")).then(ALL).otherwise(ALMOST)
            yield pairs.filter(pl.col("coverage") > limit).with_columns(limit=limit)

    def _pairs(self, grams: UnitGrams, hits: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Yield the pairs of rows and units that share n-grams, cut between rows into parts."""
        order = np.argsort(grams.gram, kind="stable")
        gram, unit, start = grams.gram[order], grams.unit[order], grams.place[order]
        hits = hits.filter(pl.col("gram").is_in(pl.lit(pl.Series(gram)).implode()))
        hits = hits.sort("row", maintain_order=True)
        row, turn, number, place = (hits[name].to_numpy() for name in GRAMS)
        first = np.searchsorted(gram, number, side="left")
        count = np.searchsorted(gram, number, side="right") - first
        for part in _parts(row, count):
            if count[part].sum() > MATCHES:
                part = part[_first_places(turn[part], number[part], count[part])]
            at = _ranges(first[part], count[part])
            hit = np.repeat(part, count[part])
            runs = _runs(row[hit], unit[at], turn[hit], place[hit] - start[at], start[at])
            yield self._measure(grams, runs)

    def _measure(self, grams: UnitGrams, runs: "_Runs") -> pl.DataFrame:
        """Return coverage and longest run of each pair of a row and a unit."""
        begin = runs.begin + self.index.units.starts[runs.unit]
        end = begin + runs.words + grams.words - 1
        order = np.lexsort((-end, begin, runs.unit, runs.row))
        row, unit, begin, end = runs.row[order], runs.unit[order], begin[order], end[order]
        first = np.flatnonzero(_changes(row, unit))
        pair = np.repeat(np.arange(len(first)), np.diff(first, append=len(row)))
        telling = np.concatenate([[0], np.cumsum(grams.own)])
        # What runs before hold, those of the same pair.
        ahead = pair * len(telling)
        held = np.maximum.accumulate(np.concatenate([[0], (end + ahead)[:-1]])) - ahead
        fresh = np.maximum(telling[end] - telling[np.maximum(begin, held)], 0)
        longest = np.maximum.reduceat(end - begin, first) if len(first) else first
        is_longest = np.flatnonzero(end - begin == longest[pair])
        chosen = is_longest[np.unique(pair[is_longest], return_index=True)[1]]
        total = np.add.reduceat(fresh, first) if len(first) else first
        return pl.DataFrame(
            {
                "row": row[first],
                "unit": unit[first],
                "whole": False,
                "slot": False,
                "coverage": total / grams.size[unit[first]],
                "limit": None,
                "run": longest,
                "start": begin[chosen] - self.index.units.starts[unit[first]],
                "signs": None,
            },
            schema=UNIT_PAIRS,
        )


class _Runs(NamedTuple):
    """Runs of n-grams that a turn of a row and a unit both hold: the first one, and how many."""

    row: NDArray[np.int64]
    unit: NDArray[np.int64]
    begin: NDArray[np.int64]
    words: NDArray[np.int64]


def _runs(
    row: NDArray[np.int64],
    unit: NDArray[np.int64],
    turn: NDArray[np.int64],
    shift: NDArray[np.int64],
    start: NDArray[np.int64],
) -> _Runs:
    """Return the runs of n-grams: one after the other in turn and unit, that is at the same `shift`.

    The n-grams come in the order of the rows and of their places.
    """
    order = np.lexsort((shift, turn, unit, row))
    row, unit, turn, shift, start = (a[order] for a in (row, unit, turn, shift, start))
    begins = _changes(row, unit, turn, shift) | (np.diff(start, prepend=-2) != 1)
    first = np.flatnonzero(begins)
    return _Runs(row[first], unit[first], start[first], np.diff(first, append=len(row)))


def _changes(*keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where any key differs from the one before, the first place included."""
    changed = np.zeros(len(keys[0]), dtype=np.bool_)
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    changed[:1] = True
    return changed


def _of(values: NDArray[Any], number: str) -> pl.Expr:
    """Return the values with the numbers that a column has."""
    return pl.lit(pl.Series(values)).gather(pl.col(number))


def _parts(rows: NDArray[np.int64], count: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of all n-grams, cut between rows so that a part has few matches."""
    ends = np.flatnonzero(np.diff(rows, append=-1)) + 1
    total = np.cumsum(count)
    start = 0
    while start < len(rows):
        limit = MATCHES + (total[start - 1] if start else 0)
        fitting = np.searchsorted(total[ends - 1], limit, side="right")
        following = np.searchsorted(ends, start, side="right")
        stop = int(ends[max(fitting - 1, following)])
        yield np.arange(start, stop)
        start = stop


def _first_places(
    turn: NDArray[np.int64], gram: NDArray[np.int64], count: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which n-grams of a row that repeats itself without end to look at.

    As many first places of each n-gram in a turn as give about MATCHES, at least one. The coverage
    stays exact; a run is cut short where all its n-grams stood as often before.
    """
    grams = pl.DataFrame({"turn": turn, "gram": gram, "count": count})
    times = pl.int_range(pl.len()).over("turn", "gram")
    distinct = grams.filter(times == 0)["count"].sum()
    kept: NDArray[np.bool_] = (
        grams.select(times < max(MATCHES // distinct, 1)).to_series().to_numpy()
    )
    return kept


def _ranges(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return first[0], first[0] + 1, ... of count[0] numbers, then those of first[1], and so on."""
    before = np.cumsum(count) - count
    numbers: NDArray[np.int64] = np.arange(int(count.sum())) + np.repeat(first - before, count)
    return numbers
