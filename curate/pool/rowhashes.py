"""The content hash and the text hash of many rows at once.

They are those of curate.core.rows, row by row. Where a turn is a role and a text, and the text of usual
characters, what is hashed is put together for all rows in one piece: a row is a slice of it.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.arrowarrays import (
    Numbers,
    number_array,
    string_array,
    text_array,
    text_scalar,
    with_texts,
)
from curate.core.rows import PLAIN_TURN, Message, content_hash, normalise, text_hash, trim_ends
from curate.pool.containers.escapes import DROPPED
from curate.pool.containers.textcuts import every_other
from curate.pool.layouts.plain import TextTurns

# Characters that are white space only as space and line feed, and that Unicode composition leaves as
# they are beside each other: Latin, Cyrillic, punctuation, kana, Chinese characters, Hangul syllables.
USUAL = (
    r" -~\n\u{A1}-\u{2FF}\u{400}-\u{482}\u{48A}-\u{52F}\u{2010}-\u{2027}\u{2030}-\u{205E}"
    r"\u{3001}-\u{3029}\u{3041}-\u{3096}\u{30A1}-\u{30FA}\u{4E00}-\u{9FFF}\u{AC00}-\u{D7A3}"
    r"\u{FF01}-\u{FF60}"
)
DELETE = 0x7F


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
        return cls(text_array(roles), text_array(texts), ends)

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

    def hashes(self) -> tuple[pa.StringArray, pa.StringArray]:
        """Return the content hash and the text hash of each row, which has no tools."""
        ends = [0, *self.ends]
        content, text = _hashed_texts(self.roles, self.texts)
        return _digests(content, ends), _digests(text, ends)


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
    hashes = zip(*(each.to_pylist() for each in turns_of_plain.hashes()), strict=True)
    pairs = [
        next(hashes) if is_plain else (content_hash(turns, own), text_hash(turns, own))
        for (turns, own), is_plain in zip(rows, plain, strict=True)
    ]
    return [content for content, _ in pairs], [text for _, text in pairs]


def _hashed_texts(
    roles: pa.StringArray, texts: pa.StringArray
) -> tuple[pa.StringArray, pa.StringArray]:
    """Return what of each turn goes into the content hash, and what into the text hash."""
    offsets, codes = _codes(texts)
    # As numbers with a sign, the bytes of other characters than those of ASCII are below zero.
    others = np.flatnonzero(codes.view(np.int8) < ord(" "))
    are_feeds = codes[others] == ord("\n")
    lines, untidy = _in_one_line(offsets, codes, others[are_feeds])
    unusual = np.union1d(untidy, _unusual(texts, others[~are_feeds]))
    if len(unusual):
        slow = texts.take(number_array(unusual)).to_pylist()
        lines = with_texts(lines, unusual, [normalise(each) for each in slow])
        texts = with_texts(texts, unusual, [trim_ends(each) for each in slow])
    lengths = pc.cast(pc.utf8_length(texts), pa.string())
    unit, record, nothing = (text_scalar(sign) for sign in ("\x1f", "\x1e", ""))
    return (
        pc.binary_join_element_wise(roles, unit, lines, record, nothing),
        pc.binary_join_element_wise(roles, unit, lengths, unit, texts, record, nothing),
    )


def _in_one_line(
    offsets: Numbers, codes: Numbers, feeds: Numbers
) -> tuple[pa.StringArray, Numbers]:
    """Return texts with a space for one line feed or two, and which then have white space to lose.

    What becomes of the latter is left open.

    Args:
        offsets: where the texts start and end.
        codes: their bytes.
        feeds: where line feeds are among these.
    """
    pairs = every_other(feeds)
    seconds = pairs[codes[np.minimum(pairs + 1, len(codes) - 1)] == ord("\n")] + 1
    # Not what opens the next text, or lies behind the last one.
    seconds = seconds[offsets[np.searchsorted(offsets, seconds, side="right") - 1] != seconds]
    spaced = codes.copy()
    spaced[feeds] = ord(" ")
    spaced[seconds] = DROPPED[0]
    data = spaced.tobytes().replace(DROPPED, b"")
    offsets = offsets - np.searchsorted(seconds, offsets)
    spaces = np.frombuffer(data, np.uint8) == ord(" ")
    doubled = np.flatnonzero(spaces[1:] & spaces[:-1])
    starts, ends = offsets[:-1], offsets[1:]
    filled = np.flatnonzero(starts < ends)
    at_ends = filled[spaces[starts[filled]] | spaces[ends[filled] - 1]]
    return string_array(offsets, data), np.union1d(at_ends, _texts_at(doubled, offsets))


def _unusual(texts: pa.StringArray, others: Numbers) -> Numbers:
    """Return the numbers of the texts with a character that is not among the usual ones.

    Most have none but those of ASCII, which is seen by their bytes, all texts at once.

    Args:
        texts: the texts.
        others: where bytes are of control characters but line feed, or are not ASCII.
    """
    offsets, codes = _codes(texts)
    doubtful = _texts_at(np.append(others, np.flatnonzero(codes == DELETE)), offsets)
    series = pl.Series(texts.take(number_array(doubtful)))
    unusual: Numbers = doubtful[series.str.contains(f"[^{USUAL}]").to_numpy()]
    return unusual


def _texts_at(places: Numbers, offsets: Numbers) -> Numbers:
    """Return the numbers of the texts that have one of these bytes."""
    has = np.zeros(len(offsets) - 1, bool)
    has[np.searchsorted(offsets, places, side="right") - 1] = True
    return np.flatnonzero(has)


def _codes(texts: pa.StringArray) -> tuple[Numbers, Numbers]:
    """Return where texts start and end among their bytes, and these bytes."""
    _, offsets, values = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return ends, np.frombuffer(values or b"", np.uint8)


def _digests(turns: pa.StringArray, ends: Sequence[int]) -> pa.StringArray:
    """Return a digest of each row: of its turns one after the other."""
    offsets, codes = _codes(turns)
    data = codes.data
    places = offsets[np.array(ends)].tolist()
    empty, digests = hashlib.blake2b(digest_size=16), []
    for start, end in pairwise(places):
        # A copy is made sooner than a hash of a size.
        digest = empty.copy()
        digest.update(data[start:end])
        digests.append(digest.digest())
    return string_array(32 * np.arange(len(places)), b"".join(digests).hex().encode())
