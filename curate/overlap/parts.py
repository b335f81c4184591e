"""Short n-grams of short eval prompts, whose sentences may stand in another order or in other words.

A question on two facts of seven words each shares few n-grams of eight words with a row that puts the
facts in other words and the question first. Of such prompts almost all words must be held, in runs of
some length.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.overlap.grams import GramSet, cover
from curate.overlap.template import (
    FEW,
    Template,
    count_words,
    example_limit,
    examples_of,
    own_words,
)
from curate.overlap.units import Units
from curate.text.shingles import roll

PART = 4
# Fewer words than these say too little if one of them may differ.
FEWEST_PARTS = 3


@dataclass(frozen=True)
class UnitGrams:
    """N-grams of units: how many words each has, the set of them, and where each stands.

    own: which words of all units count; size: how many those are of each unit.
    """

    words: int
    grams: GramSet
    gram: NDArray[np.int64]
    unit: NDArray[np.int64]
    place: NDArray[np.int64]
    own: NDArray[np.bool_]
    size: NDArray[np.int64]


def find_parts(units: Units, template: Template, ngram: int) -> UnitGrams:
    """Return the n-grams of PART words of units that are short."""
    own = own_words(units, template.unit, template.place, ngram, template.plain)
    size = count_words(units, own)
    short = (size < FEW * ngram) & (ngram > PART)
    gram, unit, place = roll(units.hashes, units.lengths, PART)
    # Few prompts are short, so those of the others are counted only where they are the same.
    counted, _ = GramSet(gram[short[unit]]).find(gram)
    gram, unit, place = gram[counted], unit[counted], place[counted]
    common = examples_of(gram, units.content[unit]) > example_limit(units.examples)
    at = units.starts[unit] + place
    telling = ~cover(at[common], PART, len(units.hashes)) & ~template.plain & short[units.owner]
    telling_size = count_words(units, telling)
    kept = ~common & (short & (telling_size >= FEWEST_PARTS * PART))[unit]
    grams = GramSet(gram[kept])
    number = np.searchsorted(grams.grams, gram[kept])
    return UnitGrams(PART, grams, number, unit[kept], place[kept], telling, telling_size)
