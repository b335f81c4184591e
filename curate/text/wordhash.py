"""Hashes of all words of many texts, without making a string of each.

The texts become one array of bytes in which a word is a run of small letters, digits and bytes of other
scripts. A word's hash comes from eight of its bytes at a time.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.text.shingles import MULTIPLIER, UNSPACED, WORD_OR_CHARACTER
from curate.text.words import fold, wide_texts

# Characters that are neither ASCII nor part of a word.
OTHER = r"[^\x00-\x7f\p{L}\p{M}\p{N}]+"
# Bytes that a number holds, and as a mask the first 0 to 8 of them.
WIDTH = 8
MASKS = np.array([(1 << 8 * size) - 1 for size in range(WIDTH + 1)], dtype=np.uint64)
# Longer runs are no words of a language.
LONGEST = 256
# Of each byte 1 if it is part of a word of folded text, else 0.
IS_WORD = bytes(
    byte >= 128 or byte in b"0123456789abcdefghijklmnopqrstuvwxyz" for byte in range(256)
)


def hash_words(texts: pl.Series) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the hashes of the words of texts, text after text, and how many each text has."""
    folded = fold(texts)
    wide = wide_texts(folded)
    if len(wide):
        folded = folded.scatter(wide, _spaced(folded.gather(wide)))
    return _hash_runs(folded)


def word_hashes(words: pl.Series) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the hashes of all lists' words, one list after the other, and how many each has."""
    return _hash_runs(words.list.join(" "))


def _spaced(texts: pl.Series) -> pl.Series:
    """Return folded texts with spaces for all that is no word, and around single characters."""
    spaced = texts.str.replace_all(OTHER, " ")
    # Most have no more than quotation marks and dashes that are not ASCII.
    wide = wide_texts(spaced)
    dense = wide.filter(spaced.gather(wide).str.contains(f"[{UNSPACED}]"))
    if not len(dense):
        return spaced
    return spaced.scatter(
        dense, texts.gather(dense).str.extract_all(WORD_OR_CHARACTER).list.join(" ")
    )


def _hash_runs(texts: pl.Series) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    # Never as strings, which would be decoded and encoded once more. No word begins the bytes or ends
    # them, and behind the last one are so many that eight can be read from any place.
    padded = b"\n".join([b"", *texts.cast(pl.Binary).to_list(), bytes(WIDTH)])
    ends = np.cumsum(texts.str.len_bytes().to_numpy().astype(np.int64) + 1)
    data = np.frombuffer(padded, dtype=np.uint8)[1:]
    inside = np.frombuffer(padded.translate(IS_WORD), dtype=np.bool_)
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    start, size = edges[::2], edges[1::2] - edges[::2]
    lengths = np.diff(np.searchsorted(start, ends), prepend=0)
    return _hash_bytes(data, start, size), lengths


def _hash_bytes(
    data: NDArray[np.uint8], start: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return a hash of each run of bytes; equal ones of up to eight bytes are equal runs."""
    eight = np.ndarray((len(data) - WIDTH + 1,), dtype="<u8", buffer=data, strides=(1,))
    hashes = _mixed(eight[start] & MASKS[np.minimum(size, WIDTH)])
    longer = np.flatnonzero(size > WIDTH)
    done = WIDTH
    while len(longer) and done < LONGEST:
        left = size[longer] - done
        more = eight[start[longer] + done] & MASKS[np.minimum(left, WIDTH)]
        hashes[longer] = _mixed(hashes[longer] ^ more)
        longer = longer[left > WIDTH]
        done += WIDTH
    for i in longer.tolist():
        rest = data[start[i] + done : start[i] + size[i]].tobytes().decode(errors="replace")
        hashes[i] ^= np.uint64(pl.Series([rest]).hash(seed=0).item())
    return hashes


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers with every bit spread over all others; no two become the same."""
    mixed = numbers * MULTIPLIER
    mixed ^= mixed >> np.uint64(32)
    mixed *= MULTIPLIER
    mixed ^= mixed >> np.uint64(29)
    return mixed
