"""Words of a list that a user gives."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import regex

from curate.core.errors import UserError
from curate.core.localfiles import read_text
from curate.core.store import Artifact


@dataclass(frozen=True)
class WordList:
    """Words or phrases that a call looks for, identified by their digest."""

    words: Sequence[str] = ()
    reads: tuple[Artifact, ...] = ()

    @property
    def identity(self) -> str:
        """Return the digest of the words."""
        return hashlib.blake2b("\n".join(self.words).encode(), digest_size=16).hexdigest()


def read_words(path: str) -> list[str]:
    """Return the words or phrases of a file, one a line; lines with # are comments.

    Raises:
        UserError: there is no such file, or it holds no word.
    """
    lines = read_text(Path(path), "the word list").splitlines()
    entries = {
        " ".join(line.split()).casefold() for line in lines if not line.lstrip().startswith("#")
    }
    words = sorted(entries - {""})
    if not words:
        raise UserError(f"{path}: holds no word; write one word or phrase a line")
    return words


def find_word(text: pl.Expr, words: Sequence[str]) -> pl.Expr:
    """Return the first of the words that stands in a text, as a whole word and in any case."""
    # A boundary of ASCII is found in a fraction of the time, but it also parts con from çu.
    maybe = text.str.contains(_pattern(words, r"(?-u:\b)"))
    exact = _pattern(words, r"\b")
    return pl.when(maybe).then(text).otherwise(pl.lit("")).str.extract(exact, 0)


def _pattern(words: Sequence[str], edge: str) -> str:
    """Return the pattern of any of the words, the longest first, so that a phrase is told as a whole."""
    alternatives = "|".join(_bounded(word, edge) for word in sorted(words, key=len, reverse=True))
    return f"(?i)(?:{alternatives})"


def _bounded(word: str, edge: str) -> str:
    """Return the pattern of a word with boundaries where it begins or ends with a letter or digit."""
    inner = r"\s+".join(regex.escape(part, special_only=True) for part in word.split())
    first, last = (_edge(sign, edge) for sign in (word[0], word[-1]))
    return f"{first}{inner}{last}"


def _edge(sign: str, edge: str) -> str:
    if not regex.match(r"\w", sign):
        return ""
    # Next to other letters ASCII has a boundary only where there is none.
    return edge if sign.isascii() or edge == r"\b" else ""
