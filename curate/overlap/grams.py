"""Runs of words in long sequences: sets of n-grams, and hashes of runs of any length."""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from curate.text.shingles import MULTIPLIER

INVERSE = np.uint64(pow(int(MULTIPLIER), -1, 1 << 64))


class GramSet:
    """A set of n-grams in which many are looked up at once; most of them are not in it."""

    def __init__(self, grams: NDArray[np.uint64]) -> None:
        ordered = np.sort(grams)
        # Much faster than `unique`, which hashes first and sorts then.
        self.grams = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
        bits = max(16, len(self.grams).bit_length() + 4)
        self._shift = np.uint64(64 - bits)
        self._some = np.zeros(1 << bits, dtype=np.bool_)
        self._some[self.grams >> self._shift] = True

    def find(self, grams: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the n-grams of the set stand among others, and which ones they are."""
        # Numpy copies an index of unsigned numbers.
        at = np.flatnonzero(self._some[(grams >> self._shift).view(np.int64)])
        if not len(self.grams):
            return at, at
        number = np.minimum(np.searchsorted(self.grams, grams[at]), len(self.grams) - 1)
        same = self.grams[number] == grams[at]
        return at[same], number[same]


class Powers:
    """Powers of an odd number modulo 2^64 and of its inverse, as many as were asked for so far."""

    def __init__(self) -> None:
        self._powers = np.array([[MULTIPLIER], [INVERSE]])

    def first(self, count: int) -> NDArray[np.uint64]:
        """Return the powers from 1 to `count`, and behind them those of the inverse."""
        while count > self._powers.shape[1]:
            # Those so far, times the last of them.
            further = self._powers * self._powers[:, -1:]
            self._powers = np.concatenate([self._powers, further], axis=1)
        return self._powers[:, :count]


class RunHashes:
    """Hashes of any runs of a sequence of words, each in the time of a look-up.

    A run's is the sum of its words' hashes times powers of an odd number, whose inverse takes away how
    far from the start it stands.
    """

    def __init__(self, words: NDArray[np.uint64], powers: Powers) -> None:
        up, self._inverse = powers.first(len(words) + 1)
        self._sums = np.zeros(len(words) + 1, dtype=np.uint64)
        np.cumsum(words * up[:-1], out=self._sums[1:])

    def of(self, start: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return the hashes of the runs of some sizes that start at some words."""
        sums = self._sums[start + size] - self._sums[start]
        hashes: NDArray[np.uint64] = np.multiply(sums, self._inverse[start], dtype=np.uint64)
        return hashes


def roll_sizes(
    words: NDArray[np.uint64], sizes: Collection[int]
) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Yield size and hashes of the n-grams of several sizes, also those across texts.

    The hashes are those of `roll`; each size goes on from the one before, in the same memory.
    """
    rolled = np.zeros(len(words), dtype=np.uint64)
    for size in range(1, max(sizes, default=0) + 1):
        rolled = rolled[: max(len(words) - size + 1, 0)]
        rolled *= MULTIPLIER
        rolled += words[size - 1 :]
        if size in sizes:
            yield size, rolled


def cover(start: NDArray[np.int64], ngram: int, words: int) -> NDArray[np.bool_]:
    """Return which of all words lie in the n-grams that start at some of them."""
    edges = np.bincount(start, minlength=words + 1)[: words + 1]
    ends = np.bincount(start + ngram, minlength=words + 1)[: words + 1]
    return np.cumsum(edges - ends)[:words] > 0


def held_words(
    marked: NDArray[np.bool_], start: NDArray[np.int64], ngram: int
) -> NDArray[np.int64]:
    """Return how many marked words the n-grams hold that start at some words."""
    total = np.concatenate([[0], np.cumsum(marked)])
    held: NDArray[np.int64] = total[start + ngram] - total[start]
    return held


def touches(marked: NDArray[np.bool_], start: NDArray[np.int64], ngram: int) -> NDArray[np.bool_]:
    """Return which of the n-grams that start at some words hold a marked one."""
    return held_words(marked, start, ngram) > 0
