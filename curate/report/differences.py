"""Two rows side by side: the words in which they differ are marked, long equal stretches left out."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from curate.core.rows import Message, turn_text
from curate.report.examples import Rows
from curate.report.texts import REJECTED, Segment, TextView, Turn

VIEW_CHARS = 700
# What a line break takes of the shown characters: about the width of a column.
LINE_CHARS = 45
CONTEXT_CHARS = 80
WORD_CHARS = 20
# Of each text so much is compared, and of it so many words between the common start and end.
SEARCHED_CHARS = 20_000
COMPARED_WORDS = 200
# Texts that share less than this differ as a whole; single words in common would only confuse.
LEAST_SHARED = 0.3

PARTS = ("system", "prompt", "response", "rejected")
# Parts that not every row has.
OPTIONAL = ("system", "rejected")
Span = tuple[int, int]
Token = tuple[str, int, int]


@dataclass(frozen=True)
class Side:
    """A row beside another one; `turns` is None if the store no longer has one of the two."""

    row_id: str
    place: str
    origin: str | None
    turns: tuple[Turn, ...] | None


@dataclass(frozen=True)
class Differences:
    """Where two texts differ: spans of each, empty ones where only the other has words."""

    one: tuple[Span, ...]
    other: tuple[Span, ...]


def show_sides(
    one_id: str,
    other_id: str,
    rows: Rows,
    chars: int = VIEW_CHARS,
    *,
    expect_alike: bool = True,
) -> tuple[Side, Side]:
    """Return two rows by their ids, as `show_pair` shows them."""
    (place, one), (other_place, other) = (rows.get(i, ("", {})) for i in (one_id, other_id))
    turns, other_turns = None, None
    if one and other:
        turns, other_turns = show_pair(
            one["messages"],
            other["messages"],
            chars,
            expect_alike=expect_alike,
            rejected=(one.get("rejected") or (), other.get("rejected") or ()),
        )
    return (
        Side(one_id, place, one.get("origin"), turns),
        Side(other_id, other_place, other.get("origin"), other_turns),
    )


def show_pair(
    one: Sequence[Message],
    other: Sequence[Message],
    chars: int = VIEW_CHARS,
    *,
    expect_alike: bool = True,
    rejected: tuple[Sequence[Message], Sequence[Message]] = ((), ()),
) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """Return prompts, responses and rejected answers of two rows; system turns only where they differ.

    Args:
        one: a row's turns.
        other: those of the row beside it.
        chars: of each prompt and each response.
        expect_alike: mark texts that share hardly anything as a whole; else they stay unmarked.
        rejected: the turns of their rejected answers.
    """
    sides: tuple[list[Turn], list[Turn]] = ([], [])
    texts = _parts(one, rejected[0]), _parts(other, rejected[1])
    for part in PARTS:
        (role, text), (other_role, other_text) = texts[0][part], texts[1][part]
        if part == "system" and text == other_text:
            continue
        differences = find_differences(text, other_text)
        if differences is None:
            whole = (text, other_text) if expect_alike else ("", "")
            differences = Differences(*(((0, len(one)),) for one in whole))
        marked_texts = (role, text, differences.one), (other_role, other_text, differences.other)
        for side, (one_role, one_text, marks) in zip(sides, marked_texts, strict=True):
            if one_text or part not in OPTIONAL:
                side.append(Turn(one_role, view(one_text, marks, chars)))
    return tuple(sides[0]), tuple(sides[1])


def _parts(messages: Sequence[Message], rejected: Sequence[Message]) -> dict[str, tuple[str, str]]:
    """Return role and text of what is compared: the turns before the last are one prompt."""
    system = "\n".join(m["content"] for m in messages if m["role"] == "system")
    *before, last = [m for m in messages if m["role"] != "system"] or messages[-1:]
    role = before[0]["role"] if len(before) == 1 else f"{len(before)} turns"
    prompt = "\n".join(map(turn_text, before))
    return {
        "system": ("system", system),
        "prompt": (role, prompt),
        "response": (last["role"], turn_text(last)),
        "rejected": (REJECTED, "\n".join(map(turn_text, rejected))),
    }


def find_differences(one: str, other: str) -> Differences | None:
    """Return where two texts differ in words and signs, None if they share hardly anything.

    White space and Unicode form play no part. Of long texts only a start is looked at, and of what
    lies between their common start and end COMPARED_WORDS.
    """
    left, right = list(_tokens(one)), list(_tokens(other))
    start = _common([t[0] for t in left], [t[0] for t in right])
    end = _common([t[0] for t in reversed(left[start:])], [t[0] for t in reversed(right[start:])])
    words = [
        [token for token, _, _ in tokens[start : len(tokens) - end][:COMPARED_WORDS]]
        for tokens in (left, right)
    ]
    blocks = SequenceMatcher(None, words[0], words[1], autojunk=False).get_opcodes()
    equal = start + end + sum(b - a for what, a, b, _, _ in blocks if what == "equal")
    if equal < LEAST_SHARED * (start + end + max(map(len, words))):
        return None
    if max(len(left), len(right)) - start - end > COMPARED_WORDS and len(blocks) > 1:
        # Where the comparison stops, one text is ahead of the other: that is no difference.
        blocks = blocks[:-1]
    changed = [block for block in blocks if block[0] != "equal"]
    return Differences(
        tuple(_span(left, start + a, start + b) for _, a, b, _, _ in changed),
        tuple(_span(right, start + a, start + b) for _, _, _, a, b in changed),
    )


def _tokens(text: str) -> Iterator[Token]:
    """Yield words, and each sign and each letter of scripts without spaces on its own."""
    start = None
    for i, char in enumerate(f"{text[:SEARCHED_CHARS]} "):
        wide = unicodedata.east_asian_width(char) in "WF"
        inside = not wide and unicodedata.category(char)[0] in "LMN"
        if inside and start is None:
            start = i
        elif not inside:
            if start is not None:
                yield unicodedata.normalize("NFC", text[start:i]), start, i
                start = None
            if not char.isspace():
                yield char, i, i + 1


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many first items are equal."""
    same = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        same += 1
    return same


def _span(tokens: Sequence[Token], start: int, stop: int) -> Span:
    """Return the part of the text from one token up to another; an empty one between tokens."""
    if start < stop:
        return tokens[start][1], tokens[stop - 1][2]
    at = tokens[start][1] if start < len(tokens) else tokens[-1][2] if tokens else 0
    return at, at


def view(text: str, marks: Sequence[Span], chars: int) -> TextView:
    """Return a text with its marks; of a long one its start and what is around the marks."""
    windows = [(0, len(text))]
    if _cost(text) > chars:
        windows = list(_windows(text, marks)) if marks else windows
    segments: list[Segment] = []
    left, position = chars, 0
    for start, stop in windows:
        end = start + _fitting(text[start:stop], left)
        if end == start:
            break
        gap = " … " if start > position else ""
        segments += _segments(text, start, end, marks, gap)
        left -= _cost(text[start:end]) + len(gap)
        position = end
    if position < len(text):
        segments.append(Segment("…"))
    complete = position == len(text) and len(windows) == 1
    return TextView(tuple(segments), complete, len(text))


def _windows(text: str, marks: Sequence[Span]) -> Iterator[Span]:
    """Yield the parts to show, in order and apart: the start, and each mark with its surroundings."""
    start, stop = 0, _word_end(text, CONTEXT_CHARS)
    for low, high in marks:
        begin = _word_end(text, max(0, low - CONTEXT_CHARS))
        begin += text[begin : begin + 1].isspace()
        if begin > stop + WORD_CHARS:
            yield start, stop
            start = begin
        stop = max(stop, _word_end(text, high + CONTEXT_CHARS))
    yield start, stop


def _word_end(text: str, at: int) -> int:
    """Return where the word at a place ends, or that place if the word is too long to tell."""
    end = next((i for i in range(at, min(at + WORD_CHARS, len(text))) if text[i].isspace()), at)
    return min(end, len(text))


def _segments(
    text: str, start: int, stop: int, marks: Sequence[Span], gap: str
) -> Iterator[Segment]:
    if gap:
        yield Segment(gap)
    inside = [(max(a, start), min(b, stop)) for a, b in marks if a < stop and b > start and a < b]
    edges = [start, *(edge for span in inside for edge in span), stop]
    for i, (low, high) in enumerate(pairwise(edges)):
        if low < high:
            yield Segment(text[low:high], marked=i % 2 == 1)


def _cost(text: str) -> int:
    return len(text) + (LINE_CHARS - 1) * text.count("\n")


def _fitting(text: str, chars: int) -> int:
    """Return how much of a text's start fits."""
    used = 0
    for i, char in enumerate(text):
        used += LINE_CHARS if char == "\n" else 1
        if used > chars:
            return i
    return len(text)
