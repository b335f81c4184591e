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

from curate.core.latepattern import late_pattern

MORE = r"(?:[-_ ](?:process|steps?|trace|block|section))?"
SURE = (
    r"(?:[a-z]\w{0,20}?[-_:]?)?(?:think(?:s|ing)?|thoughts?|reasoning|scratch[-_ ]?pad|monologue"
    rf"|cot|思考|推理){MORE}"
)
LIKELY = (
    r"(?:[a-z]\w{0,20}?[-_:])?(?:reasons?|reflections?|rationale|deliberation|contemplat(?:ion|or)"
    rf"|analysis){MORE}"
)
NAMES = rf"(?:{SURE}|{LIKELY})"
ATTRIBUTES = r"(?:\s[^<>]{0,80})?(?<!/)"
# In square brackets other words are placeholders, as in [reason].
IN_BRACKETS = r"(?:THINK(?:ING)?|REASONING)"
OPENING = (
    rf"[<＜]\s*(?:(?:begin|start)_of_)?{SURE}{ATTRIBUTES}[>＞]|&lt;{NAMES}&gt;"
    # List<Analysis> is code.
    rf"|(?<![a-z]{{2}})<{LIKELY}{ATTRIBUTES}>"
    rf"|\[(?:(?:BEGIN|START)(?: OF)? )?{IN_BRACKETS}\]"
    rf"|<\|(?:(?:begin|start)_(?:of_)?)?{NAMES}\|>|◁{NAMES}▷|<\|channel>(?:thought|analysis)?|<unused94>(?:thought)?"
)
CLOSING = (
    rf"[<＜]\s*(?:[/\\]+\s*|/?end_of_){NAMES}\s*[>＞]|&lt;/{NAMES}&gt;"
    rf"|\[(?:/|END(?: OF)? ){IN_BRACKETS}\]"
    rf"|<\|(?:/|end_(?:of_)?){NAMES}\|>|◁/{NAMES}▷|<channel\|>|<unused95>"
)
MARKS = rf"(?P<closing>{CLOSING})|(?P<opening>{OPENING})"
MARK = late_pattern(MARKS, regex.I)
CODE = late_pattern(r"^```.*?^```|`(?! )[^`\n]{1,60}(?<! )`", regex.S | regex.M)
# Reasoning as a block of its own, and as what a page folds away.
BLOCKS = (
    late_pattern(
        rf"^(`{{3,}}|~{{3,}})[ \t]*{NAMES}[ \t]*\n(?P<reasoning>.*?)^\1[ \t]*$",
        regex.I | regex.S | regex.M,
    ),
    late_pattern(
        r"<details[^<>]*?(?:type=\"reasoning\"[^<>]*>(?:\s*<summary>[^<>]*</summary>)?"
        rf"|>\s*<summary>[^<>]{{0,20}}{NAMES}[^<>]{{0,40}}</summary>)(?P<reasoning>.*?)</details>",
        regex.I | regex.S,
    ),
)
# A model's channels, as they are written and as they look when a tokenizer left control tokens out.
CHANNEL = late_pattern(
    r"<\|channel\|>\s*(?P<name>\w+).*?<\|message\|>(?P<text>.*?)"
    r"(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    regex.S,
)
BARE_CHANNEL = late_pattern(
    r"\s*(?:assistant)?analysis(?=[A-Z\W])(?P<reasoning>.+?)assistantfinal(?P<answer>.*)", regex.S
)
BARE_ANALYSIS = late_pattern(r"\s*(?:assistant)?analysis(?=[A-Z])(?P<reasoning>.+)", regex.S)
FINAL = "final"
# What stands around an answer behind its reasoning.
AROUND = (
    late_pattern(r"\s*<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>\s*|\Z)", regex.S),
    late_pattern(r"\s*<\|START_RESPONSE\|>(.*?)(?:<\|END_RESPONSE\|>\s*|\Z)", regex.S),
    late_pattern(r"\s*<\|begin_of_box\|>(.*?)(?:<\|end_of_box\|>\s*|\Z)", regex.S),
    late_pattern(
        r"\s*<(answer|output|response|final|final[_ ]answer|solution)>(.*?)(?:</\1>\s*|\Z)",
        regex.S | regex.I,
    ),
)
LEFT = late_pattern(
    rf"{MARKS}|<think(?:ing)?\s*/>"
    r"|<\|(?:channel|(?:begin|end)_of_(?:solution|box)|(?:START|END)_RESPONSE)\|>",
    regex.I,
)


@dataclass(frozen=True)
class ReasoningSplit:
    """An answer and the reasoning that stood beside it, both without marks."""

    answer: str
    reasoning: str = ""


def part_reasoning(text: str) -> ReasoningSplit:
    """Return a text as answer and reasoning; a text without marks is all answer."""
    for block in BLOCKS:
        text = block.sub(r"<think>\g<reasoning></think>", text)
    parted = _part_channels(text) or _part_marks(text)
    if parted is None:
        return ReasoningSplit(text)
    answer = parted.answer.strip()
    for around in AROUND:
        inner = around.fullmatch(answer)
        answer = inner[inner.re.groups].strip() if inner else answer
    return ReasoningSplit(answer, parted.reasoning.strip())


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


def _part_channels(text: str) -> ReasoningSplit | None:
    channels = list(CHANNEL.finditer(text))
    if channels:
        final = [c["text"] for c in channels if c["name"] == FINAL]
        other = [c["text"] for c in channels if c["name"] != FINAL]
        return ReasoningSplit("\n".join(final), "\n".join(other))
    bare = BARE_CHANNEL.fullmatch(text)
    if bare:
        return ReasoningSplit(bare["answer"], bare["reasoning"])
    analysis = BARE_ANALYSIS.fullmatch(text)
    return ReasoningSplit("", analysis["reasoning"]) if analysis else None


def _part_marks(text: str) -> ReasoningSplit | None:
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
    return (
        ReasoningSplit("".join(answer), "\n".join(t.strip() for t in reasoning)) if marked else None
    )


def _marks_outside_code(text: str) -> Iterator["regex.Match[str]"]:
    marks = list(MARK.finditer(text))
    # Where there are none, nobody needs to know where code is.
    code = [block.span() for block in CODE.finditer(text)] if marks else []
    return (m for m in marks if not any(a <= m.start() and m.end() <= b for a, b in code))
