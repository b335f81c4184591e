"""How much of a text says again what it has said: lines, word n-grams, and a loop at its end."""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.text.shingles import Unit, hash_words, is_dense, roll

NGRAM = 10
# Gopher wants 50 words of a document before it looks at it; shorter answers repeat themselves by chance.
FEWEST_WORDS = 50
FEWEST_LINES = 4
# Of a script without spaces, in the place of an English word.
CHARACTERS = 2
# A loop: the last characters are one piece of at most PERIOD characters, TIMES in a row or more.
PERIOD, TIMES, SHORTEST_LOOP = 80, 5, 40
TAIL = PERIOD * TIMES
MIXER = np.uint64(0xD6E8FEB86659FD93)


def repeated_lines(text: pl.Expr) -> pl.Expr:
    """Return the share of a text's characters that lie in lines which it has said before.

    Lines without a letter or a digit are rulers and blanks; texts of few lines have 0.
    """
    line = pl.element()
    lines = text.str.split("\n").list.eval(
        line.str.strip_chars().filter(line.str.contains(r"[\p{L}\p{N}]"))
    )
    said = lines.list.eval(line.str.len_chars()).list.sum()
    once = lines.list.unique().list.eval(line.str.len_chars()).list.sum()
    share = (1 - once / said).cast(pl.Float32)
    return pl.when(lines.list.len() >= FEWEST_LINES).then(share).otherwise(0.0)


def repeated_grams(texts: pl.Series) -> NDArray[np.float32]:
    """Return the share of each text's words that lie in word 10-grams which it has said before [N].

    Texts of few words have 0. Where a script puts no spaces between words, two characters are one.
    """
    return by_script(texts, lambda at, unit, times: _repeated(texts.gather(at), unit, times))


def by_script(
    texts: pl.Series, measure: Callable[[NDArray[np.int64], Unit, int], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return a measure of texts, taken apart of those whose script puts no spaces between words [N].

    Args:
        texts: the texts.
        measure: takes the places of texts, the unit of their words, and how many of these are as much
            as an English word.
    """
    dense = is_dense(texts).to_numpy()
    shares = np.zeros(len(texts), dtype=np.float32)
    units: tuple[tuple[NDArray[np.bool_], Unit, int], ...] = (
        (~dense, "word", 1),
        (dense, "script", CHARACTERS),
    )
    for mask, unit, times in units:
        if mask.any():
            shares[mask] = measure(np.flatnonzero(mask), unit, times)
    return shares


def _repeated(texts: pl.Series, unit: Unit, times: int) -> NDArray[np.float32]:
    words, lengths = hash_words(texts, unit)
    width = NGRAM * times
    shares = np.zeros(len(texts), dtype=np.float32)
    long = lengths >= FEWEST_WORDS * times
    if not long.any():
        return shares
    word_hashes, counts = words[np.repeat(long, lengths)], lengths[long]
    grams, owner, position = roll(word_hashes, counts, width)
    starts = np.cumsum(counts) - counts
    again = ~pl.Series(own_keys(grams, owner)).is_first_distinct().to_numpy()
    covered = cover(starts[owner[again]] + position[again], width, len(word_hashes))
    shares[long] = np.add.reduceat(covered, starts, dtype=np.int64) / counts
    return shares


def own_keys(grams: NDArray[np.uint64], owner: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return hashes that are equal for equal n-grams of the same text alone."""
    mixed = (owner.astype(np.uint64) + np.uint64(1)) * MIXER
    return (grams ^ (mixed >> np.uint64(29))) * MIXER + mixed


def cover(starts: NDArray[np.int64], width: int, size: int) -> NDArray[np.bool_]:
    """Return which of `size` places lie in one of the intervals of a width that begin at `starts`."""
    edges = np.bincount(starts, minlength=size + width) - np.bincount(
        starts + width, minlength=size + width
    )
    return np.cumsum(edges)[:size] > 0


def loop_lengths(texts: pl.Series) -> NDArray[np.int32]:
    """Return how many characters at each text's end are one piece, five times in a row or more [N].

    0 where there is no loop. A piece has at most 80 characters and a letter or digit among them; the
    last one may be cut short.
    """
    lengths = np.zeros(len(texts), dtype=np.int32)
    tails = texts.str.strip_chars().str.slice(-TAIL)
    sizes = tails.str.len_chars().to_numpy()
    # No loop is without a character that comes back: the last one, TIMES in all.
    for some in np.array_split(np.flatnonzero(sizes >= SHORTEST_LOOP), max(len(texts) // 512, 1)):
        if len(some):
            lengths[some] = _loops(tails.gather(some), sizes[some])
    return lengths


def _loops(tails: pl.Series, sizes: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the longest loop at the end of each tail [B]."""
    codes = _codes(tails)
    used = np.arange(TAIL) >= TAIL - np.asarray(sizes)[:, None]
    longest = np.zeros(len(sizes), dtype=np.int32)
    # Which characters, counted from the end, are the last one.
    as_last = np.ascontiguousarray((codes == codes[:, -1:]).T[::-1])
    for period in range(1, PERIOD + 1):
        # Cheap first: most texts do not even repeat their last character at this distance.
        at = np.flatnonzero(as_last[period : TIMES * period : period].all(0))
        if len(at):
            same = (codes[at, period:] == codes[at, :-period]) & used[at, :-period]
            run = np.where(same.all(1), same.shape[1], same[:, ::-1].argmin(1)) + period
            enough = (run >= max(TIMES * period, SHORTEST_LOOP)) & _tells(tails.gather(at), period)
            longest[at] = np.maximum(longest[at], np.where(enough, run, 0))
    return longest


def _tells(tails: pl.Series, period: int) -> NDArray[np.bool_]:
    """Return whether the piece of a loop has a letter or digit: a ruler says nothing."""
    return tails.str.slice(-period).str.contains(r"[\p{L}\p{N}]").to_numpy()


def _codes(tails: pl.Series) -> NDArray[np.uint32]:
    """Return the code points of each tail [B, TAIL], at the right; 0 before them."""
    padded = "".join(tails.str.pad_start(TAIL, "\x00").to_list())
    return np.frombuffer(padded.encode("utf-32-le"), dtype=np.uint32).reshape(len(tails), TAIL)
