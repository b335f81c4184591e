"""A programmed row as text of the length that is wanted, and what would be wrong with it."""

from collections.abc import Callable
from dataclasses import dataclass

from curate.core.rows import Message
from curate.generate.candidates import RejectReason, pair
from curate.generate.generation import CountTokens
from curate.generate.programs.question import Question, decile_of, fill_slots, occurrences
from curate.generate.programs.tasks import Task

TOLERANCE = 0.05
# Questions of other sizes that are tried until one has the length; and the smallest size of all.
TRIALS, SMALLEST = 16, 12


@dataclass(frozen=True)
class ProgrammedRow:
    """A question in words, with its length in tokens where that is a matter of choice."""

    question: Question
    messages: list[Message]
    tokens: int | None = None


def write_row(task: Task, question: Question, wording: str, *, template: bool) -> ProgrammedRow:
    """Return a question in words."""
    request = fill_slots(wording, question.slots)
    if template and task.template:
        request += (
            f"\nAnswer in the following template:\n{fill_slots(task.template, question.slots)}"
        )
    parts = [task.opening, question.context, request]
    return ProgrammedRow(
        question, pair("\n\n".join(part for part in parts if part), question.answer)
    )


def fit_row(
    task: Task, write: Callable[[int], ProgrammedRow], tokens: int, count_tokens: CountTokens
) -> ProgrammedRow:
    """Return a row of about so many tokens, the nearest of those tried where none is near enough.

    Its size is changed by what it lacks, at the rate of the last two sizes, between those that are
    known to be too small and too large.
    """
    size, unit = max(round(tokens / task.unit), SMALLEST), task.unit
    low, high = SMALLEST - 1, None
    tried: dict[int, ProgrammedRow] = {}
    for _ in range(TRIALS):
        row = write(size)
        (length,) = count_tokens([row.messages])
        tried[size] = ProgrammedRow(row.question, row.messages, length)
        if abs(length - tokens) <= TOLERANCE * tokens:
            break
        low, high = (size, high) if length < tokens else (low, size)
        unit = max(length / size, unit / 2)
        size += round((tokens - length) / unit)
        size = max(size, low + 1) if high is None else min(max(size, low + 1), high - 1)
        if size in tried or size <= low:
            break
    return min(tried.values(), key=lambda row: abs((row.tokens or 0) - tokens))


def find_fault(row: ProgrammedRow, tokens: int, decile: int) -> tuple[RejectReason, str] | None:
    """Return what a row lacks of what it was to be, None if nothing; `decile` is where it was put."""
    question, prompt = row.question, row.messages[0]["content"]
    if row.tokens is not None and abs(row.tokens - tokens) > TOLERANCE * tokens:
        reason = RejectReason.TOO_SHORT if row.tokens < tokens else RejectReason.TOO_LONG
        return reason, f"{row.tokens:,} of {tokens:,} tokens"
    if question.needle is not None and (count := occurrences(question.needle, prompt)) != 1:
        return RejectReason.INVALID, f"its answer stands in the prompt {count} times"
    if question.position is not None and decile_of(question.position) != decile:
        place = f"at {question.position:.0%} of the context"
        return RejectReason.INVALID, f"its answer stands {place}, not in decile {decile + 1}"
    return None
