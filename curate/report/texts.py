"""Texts of rows as the page shows them: an excerpt, the whole up to a limit, shared words marked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from curate.core.rows import Message, turn_text
from curate.text.words import find_run, find_words, word_spans

EXCERPT_CHARS = 300
EXCERPT_LINES = 7
WHOLE_CHARS = 2_500
CONTEXT_CHARS = 60
SEARCHED_CHARS = 50_000
# In the place of a turn's role.
REJECTED = "rejected"


@dataclass(frozen=True)
class Segment:
    """A piece of text, marked or not."""

    text: str
    marked: bool = False


@dataclass(frozen=True)
class TextView:
    """A text or an excerpt of it: `whole` if nothing was cut off, `chars` is its full length."""

    segments: tuple[Segment, ...]
    whole: bool
    chars: int


@dataclass(frozen=True)
class Turn:
    """One turn, cut to its share of the limit."""

    role: str
    text: TextView


@dataclass(frozen=True)
class RowText:
    """A row: excerpts of a user turn and of the response, and all turns if there is more to read.

    rejected: an excerpt of the rejected answer of a preference pair.
    in_rejected: the words to be marked stand there alone.
    """

    prompt: TextView
    response: TextView
    turns: tuple[Turn, ...]
    turn_count: int
    rejected: TextView | None = None
    in_rejected: bool = False


def show_row(
    messages: Sequence[Message], shared: str | None = None, rejected: Sequence[Message] = ()
) -> RowText:
    """Return a row's texts; the first place in each turn that holds the words `shared` is marked."""
    users = [i for i, message in enumerate(messages) if message["role"] == "user"]
    marks = [_find(m, shared) for m in messages]
    if shared and not any(marks):
        marks = _find_across(messages, users, shared)
    # The turn that shares the words says most; else the one that the response answers.
    at = next((i for i in users if marks[i]), users[-1] if users else 0)
    prompt = excerpt(turn_text(messages[at]), marks[at])
    response = excerpt(turn_text(messages[-1]), marks[-1])
    answer, worse = _rejected_view(rejected, shared)
    complete = prompt.whole and response.whole and len(messages) <= 2
    complete &= answer is None or (answer.whole and len(rejected) == 1)
    every_turn = [
        *messages,
        *(Message(role=REJECTED, content=turn_text(turn)) for turn in rejected),
    ]
    turns = () if complete else tuple(_turns(every_turn, [*marks, *worse]))
    alone = any(worse) and not any(marks)
    return RowText(prompt, response, turns, len(every_turn), answer, alone)


def _rejected_view(
    rejected: Sequence[Message], shared: str | None
) -> tuple[TextView | None, list[tuple[int, int] | None]]:
    """Return an excerpt of the rejected answer, and where its turns hold the words."""
    marks = [_find(turn, shared) for turn in rejected]
    if not rejected:
        return None, marks
    # The turn that shares the words says most; else the one that stands for the response.
    at = next((i for i, mark in enumerate(marks) if mark), len(rejected) - 1)
    return excerpt(turn_text(rejected[at]), marks[at]), marks


def _turns(messages: Sequence[Message], marks: Sequence[tuple[int, int] | None]) -> Iterator[Turn]:
    left = WHOLE_CHARS
    for message, mark in zip(messages, marks, strict=True):
        text = turn_text(message)
        if left <= 0:
            return
        yield Turn(message["role"], _passage(text, 0, min(left, len(text)), mark))
        left -= len(text)


def marked_turns(messages: Sequence[Message], shared: str | None, chars: int) -> tuple[Turn, ...]:
    """Return all turns, of each so many characters: its start, or what is around the words `shared`."""
    marks = [_find(message, shared) for message in messages]
    if shared and not any(marks):
        users = [i for i, message in enumerate(messages) if message["role"] == "user"]
        marks = _find_across(messages, users, shared)
    return tuple(
        Turn(message["role"], _around(turn_text(message), mark, chars))
        for message, mark in zip(messages, marks, strict=True)
    )


def _around(text: str, mark: tuple[int, int] | None, chars: int) -> TextView:
    start = max(0, mark[0] - CONTEXT_CHARS) if mark and mark[1] > chars else 0
    return _passage(text, start, min(len(text), start + chars), mark)


def excerpt(text: str, mark: tuple[int, int] | None = None) -> TextView:
    """Return the start of a text, or what is around the marked part, within the excerpt limits."""
    start = max(0, mark[0] - CONTEXT_CHARS) if mark and mark[1] > EXCERPT_CHARS else 0
    stop = min(len(text), start + EXCERPT_CHARS)
    lines = text[start:stop].split("\n")
    if len(lines) > EXCERPT_LINES:
        stop = start + len("\n".join(lines[:EXCERPT_LINES]))
    return _passage(text, start, stop, mark)


def whole(text: str, chars: int = WHOLE_CHARS) -> TextView:
    """Return a text's first `chars` characters."""
    return _passage(text, 0, min(chars, len(text)), None)


def _passage(text: str, start: int, stop: int, mark: tuple[int, int] | None) -> TextView:
    low, high = mark or (stop, stop)
    low, high = min(max(low, start), stop), min(max(high, start), stop)
    parts = [
        Segment(("…" if start else "") + text[start:low]),
        Segment(text[low:high], marked=True),
        Segment(text[high:stop] + ("…" if stop < len(text) else "")),
    ]
    kept = tuple(part for part in parts if part.text)
    return TextView(kept, start == 0 and stop == len(text), len(text))


def _find(message: Message, shared: str | None) -> tuple[int, int] | None:
    if not shared:
        return None
    return find_words(turn_text(message)[:SEARCHED_CHARS], shared)


def _find_across(
    messages: Sequence[Message], users: Sequence[int], shared: str
) -> list[tuple[int, int] | None]:
    """Return where each turn holds its part of a run that goes on from one user turn to the next."""
    marks: list[tuple[int, int] | None] = [None] * len(messages)
    tokens = [(i, *t) for i in users for t in word_spans(turn_text(messages[i])[:SEARCHED_CHARS])]
    words = [word.text for word in word_spans(shared)]
    run = find_run([word for _, word, _, _ in tokens], words)
    for i, _, start, stop in tokens[slice(*run)] if run else ():
        earlier = marks[i]
        marks[i] = (earlier[0] if earlier else start, stop)
    return marks
