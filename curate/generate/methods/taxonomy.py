"""Taxonomy: tasks brainstormed first, then examples of each along axes, for breadth.

Wang et al. 2024, "Improving Text Embeddings with Large Language Models", arXiv:2401.00368 (two steps,
and values that are drawn into the second); Li et al. 2024, "Synthetic Data (Almost) from Scratch",
arXiv:2402.13064 (from fields of knowledge downward).

    tasks    lists of tasks are asked for, of each subject in turn or of the field of some target
             examples that are drawn; those near to an earlier one go
    write    requests of each task, each with a value of every axis
    answer   as they stand

Values are what makes examples differ, more than temperature does. An axis goes through all of its
values, in an order drawn anew each time, before it comes back to one; axes do so independently. So the
first few rows cover all values, and n rows have each value of an axis of k n/k times, or once more.

The tasks are kept for the report, with the rows of each.

Calls: 2 / yield for each kept row, and one for each list of tasks.

Departures: a fixed form for each category of the first paper is left out, and the vote of people on the
second one's taxonomy; every axis reaches the prompt (in distilabel's rendering some are drawn and then
not used). A value is asked for and not checked; the notes say what it was and how many words came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator

from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.drafts import ask_each, find_truncation
from curate.generate.generation import Generation, reject_reason_of, was_sent
from curate.generate.novelty import RougeIndex, words_of
from curate.generate.plain import answer_prompts
from curate.generate.shots import Shots, ShotSettings
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS, array, characters_for, record, text, tidy, tokens_for
from curate.llm.structured import Answer
from curate.text.words import count_words

VERSION = 1
TASK_LETTERS = 100
AXES = {
    "form": ["question", "order", "order with a text to work on", "a case, then a question"],
    "level": ["child", "beginner", "skilled", "expert"],
    "length": ["a few words", "one sentence", "two or three sentences", "a paragraph"],
    "clarity": ["clear", "a little roundabout", "in a hurry"],
}


@method
class TaxonomyGenerator(ShotSettings):
    """Tasks brainstormed by subject, then examples of each along axes."""

    version: ClassVar[int] = VERSION

    method: Literal["taxonomy"] = "taxonomy"
    subjects: list[str] = Field(
        [],
        description="what tasks are brainstormed for; the target's field if empty",
        examples=[["arithmetic", "geometry"]],
    )
    brainstorms: int = Field(10, ge=1, description="lists of tasks; subjects take turns")
    tasks: int = Field(20, ge=1, le=40, description="in a list")
    examples: int = Field(2, ge=1, description="of each task")
    shots: int = Field(3, ge=0, description="target examples shown with each list; 0: none")
    alike: float = Field(0.7, gt=0, le=1, description="ROUGE-L of tasks from which one is a copy")
    axes: dict[str, list[str]] = Field(
        AXES,
        description="names and the values that are drawn",
        examples=[{"level": ["beginner", "expert"]}],
    )
    temperature: float = Field(1.0, ge=0, description="of tasks and requests; answers are greedy")
    top_p: TopP = 0.95
    max_tokens: int = Field(512, ge=64, description="of a request, and of an answer")

    @field_validator("axes")
    @classmethod
    def _check_axes(cls, axes: dict[str, list[str]]) -> dict[str, list[str]]:
        empty = [name for name, values in axes.items() if not values]
        if empty:
            raise ValueError(f"the axis {empty[0]!r} has no values")
        return axes

    def needed(self) -> tuple[str, ...]:
        """Return what must be there to start from."""
        return () if self.subjects else ("target",)

    def generate(self, run: Generation) -> None:
        """Brainstorm tasks, write requests for each, and answer them."""
        if not self.subjects and not (run.target and self.shots):
            raise UserError(
                "taxonomy needs something to start from: give `subjects`, or target examples and shots"
            )
        taxonomy = Taxonomy(run, self)
        tasks = taxonomy.brainstorm()
        used = [task for task in tasks if task.reject_reason is None]
        try:
            drafts = ask_each(
                run, "write", taxonomy.plan(used), taxonomy.ask_request, taxonomy.take_request
            )
            drafts = run.candidate_filter.screen(drafts)
            run.filter(answer_prompts(run, drafts, _name, max_tokens=self.max_tokens))
        finally:
            run.tables["tasks"] = tasks_table(tasks, run.kept)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = self.brainstorms * (1 + 2 * self.tasks * self.examples)
        return Workload(
            calls=calls,
            answer_tokens=self.max_tokens,
            rows=self.brainstorms * self.tasks * self.examples,
        )


@dataclass(frozen=True)
class TaxonomyTask:
    """A kind of work, whose examples brought it up, and why it goes unused if it does."""

    words: str
    subject: str
    parents: tuple[str, ...]
    list_number: int
    place: int
    reject_reason: str | None = None


class Taxonomy:
    """The steps of the method before a request is answered."""

    def __init__(self, run: Generation, params: TaxonomyGenerator) -> None:
        self.run, self.params = run, params
        self.schema = record(request=text(characters_for(params.max_tokens)))
        self.shots = Shots(run, params.shots_by, run.target)

    def _writing(self, tokens: int) -> Sampling:
        return Sampling(
            temperature=self.params.temperature,
            top_p=self.params.top_p,
            max_tokens=tokens,
            repeats=REPEATS,
        )

    def brainstorm(self) -> list[TaxonomyTask]:
        """Return the tasks of all lists; lists that failed go on record."""
        run, count = self.run, self.params.tasks
        schema = tasks_schema(count)
        prompts = {example.row_id: example.prompt for example in run.target}
        lists = [self._list(k) for k in range(self.params.brainstorms)]
        requests = [
            run.request(
                "tasks",
                [k],
                self._writing(tokens_for(count * (TASK_LETTERS + 4))),
                schema=schema,
                subject=subject,
                examples=[prompts[row_id] for row_id in parents],
                count=count,
            )
            for k, (subject, parents) in enumerate(lists)
        ]
        tasks: list[TaxonomyTask] = []
        for k, answer in enumerate(run.ask_one("tasks", requests)):
            subject, parents = lists[k]
            if was_sent(answer):
                tasks += self._take_tasks(TaxonomyTask("", subject, parents, k, 0), answer)
        return drop_alike(tasks, self.params.alike)

    def _list(self, number: int) -> tuple[str, tuple[str, ...]]:
        """Return the subject of a list and the target examples shown with it."""
        subjects = self.params.subjects
        subject = subjects[number % len(subjects)] if subjects else ""
        rng = self.run.rng("shots", number)
        shots = self.shots.choose(self.params.shots, rng, subject or None)
        return subject, tuple(example.row_id for example in shots)

    def _take_tasks(self, empty: TaxonomyTask, answer: Answer) -> list[TaxonomyTask]:
        reason = reject_reason_of(answer)
        if reason:
            notes = {"list": empty.list_number, "subject": empty.subject}
            lost = Candidate([], self.run.method, empty.parents, 1, notes)
            self.run.filter([lost.drop(reason, answer.reason)])
            return []
        return [
            replace(
                empty, words=tidy(words), place=place, reject_reason=_reject_reason_of_task(words)
            )
            for place, words in enumerate(answer.value["tasks"])
        ]

    def plan(self, tasks: Sequence[TaxonomyTask]) -> list[Candidate]:
        """Return the requests to write; tasks take turns, so that a run cut short has all of them."""
        rounds = [(task, k) for k in range(self.params.examples) for task in tasks]
        drawn = {
            name: draw_evenly(self.run, name, values, len(rounds))
            for name, values in self.params.axes.items()
        }
        return [
            Candidate([], self.run.method, task.parents, 1, self._notes(task, k, i, drawn))
            for i, (task, k) in enumerate(rounds)
        ]

    def _notes(
        self, task: TaxonomyTask, number: int, place: int, drawn: Mapping[str, Sequence[str]]
    ) -> dict[str, Any]:
        axes = {name: values[place] for name, values in drawn.items()}
        task_notes = {"task": task.words, "list": task.list_number, "place": task.place}
        subject = {"subject": task.subject} if task.subject else {}
        return {**task_notes, **subject, "example": number, "axes": axes}

    def ask_request(self, draft: Candidate) -> Request:
        """Return the request for what somebody may ask."""
        return self.run.request(
            "write",
            _name(draft),
            self._writing(self.params.max_tokens),
            schema=self.schema,
            task=draft.notes["task"],
            axes=draft.notes["axes"],
        )

    def take_request(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with what is asked."""
        words = answer.value["request"].strip()
        notes = {**draft.notes, "words": count_words(words)}
        request_candidate = replace(
            draft, messages=[{"role": "user", "content": words}], notes=notes
        )
        rejection = find_truncation(answer.value, self.schema)
        return request_candidate.drop(*rejection) if rejection else request_candidate


def draw_evenly(run: Generation, axis: str, values: Sequence[str], count: int) -> list[str]:
    """Return so many values of an axis: all of them, in an order drawn anew, time and again."""
    cycles = range(-(-count // len(values)))
    orders = [run.rng("axis", axis, cycle).permutation(len(values)) for cycle in cycles]
    return [values[i] for order in orders for i in order][:count]


def drop_alike(tasks: Sequence[TaxonomyTask], alike: float) -> list[TaxonomyTask]:
    """Return the tasks, those rejected that are near to an earlier one."""
    seen = RougeIndex()
    results = []
    for task in tasks:
        if task.reject_reason is None:
            near = seen.nearest(task.words, above=alike)
            if near:
                task = replace(
                    task, reject_reason=f"{RejectReason.NOT_NEW.value}: ROUGE-L {near[0]:.2f}"
                )
            else:
                seen.add([task.words])
        results.append(task)
    return results


def _reject_reason_of_task(words: str) -> str | None:
    if not words_of(words):
        return RejectReason.EMPTY.value
    return RejectReason.TRUNCATED.value if len(words) >= TASK_LETTERS else None


def tasks_schema(count: int) -> dict[str, Any]:
    """Return the schema of a list of tasks; a short one is let pass, since its tasks are good."""
    items = text(TASK_LETTERS)
    return record(tasks=array(items, count))


def tasks_table(tasks: Sequence[TaxonomyTask], kept: Sequence[Candidate]) -> pl.DataFrame:
    """Return subject, task, why it was not used, and how many rows of it were kept."""
    rows = [(c.notes["list"], c.notes["place"]) for c in kept]
    return pl.DataFrame(
        [
            (
                task.subject,
                task.words,
                task.reject_reason,
                rows.count((task.list_number, task.place)),
            )
            for task in tasks
        ],
        schema={"subject": pl.String, "task": pl.String, "flaw": pl.String, "kept": pl.Int64},
        orient="row",
    )


def _name(draft: Candidate) -> tuple[int, int, int]:
    return draft.notes["list"], draft.notes["place"], draft.notes["example"]
