"""Words of texts in any script: runs of letters and digits, or single characters where none are spaced.

Chinese, Japanese, Thai and others put no space between words, so there each character
with its marks counts as a word. The choice is made character by character: a row may mix scripts.
Case, full or half width, the accents of Latin, Greek and Cyrillic, and the vowel marks of Hebrew and
Arabic, which may be written or left out, play no part.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl
import regex

from curate.text.shingles import CHARACTER, UNSPACED, WORD_OR_CHARACTER

HEBREW_POINTS = "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
# And the sign that draws a word out. What stands above or below an alef is part of the letter.
ARABIC_MARKS = "\u0640\u064b-\u0652\u0670"
ACCENTS = f"[\u0300-\u036f{HEBREW_POINTS}{ARABIC_MARKS}]+"
_ACCENTS = re.compile(ACCENTS)
# Soft hyphens, zero-width spaces, joiners and marks of direction: nothing to be seen of a word.
_SIGNS = [chr(c) for c in (0xAD, *range(0x200B, 0x2010), *range(0x2060, 0x2065), 0xFEFF)]
_INVISIBLE = re.compile(f"[{''.join(_SIGNS)}]")
# Letters and signs of Latin-1 and Latin Extended-A, a hard space among them, and what is folded to.
_LATIN = {
    char: _ACCENTS.sub("", unicodedata.normalize("NFKD", char)).lower()
    for char in map(chr, range(0xA0, 0x180))
    if not unicodedata.is_normalized("NFKD", char)
} | dict.fromkeys(_SIGNS, "")
# Letters, quotation marks, dashes, currencies, arrows and signs of sums that fold to themselves.
_STABLE = [
    char
    for char in map(chr, (*range(0x80, 0x300), *range(0x370, 0x500), *range(0x2010, 0x2300)))
    if unicodedata.normalize("NFKD", char.lower()) == char
    and unicodedata.category(char)[0] != "M"
    and char not in _SIGNS
]
# All characters but ASCII and those: texts without any need no more than lower case.
CHANGING = f"[^\\x00-\\x7f{''.join(_STABLE)}]"
# What stands between spaces, or a character of a script that puts none between its words.
_COUNTED = rf"{CHARACTER}|[^\p{{White_Space}}{UNSPACED}]+"


def _plain(pattern: str) -> str:
    """Return a pattern of Rust's syntax, as polars reads it, in that of `regex`."""
    return re.sub(r"\\u{(\w+)}", lambda match: chr(int(match[1], 16)), pattern)


def _compile(pattern: str) -> "regex.Pattern[str]":
    return regex.compile(_plain(pattern), regex.V1)


_UNSPACED, _COUNTED_ONE = _compile(f"[{UNSPACED}]"), _compile(_COUNTED)
_WORD_OR_CHARACTER = _compile(WORD_OR_CHARACTER)
_ASCII = re.compile("[A-Za-z0-9]+")
_SPACED_LETTER, _UNSPACED_CHARACTER = _plain(rf"[\w--[{UNSPACED}]]"), _plain(f"[{UNSPACED}]")


class Word(NamedTuple):
    """A word, folded, and where it stands in its text."""

    text: str
    start: int
    stop: int


def word_counts(texts: pl.Expr) -> pl.Expr:
    """Return how many words texts have as they are written: between spaces, or by characters."""
    return texts.str.count_matches(_COUNTED)


def count_words(text: str) -> int:
    """Return how many words a text has, counted as word_counts does it."""
    return len(counted_spans(text))


def counted_spans(text: str) -> list[tuple[int, int]]:
    """Return where the words stand that word_counts counts."""
    return [match.span() for match in _COUNTED_ONE.finditer(text)]


def cased_words(text: str) -> list[str]:
    """Return the words of a text as they are written, without the signs between them."""
    pattern = _ASCII if text.isascii() else _WORD_OR_CHARACTER
    return pattern.findall(text)


def is_character(word: str) -> bool:
    """Return whether a word is a character of a script that puts no space between words."""
    return _UNSPACED.match(word) is not None


def whole_words(pattern: str) -> str:
    """Return a pattern (`regex.V1`) for what a pattern matches, but for parts of words.

    A character of a script that puts no space between words is a word: it may have letters beside it.
    """
    starts = rf"(?:(?<!{_SPACED_LETTER})|(?={_UNSPACED_CHARACTER}))"
    ends = rf"(?:(?!{_SPACED_LETTER})|(?<={_UNSPACED_CHARACTER}))"
    return f"{starts}(?:{pattern}){ends}"


def wide_texts(texts: pl.Series) -> pl.Series:
    """Return the numbers of the texts that are not all ASCII."""
    return (texts.str.len_bytes() != texts.str.len_chars()).arg_true()


def fold(texts: pl.Series) -> pl.Series:
    """Return texts in lower case and NFKD, without accents and vowel marks."""
    lower = texts.str.to_lowercase()
    wide = wide_texts(lower)
    # Most texts are of characters that stay as they are.
    wide = wide.filter(lower.gather(wide).str.contains(CHANGING))
    if not len(wide):
        return lower
    latin = lower.gather(wide).str.replace_many(_LATIN)
    # To normalize whole texts for a few letters takes long.
    rest = latin.str.contains(CHANGING).arg_true()
    bare = latin.gather(rest).str.normalize("NFKD").str.replace_all(ACCENTS, "")
    # Again: some signs have capitals in their parts.
    return lower.scatter(wide, latin.scatter(rest, bare.str.to_lowercase()))


def fold_word(word: str) -> str:
    """Return one word as `fold` does."""
    if word.isascii():
        return word.lower()
    seen = _INVISIBLE.sub("", word.lower())
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", seen)).lower()


def split_words(texts: pl.Series) -> pl.Series:
    """Return lists of the words of texts, folded."""
    return fold(texts).str.extract_all(WORD_OR_CHARACTER)


def join_words(words: pl.Series) -> pl.Series:
    """Return lists of words as texts, with spaces only where the script has them."""
    joined = words.list.join(" ")
    # Twice, since a character that ends one pair begins the next.
    for _ in range(2):
        joined = joined.str.replace_all(f"([{UNSPACED}]) ([{UNSPACED}])", "$1$2")
    return joined.str.normalize("NFC")


def word_spans(text: str) -> Iterator[Word]:
    """Yield the words of one text with their places in it."""
    if text.isascii():
        yield from (Word(m[0].lower(), *m.span()) for m in _ASCII.finditer(text))
        return
    start, single = None, False
    for i, char in enumerate(f"{text} "):
        kind = unicodedata.category(char)[0]
        unspaced = _UNSPACED.match(char) is not None
        inside = kind in "LMN" or (start is not None and _INVISIBLE.match(char) is not None)
        if start is not None and not (kind == "M" if single else inside and not unspaced):
            word = Word(fold_word(text[start:i]), start, i)
            start = None
            if word.text:
                yield word
        # A mark alone is a word only of a script with spaces.
        if start is None and inside and not (unspaced and kind == "M"):
            start, single = i, unspaced


def find_words(text: str, shared: str) -> tuple[int, int] | None:
    """Return where the text holds a run of words, as start and end, or None.

    `shared` holds words as `curate.clean.leaks` compares them. What stands between the words in the
    text does not matter; signs without a word are found as they are.
    """
    words = [word.text for word in word_spans(shared)]
    if not words:
        at = text.find(shared)
        return (at, at + len(shared)) if at >= 0 else None
    tokens = list(word_spans(text))
    run = find_run([word.text for word in tokens], words)
    return (tokens[run[0]][1], tokens[run[1] - 1][2]) if run else None


def find_run(words: Sequence[str], phrase: Sequence[str]) -> tuple[int, int] | None:
    """Return the first run of words that is the phrase: its first word and the one behind it."""
    for i in range(len(words) - len(phrase) + 1) if phrase else ():
        if words[i] == phrase[0] and words[i : i + len(phrase)] == phrase:
            return i, i + len(phrase)
    return None
