"""Texts as sets of n-grams, as 64-bit hashes in flat arrays.

Words are lower-cased runs of letters, marks and digits in Unicode NFC, so case, punctuation and
white space play no part. Scripts without spaces between words (Chinese, Japanese, Thai and others) have
no such runs: by "script", each of their characters is a word of its own, and texts that are mostly of
such characters are cut into n-grams of three, which a changed word leaves enough of. A text with fewer
units than an n-gram has is one shingle as a whole: it equals only texts that are the same but for case
and white space, symbols included.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Unit = Literal["script", "word", "char"]
# Odd, so that multiplication modulo 2^64 loses nothing.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
WORD = r"[\p{L}\p{M}\p{N}]+"
# Thai, Lao, Tibetan, Burmese, Khmer, kana and the marks between them, Chinese characters.
UNSPACED = (
    r"\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}"
)
CHARACTER = rf"[{UNSPACED}&&\p{{L}}\p{{N}}]\p{{M}}*"
WORD_OR_CHARACTER = rf"{CHARACTER}|[\p{{L}}\p{{M}}\p{{N}}--[{UNSPACED}]]+"
CHARACTERS = 3
WHOLE_SEED = 1


@dataclass(frozen=True)
class Shingles:
    """The n-gram hashes of N texts, one after the other; text i's are hashes[starts[i]:starts[i+1]]."""

    hashes: NDArray[np.uint64]
    starts: NDArray[np.int64]


def shingle(texts: pl.Series, unit: Unit, ngram: int) -> Shingles:
    """Return the n-grams of texts in their order, repeats included; every text has at least one.

    Args:
        texts: the texts.
        unit: words, characters, or what the script of each text has.
        ngram: units in an n-gram; where "script" makes them characters, CHARACTERS at most.
    """
    plain = plain_texts(texts)
    mask = is_dense(plain) if unit == "script" else pl.Series([False])
    if not mask.any():
        return _shingle_plain(plain, unit, ngram)
    dense = _shingle_plain(plain.filter(mask), unit, min(ngram, CHARACTERS))
    spaced = _shingle_plain(plain.filter(~mask), unit, ngram)
    return _merge(mask.to_numpy(), dense, spaced)


def is_dense(texts: pl.Series) -> pl.Series:
    """Return which texts are at least half of characters of scripts without spaces, half of words."""
    dense = texts.str.contains(f"[{UNSPACED}]")
    some = texts.filter(dense)
    share = some.str.count_matches(CHARACTER) * 2 >= some.str.count_matches(WORD_OR_CHARACTER)
    return dense.scatter(dense.arg_true(), share)


def _merge(mask: NDArray[np.bool_], one: Shingles, other: Shingles) -> Shingles:
    """Return the shingles of all texts: those of `one` where the mask is true, else of `other`."""
    counts = np.empty(len(mask), dtype=np.int64)
    counts[mask], counts[~mask] = np.diff(one.starts), np.diff(other.starts)
    of_one = np.repeat(mask, counts)
    hashes = np.empty(len(of_one), dtype=np.uint64)
    hashes[of_one], hashes[~of_one] = one.hashes, other.hashes
    return Shingles(hashes, np.concatenate([[0], np.cumsum(counts)]))


def _shingle_plain(plain: pl.Series, unit: Unit, ngram: int) -> Shingles:
    units, lengths = _char_codes(plain) if unit == "char" else _word_hashes(plain, unit)
    grams = _roll_hashes(units, lengths, ngram)
    short = lengths < ngram
    counts = np.where(short, 1, lengths - ngram + 1)
    starts = np.concatenate([[0], np.cumsum(counts)])
    if not short.any():
        return Shingles(grams, starts)
    whole = plain.filter(pl.Series(short)).str.replace_all(r"\s+", " ").str.strip_chars()
    is_whole = np.zeros(starts[-1], dtype=np.bool_)
    is_whole[starts[:-1][short]] = True
    hashes = np.empty(starts[-1], dtype=np.uint64)
    hashes[~is_whole] = grams
    hashes[is_whole] = whole.hash(seed=WHOLE_SEED).to_numpy()
    return Shingles(hashes, starts)


def hash_words(
    texts: pl.Series, unit: Unit = "word"
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the hashes of all texts' words, one text after the other, and how many each has."""
    return _word_hashes(plain_texts(texts), unit)


def roll(
    units: NDArray[np.uint64], lengths: NDArray[np.int64], ngram: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Return hash, text number and position in the text of every n-gram, none across texts.

    Args:
        units: hashes of all texts' words or characters, one text after the other.
        lengths: how many each text has.
        ngram: units in an n-gram.
    """
    counts = np.maximum(lengths - ngram + 1, 0)
    owner = np.repeat(np.arange(len(lengths)), counts)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return _roll_hashes(units, lengths, ngram), owner, position


def _roll_hashes(
    units: NDArray[np.uint64], lengths: NDArray[np.int64], ngram: int
) -> NDArray[np.uint64]:
    """Return the hashes of all n-grams, text after text, none across texts."""
    count = max(len(units) - ngram + 1, 0)
    rolled = np.zeros(count, dtype=np.uint64)
    for k in range(ngram):
        rolled *= MULTIPLIER
        rolled += units[k : k + count]
    ends = np.cumsum(lengths)
    inside = np.ones(len(units), dtype=np.bool_)
    for k in range(1, ngram):
        inside[(ends - k)[lengths >= k]] = False
    return rolled[inside[:count]]


def plain_texts(texts: pl.Series) -> pl.Series:
    """Return texts in lower case and NFC; pure ASCII, which is NFC already, is not looked at twice."""
    # In this order: some capitals have no composed form where the small letter has one.
    frame = texts.str.to_lowercase().to_frame("text").with_row_index("at")
    wide = pl.col("text").str.len_bytes() != pl.col("text").str.len_chars()
    other = frame.filter(wide).with_columns(pl.col("text").str.normalize("NFC"))
    if other.height:
        frame = pl.concat([frame.filter(~wide), other]).sort("at")
    return frame["text"]


def _word_hashes(texts: pl.Series, unit: Unit) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    is_mixed = unit == "script" and texts.str.contains(f"[{UNSPACED}]").any()
    words = texts.str.extract_all(WORD_OR_CHARACTER if is_mixed else WORD)
    lengths = words.list.len().to_numpy().astype(np.int64)
    return words.explode(empty_as_null=False).hash(seed=0).to_numpy(), lengths


def _char_codes(texts: pl.Series) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return mixed code points; runs of white space count as one space."""
    plain = texts.str.replace_all(r"\s+", " ").str.strip_chars()
    codes = np.frombuffer("".join(plain.to_list()).encode("utf-32-le"), dtype=np.uint32)
    lengths = plain.str.len_chars().to_numpy().astype(np.int64)
    return (codes.astype(np.uint64) + np.uint64(1)) * MULTIPLIER, lengths
