"""The content hash and the text hash of many rows at once.

They are those of curate.core.rows, row by row. Where a turn is a role and a text, and the text of usual
characters, what is hashed is put together for all rows by polars, in one piece: a row is a slice of it.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import NamedTuple, Self

import numpy as np
import polars as pl
import pyarrow as pa

from curate.core.rows import PLAIN_TURN, Message, content_hash, normalise, text_hash, trim_ends
from curate.pool.layouts.plain import TextTurns

# Characters that are white space only as space and line feed, and that Unicode composition leaves as
# they are beside each other: Latin, Cyrillic, punctuation, kana, Chinese characters, Hangul syllables.
USUAL = (
    r" -~\n\u{A1}-\u{2FF}\u{400}-\u{482}\u{48A}-\u{52F}\u{2010}-\u{2027}\u{2030}-\u{205E}"
    r"\u{3001}-\u{3029}\u{3041}-\u{3096}\u{30A1}-\u{30FA}\u{4E00}-\u{9FFF}\u{AC00}-\u{D7A3}"
    r"\u{FF01}-\u{FF60}"
)


class PlainTurns(NamedTuple):
    """Turns of several rows, one after the other, each a role and a text.

    ends: where the turns of each row end.
    """

    roles: pa.StringArray
    texts: pa.StringArray
    ends: Sequence[int]

    @classmethod
    def of(cls, rows: Sequence[TextTurns]) -> Self:
        """Return the turns of rows."""
        roles = [*chain.from_iterable([row.roles for row in rows])]
        texts = [*chain.from_iterable([row.texts for row in rows])]
        ends = [*accumulate([len(row.texts) for row in rows])]
        return cls(pa.array(roles, pa.string()), pa.array(texts, pa.string()), ends)

    @classmethod
    def of_messages(cls, conversations: Sequence[Sequence[Message]]) -> Self | None:
        """Return the turns of rows; None if one says more than a text."""
        if any([len(turn) != PLAIN_TURN for turns in conversations for turn in turns]):
            return None
        return cls.of(
            [
                TextTurns([turn["role"] for turn in turns], [turn["content"] for turn in turns])
                for turns in conversations
            ]
        )

    def hashes(self) -> tuple[list[str], list[str]]:
        """Return the content hash and the text hash of each row, which has no tools."""
        frame = _hashed_texts(self.roles, self.texts)
        return _digests(frame["content"], self.ends), _digests(frame["text"], self.ends)


def row_hashes(
    conversations: Sequence[Sequence[Message]], tools: Sequence[str | None]
) -> tuple[list[str], list[str]]:
    """Return the content hash and the text hash of each row.

    Args:
        conversations: the turns of each row.
        tools: the tools of each row, as JSON.
    """
    rows = list(zip(conversations, tools, strict=True))
    plain = [not own and all([len(turn) == PLAIN_TURN for turn in turns]) for turns, own in rows]
    turns_of_plain = PlainTurns.of_messages(
        [turns for (turns, _), is_plain in zip(rows, plain, strict=True) if is_plain]
    )
    assert turns_of_plain is not None, "others are left out"
    hashes = zip(*turns_of_plain.hashes(), strict=True)
    pairs = [
        next(hashes) if is_plain else (content_hash(turns, own), text_hash(turns, own))
        for (turns, own), is_plain in zip(rows, plain, strict=True)
    ]
    return [content for content, _ in pairs], [text for _, text in pairs]


def _hashed_texts(roles: pa.StringArray, texts: pa.StringArray) -> pl.DataFrame:
    """Return what of each turn goes into the content hash, and what into the text hash."""
    role, text, content = pl.col("role"), pl.col("text"), pl.col("content")
    spaced = text.str.replace_all("\n\n", " ", literal=True).str.replace_all(
        "\n", " ", literal=True
    )
    frame = pl.DataFrame({"role": pl.Series(roles), "text": pl.Series(texts)})
    frame = frame.with_columns(content=spaced)
    untidy = frame.select(
        content.str.contains("  ", literal=True)
        | content.str.starts_with(" ")
        | content.str.ends_with(" ")
    )
    unusual = untidy.to_series().arg_true().append(_unusual(texts, frame["text"])).unique()
    if len(unusual):
        slow = [texts[i].as_py() for i in unusual]
        frame = frame.with_columns(
            content=frame["content"].scatter(unusual, [normalise(each) for each in slow]),
            text=frame["text"].scatter(unusual, [trim_ends(each) for each in slow]),
        )
    length = text.str.len_chars().cast(pl.String)
    return frame.select(
        content=pl.concat_str(role, pl.lit("\x1f"), content, pl.lit("\x1e")),
        text=pl.concat_str(role, pl.lit("\x1f"), length, pl.lit("\x1f"), text, pl.lit("\x1e")),
    )


def _unusual(texts: pa.StringArray, series: pl.Series) -> pl.Series:
    """Return the numbers of the texts with a character that is not among the usual ones.

    Most have none but those of ASCII, which is seen by their bytes, all texts at once.
    """
    _, offsets, values = texts.buffers()
    data = np.frombuffer(values or b"", np.uint8)
    # Behind the tilde, and less than a space: then this has gone round, to 224 and more.
    others = ((data - np.uint8(ord(" "))) > ord("~") - ord(" ")) & (data != ord("\n"))
    ends = np.frombuffer(offsets, np.int32)[1 : len(texts) + 1]
    numbers = np.unique(np.searchsorted(ends, np.flatnonzero(others), side="right"))
    doubtful = pl.Series(numbers, dtype=pl.UInt32)
    return doubtful.filter(series.gather(doubtful).str.contains(f"[^{USUAL}]"))


def _digests(turns: pl.Series, ends: Sequence[int]) -> list[str]:
    """Return a digest of each row: of its turns one after the other."""
    array = turns.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, values = array.buffers()
    starts = memoryview(offsets).cast("q")[array.offset :]
    data = memoryview(values) if values is not None else memoryview(b"")
    return [
        hashlib.blake2b(data[starts[start] : starts[end]], digest_size=16).hexdigest()
        for start, end in zip([0, *ends], ends, strict=False)
    ]
