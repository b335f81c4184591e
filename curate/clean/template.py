"""Template of eval prompts: the words that many of them share, so that they tell nothing.

A word is *shared* where it lies in an n-gram that many prompts hold. Around each text are edges that
count as words, so that a few words with which many prompts begin or end are template too ("Answer:").
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.clean.grams import cover, touches
from curate.clean.shingles import roll
from curate.clean.units import Units

# What more prompts than a tenth hold is template, within these limits: sets of questions on passages
# have a handful on each, up to two dozen.
SHARE, FEWEST, MOST = 0.1, 5, 20
# One or two words at an edge are template if nearly all prompts have them there.
NEARLY_ALL = 0.9
# A prompt has a template if so much of it is shared, and is like others if it has as much in common with
# another one of the same template as well.
TEMPLATED, ALIKE = 0.25, 0.25


@dataclass(frozen=True)
class Template:
    """What eval prompts share, and what each has of its own.

    Of each word: shared; most: shared by nearly all prompts; examples: how many hold it somewhere;
    common: many do; plain: most do.
    Of each unit: templated: much of it is shared; slot: it has so little else, or others of its
    template have so much of that too, that all of it together must tell it. The n-grams without a shared
    word in units that are no slots are `gram`, of `unit`, from its word `place` on.
    """

    shared: NDArray[np.bool_]
    most: NDArray[np.bool_]
    examples: NDArray[np.int64]
    common: NDArray[np.bool_]
    plain: NDArray[np.bool_]
    templated: NDArray[np.bool_]
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
    edged = _EdgedGrams(units, ngram)
    shared, most = edged.words(limit), edged.words(max(limit, NEARLY_ALL * units.examples))
    examples = examples_of(units.hashes, units.content[units.owner])
    plain = examples > max(units.examples / 2, FEWEST)
    gram, unit, place = roll(units.hashes, units.lengths, ngram)
    own = ~touches(shared, units.starts[unit] + place, ngram)
    gram, unit, place = gram[own], unit[own], place[own]
    size = own_words(units, unit, place, ngram, plain)
    templated = _count(units, shared) >= TEMPLATED * np.maximum(units.lengths, 1)
    alike = _alike(units, gram, unit, edged.families(limit))
    slot = (size == 0) | (templated & (alike | (size < 2 * ngram)))
    kept = ~slot[unit]
    return Template(
        shared=shared,
        most=most,
        examples=examples,
        common=examples > limit,
        plain=plain,
        templated=templated,
        slot=slot,
        gram=gram[kept],
        unit=unit[kept],
        place=place[kept],
    )


def own_words(
    units: Units,
    unit: NDArray[np.int64],
    place: NDArray[np.int64],
    ngram: int,
    plain: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return how many words of each unit lie in some n-grams, those that most prompts have left out."""
    covered = cover(units.starts[unit] + place, ngram, len(units.hashes))
    return _count(units, covered & ~plain)


def _count(units: Units, words: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.bincount(units.owner[words], minlength=len(units.lengths))


class _EdgedGrams:
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

    def families(self, limit: float) -> NDArray[np.uint64]:
        """Return each unit's family: the n-gram that it shares with most prompts, 0 for none."""
        common = self._common(limit)
        shared = {"unit": self._unit, "gram": self._gram, "examples": self._examples}
        top = (
            pl.DataFrame(shared)
            .filter(common)
            .sort("unit", "examples", "gram", descending=[False, True, False])
            .unique("unit", keep="first")
        )
        family = np.zeros(len(self._units.lengths), dtype=np.uint64)
        family[top["unit"].to_numpy()] = top["gram"].to_numpy()
        return family


def examples_of(gram: NDArray[np.uint64], content: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each n-gram or word how many different prompts hold it."""
    grams, number = np.unique(gram, return_inverse=True)
    most = int(content.max(initial=0)) + 1
    pairs = np.unique(number * most + content)
    counts: NDArray[np.int64] = np.bincount(pairs // most, minlength=len(grams))[number]
    return counts


def _alike(
    units: Units, gram: NDArray[np.uint64], unit: NDArray[np.int64], family: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """Return which units are of a family whose members share n-grams of their own with each other."""
    own = pl.DataFrame({"gram": gram, "unit": unit, "content": units.content[unit]}).unique()
    pairs = own.join(own.select("gram", other="content"), on="gram")
    nearest = (
        pairs.filter(pl.col("content") != pl.col("other"))
        .unique(["unit", "gram", "other"])
        .group_by("unit", "other")
        .agg(common=pl.len())
        .group_by("unit")
        .agg(pl.col("common").max())
    )
    at = nearest["unit"].to_numpy()
    size = np.bincount(own["unit"].to_numpy(), minlength=len(family))
    near = np.zeros(len(family), dtype=np.bool_)
    near[at] = nearest["common"].to_numpy() >= ALIKE * size[at]
    members = pl.DataFrame({"family": family, "near": near})
    return members.select(pl.col("near").mean().over("family")).to_series().to_numpy() >= ALIKE
