"""Pieces of texts: what stands between ends of sentences, line breaks and quotation marks."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.clean.words import fold, word_spans

# Ends of sentences, quotation marks, line breaks, tags.
BOUNDARY = r"[?!;。…\n\r\"“”«»「」『』]+|[.:](?:\s|$)|<[^<>\s]{1,20}>"
# Brackets and signs of sums are no punctuation: they are all that some prompts have.
EDGE = r"[\s=.,;:!?'\"“”‘’«»*_#`~。、…¿¡|]+"
INNER = r"[,;:!?'\"“”‘’«»、…。]+|\.(?:\s|$)"
# What stands before a choice or an item of a list.
LABEL = r"^(?:[-*•]|\(?[a-z0-9]{1,2}[).:])\s+"
_BOUNDARY, _LABEL = re.compile(BOUNDARY), re.compile(LABEL)


class Form(NamedTuple):
    """A piece as it is or without the template at its ends: its text, and where its words stand."""

    text: str
    words: int
    start: int


def plain_text(texts: pl.Series) -> pl.Series:
    """Return texts folded, without punctuation and with single spaces."""
    plain = fold(texts).str.replace_all(INNER, " ").str.replace_all(r"\s+", " ")
    return plain.str.replace(f"^{EDGE}", "").str.replace(f"{EDGE}$", "")


def split_pieces(texts: pl.Series) -> pl.DataFrame:
    """Return number (of the text) and text of every piece that is not empty."""
    parts = fold(texts).str.replace_all(BOUNDARY, "\n").str.split("\n")
    pieces = pl.DataFrame({"number": np.arange(len(texts)), "text": parts}).explode("text")
    bare = plain_text(pieces["text"].str.strip_chars_start().str.replace(LABEL, ""))
    return pieces.with_columns(bare.alias("text")).filter(pl.col("text") != "")


def piece_forms(text: str, template: NDArray[np.int8]) -> Iterator[Sequence[Form]]:
    """Yield the forms of each piece of one folded text.

    Args:
        text: the text.
        template: of each of its words 0 for none, 1 for what many prompts share, 2 for what most do.
    """
    words = list(word_spans(text))
    if len(words) != len(template):
        # It holds a character that only one of Python and polars knows: no prompt by its pieces.
        return
    starts = [word.start for word in words]
    edges = [0, *(at for match in _BOUNDARY.finditer(text) for at in match.span()), len(text)]
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        begin = start + len(text[start:stop]) - len(text[start:stop].lstrip())
        label = _LABEL.match(text[begin:stop])
        begin += label.end() if label else 0
        low, high = bisect_left(starts, begin), bisect_left(starts, stop)
        if low == high:
            yield [Form(text[begin:stop], 0, 0)]
            continue
        forms = []
        for level in (2, 1, 0) if template[low:high].any() else (2,):
            own = low + np.flatnonzero(template[low:high] <= level)
            if len(own):
                first, last = int(own[0]), int(own[-1])
                # With the signs that stand between it and the template.
                left = begin if first == low else words[first - 1].stop
                right = stop if last == high - 1 else words[last + 1].start
                forms.append(Form(text[left:right], last + 1 - first, first))
        yield forms
