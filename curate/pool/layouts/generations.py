"""A problem and several answers that a model wrote, with marks of which are right.

{"problem": "...", "generations": ["...", "..."], "correctness_math_verify": [false, true],
 "is_reasoning_complete": [true, true], "solution": "...", "answer": "4", "messages": [...]}

As in OpenR1-Math: the answer is the one of `messages`, else the first that is marked as right and is
complete. The other answers and the reference solution stay in meta.
"""

from collections.abc import Sequence
from typing import Any

from curate.core.reasons import Reason
from curate.core.rows import normalise
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.messages import listed_layout
from curate.pool.layouts.pairs import field_text

GENERATIONS, COMPLETE, CORRECTNESS = "generations", "is_reasoning_complete", "correctness"
PROBLEMS = ("problem", "question", "prompt", "instruction")
# What the problem's author wrote: a reference, and not the response.
REFERENCES = frozenset({GENERATIONS, "solution", "answer"})


class GenerationsLayout:
    """A problem and a list of generated answers, each of which may be marked as right or wrong."""

    name = "generations"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields with problem and answers."""
        texts = record.get(GENERATIONS)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            return ()
        problem = next((f for f in PROBLEMS if isinstance(record.get(f), str)), None)
        return (problem, GENERATIONS) if problem and texts else ()

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the problem and the answer.

        Raises:
            RecordFault: no answer is marked as right, or that of `messages` is none of them.
        """
        problem, _ = self.matched_fields(record)
        generations: Any = record[GENERATIONS]
        listed = listed_layout(record)
        if listed is not None:
            example = listed.read(record, roles)
            answer = normalise(example.turns[-1]["content"])
            if answer not in map(normalise, generations):
                raise RecordFault(
                    Reason.UNREAD_FIELD, f"{GENERATIONS}: the last turn is none of them"
                )
        else:
            text = generations[_right_answer(record, problem, generations)]
            example = ConversationTurns(
                [
                    {"role": "user", "content": field_text(record, problem)},
                    {"role": "assistant", "content": text},
                ],
                {problem},
            )
        example.aside |= REFERENCES
        return example


def _right_answer(record: Record, problem: str, generations: Sequence[str]) -> int:
    """Return which answer is the first that is complete and that any check has found right.

    Raises:
        RecordFault: there is none, or several without any mark.
    """
    marks = [
        value
        for field, value in record.items()
        if field.startswith(CORRECTNESS) and isinstance(value, list)
    ]
    if not marks and len(generations) == 1:
        return 0
    if not marks:
        raise RecordFault(
            Reason.MISSING_FIELD,
            f"{CORRECTNESS}: nothing says which of {len(generations)} {GENERATIONS} is right; name "
            f"one, e.g. fields: {{prompt: {problem}, response: '{GENERATIONS}[0]'}}",
        )
    complete = record.get(COMPLETE)
    for i in range(len(generations)):
        whole = not isinstance(complete, list) or _is_marked(complete, i)
        if whole and any(_is_marked(mark, i) for mark in marks):
            return i
    raise RecordFault(Reason.UNREAD_FIELD, f"{GENERATIONS}: none is marked as right and complete")


def _is_marked(marks: list[Any], i: int) -> bool:
    return i < len(marks) and marks[i] is True
