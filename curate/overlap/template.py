"""Template of eval prompts: the words that many of them share, so that they tell nothing.

A word is *shared* where it lies in an n-gram that many prompts hold. Around each text are edges that
count as words, so that a few words with which many prompts begin or end are template too ("Answer:").
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.overlap.grams import cover, touches
from curate.overlap.units import Units
from curate.text.shingles import roll

# What more prompts than a tenth hold is template, within these limits: sets of questions on passages
# have a handful on each, up to two dozen.
SHARE, FEWEST, MOST = 0.1, 3, 20
# One or two words at an edge are template if nearly all prompts have them there.
NEARLY_ALL = 0.9
# A prompt has a template if so much of it is shared, and few words besides if they are fewer than so
# many n-grams.
TEMPLATED, FEW = 0.25, 3.5


@dataclass(frozen=True)
class Template:
    """What eval prompts share, and what each has of its own.

    Of each word: shared; most: shared by nearly all prompts; examples: how many hold it somewhere;
    common: many do; plain: most do.
    Of each unit: slot: it has so little of its own that only all of it together tells it. The n-grams
    without a shared word, in units that are no slots, are `gram`, of `unit`, from its word `place` on.
    """

    shared: NDArray[np.bool_]
    most: NDArray[np.bool_]
    examples: NDArray[np.int64]
    common: NDArray[np.bool_]
    plain: NDArray[np.bool_]
    slot: NDArray[np.bool_]
    gram: NDArray[np.uint64]
    unit: NDArray[np.int64]
    place: NDArray[np.int64]


def example_limit(examples: int) -> int:
    """Return how many eval examples may hold an n-gram before it tells nothing."""
    return min(max(int(SHARE * examples), FEWEST), MOST)


def find_template(units: Units, ngram: int) -> Template:
    """Return what the prompts share."""
    limit = example_limit(units.examples)
    edged = _EdgeGrams(units, ngram)
    shared, most = edged.words(limit), edged.words(max(limit, NEARLY_ALL * units.examples))
    examples = examples_of(units.hashes, units.content[units.owner])
    plain = examples > max(units.examples / 2, FEWEST)
    gram, unit, place = roll(units.hashes, units.lengths, ngram)
    own = ~touches(shared, units.starts[unit] + place, ngram)
    gram, unit, place = gram[own], unit[own], place[own]
    size = count_words(units, own_words(units, unit, place, ngram, plain))
    slot = (size == 0) | (is_templated(units, shared) & (size < FEW * ngram))
    kept = ~slot[unit]
    return Template(
        shared=shared,
        most=most,
        examples=examples,
        common=examples > limit,
        plain=plain,
        slot=slot,
        gram=gram[kept],
        unit=unit[kept],
        place=place[kept],
    )


def is_templated(units: Units, shared: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which units are of a prompt much of which is shared, with its choices or without."""
    much = count_words(units, shared) >= TEMPLATED * np.maximum(units.lengths, 1)
    prompts: NDArray[np.bool_] = np.bincount(units.prompt, weights=much) > 0
    return prompts[units.prompt]


def own_words(
    units: Units,
    unit: NDArray[np.int64],
    place: NDArray[np.int64],
    ngram: int,
    plain: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return which words lie in some n-grams, those that most prompts have left out."""
    own: NDArray[np.bool_] = cover(units.starts[unit] + place, ngram, len(units.hashes)) & ~plain
    return own


def count_words(units: Units, words: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many of some words each unit has."""
    return np.bincount(units.owner[words], minlength=len(units.lengths))


class _EdgeGrams:
    """The n-grams of units with edges around them, and how many prompts hold each."""

    def __init__(self, units: Units, ngram: int) -> None:
        self._units, self._ngram = units, ngram
        pad = ngram - 1
        size = units.lengths + 2 * pad
        self._starts = np.cumsum(size) - size
        at = np.arange(int(size.sum())) - np.repeat(self._starts, size)
        self._inner = (at >= pad) & (at < np.repeat(size - pad, size))
        padded = np.ones(len(at), dtype=np.uint64)
        padded[self._inner] = units.hashes
        self._gram, self._unit, self._place = roll(padded, size, ngram)
        behind = self._place + ngram - pad - units.lengths[self._unit]
        self._real = ngram - np.maximum(pad - self._place, 0) - np.maximum(behind, 0)
        self._examples = examples_of(self._gram, units.content[self._unit])

    def _common(self, limit: float) -> NDArray[np.bool_]:
        few = max(NEARLY_ALL * self._units.examples, FEWEST)
        common: NDArray[np.bool_] = self._examples > np.where(self._real < 3, few, limit)
        return common

    def words(self, limit: float) -> NDArray[np.bool_]:
        """Return which words lie in an n-gram that more than `limit` prompts hold."""
        common = self._common(limit)
        starts = self._starts[self._unit[common]] + self._place[common]
        return cover(starts, self._ngram, len(self._inner))[self._inner]


def examples_of(gram: NDArray[np.uint64], content: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each n-gram or word how many different prompts hold it."""
    table = pl.DataFrame({"gram": gram, "content": content})
    count = table.select(pl.col("content").n_unique().over("gram").cast(pl.Int64))
    return count.to_series().to_numpy()
