"""The content hash and the text hash of many rows at once.

They are those of curate.core.rows, row by row. Where a turn is a role and a text, and the text of usual
characters, what is hashed is put together for all rows by polars, in one piece: a row is a slice of it.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate

import polars as pl

from curate.core.rows import PLAIN_TURN, Message, content_hash, normalise, text_hash, trim_ends

# Characters that are white space only as space and line feed, and that Unicode composition leaves as
# they are beside each other: Latin, Cyrillic, punctuation, kana, Chinese characters, Hangul syllables.
USUAL = (
    r" -~\n\u{A1}-\u{2FF}\u{400}-\u{482}\u{48A}-\u{52F}\u{2010}-\u{2027}\u{2030}-\u{205E}"
    r"\u{3001}-\u{3029}\u{3041}-\u{3096}\u{30A1}-\u{30FA}\u{4E00}-\u{9FFF}\u{AC00}-\u{D7A3}"
    r"\u{FF01}-\u{FF60}"
)


def row_hashes(
    conversations: Sequence[Sequence[Message]], tools: Sequence[str | None]
) -> tuple[list[str], list[str]]:
    """Return the content hash and the text hash of each row.

    Args:
        conversations: the turns of each row.
        tools: the tools of each row, as JSON.
    """
    plain = [
        not own and all([len(turn) == PLAIN_TURN for turn in turns])
        for turns, own in zip(conversations, tools, strict=True)
    ]
    hashes = iter(
        _plain_hashes(
            [turns for turns, is_plain in zip(conversations, plain, strict=True) if is_plain]
        )
    )
    pairs = [
        next(hashes) if is_plain else (content_hash(turns, own), text_hash(turns, own))
        for turns, own, is_plain in zip(conversations, tools, plain, strict=True)
    ]
    return [content for content, _ in pairs], [text for _, text in pairs]


def _plain_hashes(conversations: Sequence[Sequence[Message]]) -> list[tuple[str, str]]:
    """Return both hashes of rows whose turns are a role and a text each."""
    frame = _hashed_texts(
        [turn["role"] for turns in conversations for turn in turns],
        [turn["content"] for turns in conversations for turn in turns],
    )
    ends = list(accumulate(map(len, conversations)))
    return list(zip(_digests(frame["content"], ends), _digests(frame["text"], ends), strict=True))


def _hashed_texts(roles: Sequence[str], texts: Sequence[str]) -> pl.DataFrame:
    """Return what of each turn goes into the content hash, and what into the text hash."""
    text = pl.col("text")
    spaced = text.str.replace_all("\n\n", " ", literal=True).str.replace_all(
        "\n", " ", literal=True
    )
    frame = pl.DataFrame({"role": roles, "text": texts}, {"role": pl.String, "text": pl.String})
    frame = frame.with_columns(content=spaced)
    content = pl.col("content")
    unusual = (
        text.str.contains(f"[^{USUAL}]")
        | content.str.contains("  ", literal=True)
        | content.str.starts_with(" ")
        | content.str.ends_with(" ")
    )
    frame = frame.with_columns(unusual=unusual)
    if frame["unusual"].any():
        others = frame["unusual"].arg_true()
        slow = [texts[i] for i in others]
        frame = frame.with_columns(
            content=frame["content"].scatter(others, [normalise(each) for each in slow]),
            text=frame["text"].scatter(others, [trim_ends(each) for each in slow]),
        )
    role = pl.col("role")
    length = text.str.len_chars().cast(pl.String)
    return frame.select(
        content=pl.concat_str(role, pl.lit("\x1f"), content, pl.lit("\x1e")),
        text=pl.concat_str(role, pl.lit("\x1f"), length, pl.lit("\x1f"), text, pl.lit("\x1e")),
    )


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
