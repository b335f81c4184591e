r"""Conversations written out as one text, with marks that open each turn.

<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>      ChatML
\n\nHuman: Hi\n\nAssistant: Hello                                        Anthropic's transcripts
### Human: Hi### Assistant: Hello                                          OpenAssistant Guanaco
<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello </s>               Llama 2, Mistral
<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello               Gemma
<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>                              Phi, Zephyr, Tulu
"""

import re
from dataclasses import dataclass

from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.roles import map_role

TEXT_FIELDS = ("text", "transcript", "conversation", "content")


@dataclass(frozen=True)
class TurnMarks:
    """The marks of one way to write turns: what opens one (its first group the role) and ends it."""

    name: str
    opening: re.Pattern[str]
    ends: tuple[str, ...] = ()


# What ends a whole text, behind the end of its last turn.
LAST = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<｜end▁of▁sentence｜>")
MARKS = (
    TurnMarks("chatml", re.compile(r"<\|im_start\|>[ ]*(\w+)[ ]*\n"), ("<|im_end|>",)),
    TurnMarks(
        "llama3",
        re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>(?:\n\n|\n)?"),
        ("<|eot_id|>",),
    ),
    TurnMarks(
        "llama4", re.compile(r"<\|header_start\|>(\w+)<\|header_end\|>(?:\n\n|\n)?"), ("<|eot|>",)
    ),
    TurnMarks("llama2", re.compile(r"(?:<s>)?[ ]*\[(/?INST)\]"), ("</s>",)),
    TurnMarks("gemma", re.compile(r"<start_of_turn>(user|model)\n"), ("<end_of_turn>",)),
    TurnMarks(
        "phi", re.compile(r"<\|(system|user|assistant)\|>\s*"), ("<|end|>", "</s>", "<|endoftext|>")
    ),
    TurnMarks("deepseek", re.compile(r"<｜(User|Assistant)｜>"), ("<｜end▁of▁sentence｜>",)),
    TurnMarks("transcript", re.compile(r"(?:^|\n\n)[ ]*(System|Human|Assistant):(?:[ ]|(?=\n|$))")),
    TurnMarks(
        "transcript", re.compile(r"(?:^|\n*)###[ ]*(System|Human|Assistant):(?:[ ]|(?=\n|$))")
    ),
)
# Lines that open with a name: BELLE's multi-turn prompts. Told by names that take turns.
LINES = TurnMarks("transcript", re.compile(r"(?:^|\n)[ ]*(Human|User|Assistant)[ ]*:[ ]*"))
INST_ROLES = {"INST": "user", "/INST": "assistant"}
INST_SYSTEM = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>(.*)", re.S)
BEGIN = ("<|begin_of_text|>", "<s>", "<|endoftext|>", "<bos>", "<｜begin▁of▁sentence｜>")


class TranscriptLayout:
    """A text with the marks of turns."""

    name = "transcript"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the field with the text."""
        fields = (f for f in TEXT_FIELDS if find_marks(record.get(f)) is not None)
        return tuple(fields)[:1]

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns.

        Raises:
            RecordFault: text stands outside of turns.
        """
        (field,) = self.matched_fields(record)
        return ConversationTurns(read_transcript(str(record[field]), field, roles), {field})


def find_marks(text: object) -> TurnMarks | None:
    """Return the marks that a text opens with; None if it is no transcript."""
    if not isinstance(text, str):
        return None
    start = _begin(text)
    marks = next((m for m in MARKS if m.opening.match(start)), None)
    if marks is None or (not marks.ends and len(marks.opening.findall(start)) == 1):
        return LINES if _take_turns(start) else marks
    return marks


def _take_turns(text: str) -> bool:
    """Return whether lines open with the names of a user and an assistant, one after the other."""
    if LINES.opening.match(text) is None:
        return False
    names = [name == "Assistant" for name in LINES.opening.findall(text)]
    return len(names) > 1 and names == [bool(i % 2) for i in range(len(names))]


def opens_answer(text: object) -> bool:
    """Return whether a prompt is a transcript, and not one that just begins with a name."""
    marks = find_marks(text)
    if marks is None:
        return False
    if marks is LINES:
        return LINES.opening.split(_begin(str(text)))[-1].strip() == ""
    return bool(marks.ends) or len(marks.opening.findall(_begin(str(text)))) > 1


def read_transcript(text: str, field: str, roles: Roles) -> list[Message]:
    """Return the turns of a transcript, the white space around each left out.

    A last turn that is opened for an answer and empty is none.

    Raises:
        RecordFault: text stands behind the end of a turn, where no other is opened.
    """
    marks = find_marks(text)
    assert marks is not None, "whoever calls has seen the marks"
    start = _begin(text)
    openings = list(marks.opening.finditer(start))
    turns: list[Message] = []
    for i, opening in enumerate(openings):
        last = i == len(openings) - 1
        body = start[opening.end() : None if last else openings[i + 1].start()]
        end = next((end for end in marks.ends if end in body), None)
        said, _, rest = body.partition(end) if end else (body, "", "")
        if rest.strip() and rest.strip() not in LAST:
            raise RecordFault(
                Reason.UNREAD_FIELD, f"{field}: text between turns ({rest.strip()!r:.60})"
            )
        if last and not said.strip() and len(turns) > 0:
            break
        role = INST_ROLES.get(opening[1]) or map_role(opening[1], roles)
        turns.append({"role": role, "content": said.strip()})
    if marks.name == "llama2" and turns and (ruled := INST_SYSTEM.fullmatch(turns[0]["content"])):
        turns[:1] = [
            {"role": "system", "content": ruled[1].strip()},
            {"role": "user", "content": ruled[2].strip()},
        ]
    return turns


def answer_ends(prompt: str) -> tuple[str, ...]:
    """Return the marks with which the answer to a transcript may end, the outer first."""
    marks = find_marks(prompt)
    return (*LAST, *marks.ends) if marks and marks.ends else ()


def without_ends(answer: str, ends: tuple[str, ...]) -> str:
    """Return an answer without the marks at its end, nor the white space around them."""
    for end in ends:
        if answer.rstrip().endswith(end):
            answer = answer.rstrip().removesuffix(end).rstrip()
    return answer


def _begin(text: str) -> str:
    """Return a text without the mark of its beginning."""
    start = text.lstrip()
    for mark in BEGIN:
        start = start.removeprefix(mark)
    return start.lstrip()
