"""Wordings of tasks: those that are built in, or others that an engine writes once and rows draw from.

A wording is one sentence or two with slots in braces, as "What is the value of key {key}?". One that an
engine writes is taken if it has each slot of the built-in ones once and no other, no number of its own,
and is not there yet. Where none can be taken, the built-in ones stay.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import regex

from curate.core.rows import normalise
from curate.generate.generation import Generation, reject_reason_of, was_sent
from curate.generate.programs.question import SLOT
from curate.generate.programs.tasks import TASKS, TaskName
from curate.llm.requests import Request, Sampling
from curate.llm.schemas import REPEATS, array, record, text, tokens_for
from curate.llm.structured import Answer
from curate.text.words import count_words

LOG = logging.getLogger("curate")
MOST_LETTERS, FEWEST_WORDS = 240, 3


@dataclass(frozen=True)
class TaskWording:
    """A wording of a task; fault says why no row has it, where that is so."""

    task: TaskName
    text: str
    source: str
    fault: str | None = None


def built_in(tasks: Sequence[TaskName]) -> list[TaskWording]:
    """Return the wordings that need no engine."""
    return [TaskWording(task, one, "built-in") for task in tasks for one in TASKS[task].wordings]


def write_wordings(run: Generation, tasks: Sequence[TaskName], count: int) -> list[TaskWording]:
    """Return what an engine writes for each task, with what is wrong with it, before the built-in ones.

    The built-in ones are used for a task of which nothing else can be.
    """
    requests = [_request(run, task, count) for task in tasks]
    wordings: list[TaskWording] = []
    for task, answer in zip(tasks, run.ask_one("wordings", requests), strict=True):
        written = _take(task, answer) if was_sent(answer) else []
        wordings += written
        usable = [one for one in written if one.fault is None]
        if not usable:
            LOG.warning("program: no wording of %s can be used; the built-in ones are", task)
            wordings += built_in([task])
    return wordings


def usable_by_task(wordings: Sequence[TaskWording]) -> Mapping[TaskName, list[str]]:
    """Return the texts that rows draw from, by task."""
    texts: dict[TaskName, list[str]] = {}
    for wording in wordings:
        if wording.fault is None:
            texts.setdefault(wording.task, []).append(wording.text)
    return texts


def tokens_of(count: int) -> int:
    """Return how many tokens surely hold so many wordings."""
    return tokens_for(count * MOST_LETTERS)


def _request(run: Generation, task: TaskName, count: int) -> Request:
    sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=tokens_of(count), repeats=REPEATS)
    return run.request(
        "wordings",
        [task],
        sampling,
        schema=record(wordings=array(text(MOST_LETTERS), count)),
        wordings=TASKS[task].wordings,
        slots=slots_of(TASKS[task].wordings[0]),
        count=count,
    )


def slots_of(wording: str) -> list[str]:
    """Return the slots of a wording, in their order."""
    return [str(name) for name in SLOT.findall(wording)]


def _take(task: TaskName, answer: Answer) -> list[TaskWording]:
    """Return the wordings of an answer, those of no use with their fault."""
    reason = reject_reason_of(answer)
    if reason is not None:
        return [TaskWording(task, answer.text, "engine", f"{reason.value}: {answer.reason}")]
    texts = [" ".join(str(one).split()) for one in answer.value["wordings"]]
    seen: set[str] = set()
    wordings = []
    for one in texts:
        form = normalise(one).casefold()
        fault = "is there already" if form in seen else find_wording_fault(task, one)
        wordings.append(TaskWording(task, one, "engine", fault))
        seen.add(form)
    return wordings


def find_wording_fault(task: TaskName, wording: str) -> str | None:
    """Return why a wording cannot ask a task, None if it can."""
    slots, own = slots_of(TASKS[task].wordings[0]), slots_of(wording)
    if sorted(own) != sorted(slots):
        return f"has the slots {own}, not {slots}"
    rest = SLOT.sub(" ", wording)
    if regex.search(r"[{}]", rest):
        return "has braces of its own"
    if regex.search(r"\d", rest):
        return "has a number of its own"
    if count_words(rest) < FEWEST_WORDS:
        return "is too short"
    return "is cut off" if len(wording) >= MOST_LETTERS else None
