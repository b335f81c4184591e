"""A model's reasoning, told apart from its answer: <think>, [THINK], channels and their like.

    "<think>2 and 2</think>4"        reasoning "2 and 2", answer "4"
    "2 and 2</think>4"               the same: chat templates may open the reasoning themselves
    "<think>2 and 2 are"             never closed: all of it is reasoning

Marks in a code span or a fenced block are words about reasoning and part none. Where an answer still
holds some, `holds_marks` says so: such a text trains nobody.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import regex

NAMES = (
    r"(?:\w{1,12}[:_])?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratch[-_]?pad"
    r"|(?:inner|internal)[-_](?:monologue|thoughts?))"
)
OPENING = (
    rf"<{NAMES}(?:\s[^<>]{{0,80}})?>|\[THINK\]|<\|(?:begin_of_thought|START_THINKING|think)\|>"
    r"|◁think▷"
)
CLOSING = rf"</{NAMES}\s*>|\[/THINK\]|<\|(?:end_of_thought|END_THINKING|/think)\|>|◁/think▷"
MARK = regex.compile(rf"(?P<opening>{OPENING})|(?P<closing>{CLOSING})", regex.I)
CODE = regex.compile(r"^```.*?^```|`(?! )[^`\n]{1,60}(?<! )`", regex.S | regex.M)
# A model's channels, as they are written and as they look when a tokenizer left control tokens out.
CHANNEL = regex.compile(
    r"<\|channel\|>\s*(?P<name>\w+).*?<\|message\|>(?P<text>.*?)"
    r"(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    regex.S,
)
BARE_CHANNEL = regex.compile(
    r"\s*analysis(?=[A-Z\W])(?P<reasoning>.+?)assistantfinal(?P<answer>.*)", regex.S
)
BARE_ANALYSIS = regex.compile(r"\s*analysis(?=[A-Z])(?P<reasoning>.+)", regex.S)
FINAL = "final"
# What stands around an answer behind its reasoning.
AROUND = (
    regex.compile(r"\s*<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>\s*|\Z)", regex.S),
    regex.compile(r"\s*<\|START_RESPONSE\|>(.*?)(?:<\|END_RESPONSE\|>\s*|\Z)", regex.S),
    regex.compile(r"\s*<(answer|output|response)>(.*)</\1>\s*", regex.S | regex.I),
)
LEFT = regex.compile(
    rf"{MARK.pattern}|<\|(?:channel|begin_of_solution|end_of_solution)\|>", regex.I
)


@dataclass(frozen=True)
class Parted:
    """An answer and the reasoning that stood beside it, both without marks."""

    answer: str
    reasoning: str = ""


def part_reasoning(text: str) -> Parted:
    """Return a text as answer and reasoning; a text without marks is all answer."""
    parted = _part_channels(text) or _part_marks(text)
    if parted is None:
        return Parted(text)
    answer = parted.answer.strip()
    for around in AROUND:
        inner = around.fullmatch(answer)
        answer = inner[inner.re.groups].strip() if inner else answer
    return Parted(answer, parted.reasoning.strip())


def part_values(value: Any) -> tuple[Any, list[str]]:
    """Return a JSON value whose texts hold no reasoning, and the reasoning."""
    if isinstance(value, str):
        parted = part_reasoning(value)
        return parted.answer, [parted.reasoning] if parted.reasoning else []
    if isinstance(value, list):
        pairs = [part_values(item) for item in value]
        return [item for item, _ in pairs], [text for _, texts in pairs for text in texts]
    if isinstance(value, dict):
        items = {name: part_values(item) for name, item in value.items()}
        return {n: item for n, (item, _) in items.items()}, [
            t for _, ts in items.values() for t in ts
        ]
    return value, []


def holds_marks(text: str) -> str | None:
    """Return the first mark of reasoning in a text, be it in code; None if there is none."""
    mark = LEFT.search(text)
    return mark.group() if mark else None


def _part_channels(text: str) -> Parted | None:
    channels = list(CHANNEL.finditer(text))
    if channels:
        final = [c["text"] for c in channels if c["name"] == FINAL]
        other = [c["text"] for c in channels if c["name"] != FINAL]
        return Parted("\n".join(final), "\n".join(other))
    bare = BARE_CHANNEL.fullmatch(text)
    if bare:
        return Parted(bare["answer"], bare["reasoning"])
    analysis = BARE_ANALYSIS.fullmatch(text)
    return Parted("", analysis["reasoning"]) if analysis else None


def _part_marks(text: str) -> Parted | None:
    """Return the parts of a text with marks, None if it has none outside of code."""
    answer: list[str] = []
    reasoning: list[str] = []
    depth, start, marked = 0, 0, False
    for mark in _marks_outside_code(text):
        piece, start, marked = text[start : mark.start()], mark.end(), True
        if mark["opening"]:
            (reasoning if depth else answer).append(piece)
            depth += 1
            continue
        if depth == 0:
            # It was opened before the text began.
            reasoning, answer = [*reasoning, *answer], []
        reasoning.append(piece)
        depth = max(depth - 1, 0)
    (reasoning if depth else answer).append(text[start:])
    return Parted("".join(answer), "\n".join(t.strip() for t in reasoning)) if marked else None


def _marks_outside_code(text: str) -> Iterator["regex.Match[str]"]:
    marks = list(MARK.finditer(text))
    # Where there are none, nobody needs to know where code is.
    code = [block.span() for block in CODE.finditer(text)] if marks else []
    return (m for m in marks if not any(a <= m.start() and m.end() <= b for a, b in code))
