"""What a programmed row is before it is put into words, and what it is drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import regex
from numpy.typing import NDArray

from curate.generate.generation import SeedExample

DECILES = 10
SLOT = regex.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class Question:
    """A question with its exact answer.

    slots: what the wordings call by these names. context: the text that holds the answer, empty where
    none does. needle: what of it stands there once, and so is the answer. position: share of the rest
    of the context that stands before it. parents: rows of the pool that it is made of.
    """

    slots: Mapping[str, str]
    answer: str
    context: str = ""
    needle: str | None = None
    position: float | None = None
    parents: Sequence[str] = ()


@dataclass(frozen=True)
class Draw:
    """What a question is drawn from: randomness, the decile that its answer stands in, and the pool.

    number: of the row among those of its task. passages: rows of the pool, for a task made of these.
    """

    rng: np.random.Generator
    decile: int
    number: int = 0
    passages: Sequence[SeedExample] = ()


def decile_of(position: float) -> int:
    """Return in which tenth of a context a position lies, from 0."""
    return min(int(position * DECILES), DECILES - 1)


def place_in(decile: int, count: int, rng: np.random.Generator) -> int:
    """Return one of `count` places in a row whose share of the others before it lies in a decile."""
    places = np.arange(count)
    deciles = np.minimum(places * DECILES // max(count - 1, 1), DECILES - 1)
    return int(rng.choice(places[deciles == decile]))


def distinct_numbers(rng: np.random.Generator, count: int, digits: int) -> NDArray[np.int64]:
    """Return numbers of which no two are the same, of so many digits or the fewest that have enough."""
    while 9 * 10 ** (digits - 1) < 2 * count:
        digits += 1
    low = 10 ** (digits - 1)
    numbers: NDArray[np.int64] = rng.choice(9 * low, size=count, replace=False) + low
    return numbers


def fill_slots(wording: str, slots: Mapping[str, str]) -> str:
    """Return a wording with what stands for its names in braces."""
    return SLOT.sub(lambda slot: slots[slot[1]], wording)


def occurrences(needle: str, text: str) -> int:
    """Return how often a needle stands in a text, not as a part of a longer number or word."""
    edges = r"(?<![\p{L}\p{N}])", r"(?![\p{L}\p{N}])"
    before = edges[0] if needle[:1].isalnum() else ""
    after = edges[1] if needle[-1:].isalnum() else ""
    return len(regex.findall(before + regex.escape(needle) + after, text))
