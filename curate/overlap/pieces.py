"""Pieces of texts: what stands between ends of sentences, line breaks and quotation marks."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.text.shingles import WORD_OR_CHARACTER
from curate.text.words import fold

# Marks of any script. Brackets and signs of sums are none: they are all that some prompts have.
MARKS = r",;:!?'\"`_…[\p{P}--\p{Ps}\p{Pe}\p{Pd}--\x00-\x7f]"
# Ends of sentences, quotation marks, line breaks, dashes, emoji; tags; cells and headings.
ENDS = (
    r"[\p{Sentence_Terminal}--.][\p{Quotation_Mark}--'’‘];؛፤…—―\n\r【】〔〕\p{Emoji_Presentation}"
)
TAG = r"<[^<>\s]{1,20}>|\[/?inst\]"
BOUNDARY = rf"[{ENDS}]+|[.:](?:\s|$)|{TAG}|\s\|\s|#{{2,}}"
EDGE = rf"[\s=.*#~|{MARKS}]+"
INNER = rf"[{MARKS}]+|\.(?:\s|$)"
# What stands before a choice, an item of a list or a quotation.
LABEL = r"^(?:(?:[-*•]|>+|\(?[a-z0-9]{1,2}[).:])\s+)+"
# Between what a pattern finds and the rest of a text: no character.
CUT = "\uffff"


def plain_text(texts: pl.Series) -> pl.Series:
    """Return texts folded, without punctuation and with single spaces."""
    if not len(texts):
        # Patterns take time to read.
        return texts
    return _without_marks(fold(texts))


def _without_marks(texts: pl.Series) -> pl.Series:
    plain = texts.str.replace_all(INNER, " ").str.replace_all(r"\s+", " ")
    return plain.str.replace(f"^{EDGE}", "").str.replace(f"{EDGE}$", "")


def split_pieces(texts: pl.Series) -> pl.DataFrame:
    """Return number (of the text) and text of every piece that is not empty."""
    parts = fold(texts).str.replace_all(BOUNDARY, "\n").str.split("\n")
    pieces = pl.DataFrame({"number": np.arange(len(texts)), "text": parts}).explode("text")
    bare = _without_marks(pieces["text"].str.strip_chars_start().str.replace(LABEL, ""))
    return pieces.with_columns(bare.alias("text")).filter(pl.col("text") != "")


def piece_forms(texts: pl.Series, template: NDArray[np.int8]) -> pl.DataFrame:
    """Return the forms of the pieces of folded texts: whole, and without the template at the ends.

    Args:
        texts: folded texts.
        template: of each of their words 0 for none, 1 for what many prompts share, 2 for what most do.

    Returns:
        number (of the text), piece, level (what of the template it may have at its ends), text (with the
        signs between it and the template), words (how many) and start (of all words, those before it).
    """
    pieces = _number_words(texts)
    low, high = pieces["low"].to_numpy(), pieces["high"].to_numpy()
    levels = [
        _trim(pieces, low, high, template <= level).with_columns(level=pl.lit(level, pl.Int8))
        for level in (1, 0)
    ]
    whole = pieces.with_columns(start="low", words=pl.col("high") - pl.col("low"))
    forms = [whole.with_columns(level=pl.lit(2, pl.Int8)), *levels]
    columns = ("number", "piece", "level", "text", "words", "start")
    return pl.concat(form.select(columns) for form in forms).sort(
        "piece", "level", descending=[False, True]
    )


def _number_words(texts: pl.Series) -> pl.DataFrame:
    """Return the pieces, labels left out: number (of the text), piece, text, and words low to high."""
    parts = _cut(texts, BOUNDARY)
    table = (
        pl.DataFrame({"number": np.arange(len(texts)), "text": parts})
        .explode("text")
        # A boundary has words as well if it is a tag.
        .with_columns(high=pl.col("text").str.count_matches(WORD_OR_CHARACTER).cum_sum())
        .filter(pl.int_range(pl.len()).over("number") % 2 == 0)
        .with_row_index("piece")
    )
    bare = pl.col("text").str.strip_chars_start().str.replace(LABEL, "")
    pieces = table.with_columns(bare, pl.col("piece", "high").cast(pl.Int64))
    words = pl.col("text").str.count_matches(WORD_OR_CHARACTER)
    return pieces.with_columns(low=pl.col("high") - words.cast(pl.Int64))


def _trim(
    pieces: pl.DataFrame, low: NDArray[np.int64], high: NDArray[np.int64], own: NDArray[np.bool_]
) -> pl.DataFrame:
    """Return the pieces that begin or end with words that are not their own, without these."""
    places = np.append(np.flatnonzero(own), len(own))
    first = places[np.searchsorted(places, low)]
    last = places[np.searchsorted(places, high) - 1]
    shorter = (first < high) & ((first > low) | (last < high - 1))
    first, words = first[shorter], (last - first + 1)[shorter]
    trimmed = pieces.filter(pl.Series(shorter)).with_columns(
        start=pl.Series(first), words=pl.Series(words)
    )
    # Gap, word, gap, word, ..., gap: with the gaps around the first and the last word.
    gaps = _cut(trimmed["text"], WORD_OR_CHARACTER).alias("gaps")
    inner = pl.col("gaps").list.slice(
        2 * (pl.col("start") - pl.col("low")), 2 * pl.col("words") + 1
    )
    return trimmed.with_columns(gaps).with_columns(text=inner.list.join(""))


def _cut(texts: pl.Series, pattern: str) -> pl.Series:
    """Return lists of what stands between matches, and of these, in turns."""
    marked = texts.str.replace_all(CUT, " ", literal=True)
    return marked.str.replace_all(f"({pattern})", f"{CUT}${{1}}{CUT}").str.split(CUT)
