"""Self-Instruct: new tasks after the pattern of a few, and examples of them.

Wang et al. 2022, "Self-Instruct: Aligning Language Models with Self-Generated Instructions",
arXiv:2212.10560; the shorter form is that of Stanford Alpaca (2023) and of BioInstruct (Tran et al.
2023, arXiv:2310.19975).

    instructions  some target prompts and a few of the tasks made so far are shown, more are asked for
    kind          can the answers be listed beforehand, as in classification?
    examples      then output first, so that no label is favoured; input first otherwise

Tasks are judged before examples are paid for: too short or long, a keyword that needs more than text,
ROUGE-L above 0.7 to any that is there. Each round sees the tasks kept in those before it; their rows
count as parents, so `hop` says how far a row is from the target. Rounds bound what is tried, `rows` what
is wanted.

`form: whole` asks for task, input and output in one answer. With demos: 3, machine_demos: 0 and
temperature: 1 that is Alpaca; with demos drawn from some 80 target examples and a `domain`, BioInstruct.

Calls: (1/7 + 2) / yield for each kept row; 1 / (7 yield) with `form: whole`.

Departures from the authors' code: JSON by a schema where it continues a numbered list, so that no
answer is split by hand and none may open with another script's letter or a sign for nothing; no
presence penalty, which few engines have, and so top_p 0.9 in place of 0.5; one example a task unless
`instances` says more (5 there), since examples of one task are near to each other; "go to" is no
keyword, it hits too much; filters see the task with its input in the end. An answer that was cut is
dropped as a whole. Its str.capitalize, which makes "NASA" "Nasa", is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import orjson
import regex
from pydantic import Field, model_validator

from curate.core.jsontypes import JSON
from curate.core.methods import method
from curate.core.rows import normalise
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.drafts import ask_each, find_truncation
from curate.generate.generation import (
    Generation,
    reject_reason_of,
    was_sent,
    with_reasoning,
)
from curate.generate.novelty import RougeIndex
from curate.generate.shots import Shots, ShotSettings
from curate.generate.sift import Filters
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS, array, characters_for, greedy, record, text, tokens_for
from curate.llm.structured import Answer

VERSION = 1
TASK_LETTERS, OPTIONS_LETTERS = 300, 120
# What a list of examples has around each of them.
FRAME_LETTERS = 40
KEYWORDS = [
    *("image", "images", "graph", "graphs", "picture", "pictures", "photo", "photos"),
    *("file", "files", "map", "maps", "draw", "plot", "diagram", "diagrams", "flowchart"),
    *("video", "videos", "audio", "music"),
]
# Models answer it now with code, now with what the code would print.
PROGRAM = regex.compile(r"^\s*write (?:a|the) program\b", regex.I)


class SelfInstructFilters(Filters):
    """What is asked of every generated row, and of each task before it has an example."""

    prompt_words: tuple[int, int] = Field((4, 150), description="least and most")
    keywords: list[str] = Field(KEYWORDS, description="words or phrases that no prompt may hold")


@method
class SelfInstructGenerator(ShotSettings):
    """New tasks after the pattern of the target's and of those made so far, with examples."""

    version: ClassVar[int] = VERSION
    needs: ClassVar[tuple[str, ...]] = ("target",)

    method: Literal["self_instruct"] = "self_instruct"
    filters: SelfInstructFilters = SelfInstructFilters()
    form: Literal["steps", "whole"] = Field(
        "steps", description="task, kind and example by calls of their own, or all in one answer"
    )
    rows: int = Field(500, ge=1, description="no further round once so many are kept")
    rounds: int = Field(10, ge=1, description="at most; each sees the tasks of those before it")
    batch: int = Field(20, ge=1, description="times that new tasks are asked for in a round")
    tasks: int = Field(7, ge=1, le=20, description="asked for each time")
    demos: int = Field(8, ge=1, description="tasks shown each time")
    machine_demos: int = Field(2, ge=0, description="of these, at most so many that were made here")
    domain: str = Field(
        "", description="what the tasks are from, e.g. biomedicine", examples=["biomedicine"]
    )
    instances: int = Field(1, ge=1, le=5, description="examples of each task at most")
    temperature: float = Field(0.7, ge=0, description="of new tasks; kinds and examples are greedy")
    top_p: TopP = 0.9
    max_tokens: int = Field(512, ge=64, description="of one example, input and output together")

    @model_validator(mode="after")
    def _check(self) -> "SelfInstructGenerator":
        if self.machine_demos >= self.demos:
            raise ValueError("machine_demos must leave room for at least one target example")
        return self

    def generate(self, run: Generation) -> None:
        """Ask round by round until enough is kept, rounds are used up, or a limit is reached."""
        tasks = SelfInstruct(run, self)
        for number in range(self.rounds):
            if run.stopped or len(run.kept) >= self.rows:
                break
            tasks.add_round(number)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        requests = self.rounds * self.batch
        calls = requests if self.form == "whole" else requests * (1 + 2 * self.tasks)
        return Workload(
            calls=calls,
            answer_tokens=self.max_tokens,
            rows=self.rounds * self.batch * self.tasks * self.instances,
        )


class SelfInstruct:
    """The tasks so far, by whom they were made."""

    def __init__(self, run: Generation, params: SelfInstructGenerator) -> None:
        self.run, self.params = run, params
        self.generated: dict[str, Candidate] = {}
        self.target = {example.row_id: example for example in run.target}
        self.shots = Shots(run, params.shots_by, run.target)
        self.seen = RougeIndex(example.prompt for example in run.target)
        letters = characters_for(params.max_tokens) // 2
        self.output = text(letters)
        self.input: Mapping[str, JSON] = {"type": "string", "maxLength": letters}

    def add_round(self, number: int) -> None:
        """Put the rows of one round on record; the kept ones can be shown in the next."""
        demos_by_call = [self._draw(number, k) for k in range(self.params.batch)]
        whole = self.params.form == "whole"
        ask, take = (
            (self._ask_whole, self._take_whole) if whole else (self._ask_tasks, self._take_task)
        )
        requests = [ask(number, k, demos) for k, demos in enumerate(demos_by_call)]
        drafts: list[Candidate] = []
        answers = self.run.ask_one("whole" if whole else "instructions", requests)
        for k, answer in enumerate(answers):
            lost = self._draft(number, k, 0, demos_by_call[k])
            drafts += _spread(lost, answer, "tasks", take)
        for kept in self.run.filter(drafts if whole else self._instantiate(self._screen(drafts))):
            self.generated[kept.row_id] = kept

    def _draw(self, number: int, call: int) -> list[str]:
        """Return the row ids of the tasks to show: some made here, the rest of the target."""
        rng = self.run.rng("demos", number, call)
        machine_ids = list(self.generated)
        machine = rng.permutation(len(machine_ids))[: self.params.machine_demos]
        human = self.shots.choose(self.params.demos - len(machine), rng)
        drawn = [*(machine_ids[i] for i in machine), *(example.row_id for example in human)]
        return [drawn[i] for i in rng.permutation(len(drawn))]

    def _draft(self, number: int, call: int, item: int, demos: Sequence[str]) -> Candidate:
        hop = 1 + max(
            (self.generated[row_id].hop for row_id in demos if row_id in self.generated), default=0
        )
        notes = {"round": number, "call": call, "item": item}
        return Candidate([], self.run.method, tuple(demos), hop, notes)

    def _task(self, row_id: str) -> str:
        if row_id in self.generated:
            return str(self.generated[row_id].notes["task"])
        return self.target[row_id].prompt

    def _writing(self, letters: int) -> Sampling:
        return Sampling(
            temperature=self.params.temperature,
            top_p=self.params.top_p,
            max_tokens=tokens_for(self.params.tasks * letters),
            repeats=REPEATS,
        )

    def _ask_tasks(self, number: int, call: int, demos: Sequence[str]) -> Request:
        return self.run.request(
            "instructions",
            [number, call],
            self._writing(TASK_LETTERS + FRAME_LETTERS),
            schema=record(tasks=array(text(TASK_LETTERS), self.params.tasks)),
            **self._slots([_shorten(self._task(row_id)) for row_id in demos]),
        )

    def _slots(self, tasks: Sequence[Any]) -> dict[str, Any]:
        """Return what the prompts for new tasks ask for; tasks are shown as an answer given before."""
        return {
            "tasks": orjson.dumps({"tasks": tasks}).decode(),
            "shown": len(tasks),
            "count": self.params.tasks,
            "domain": self.params.domain,
        }

    def _take_task(self, draft: Candidate, value: str) -> Candidate:
        return _with_task(draft, value, cut=len(value) >= TASK_LETTERS)

    def _ask_whole(self, number: int, call: int, demos: Sequence[str]) -> Request:
        letters = TASK_LETTERS + 2 * int(self.output["maxLength"]) + 2 * FRAME_LETTERS
        return self.run.request(
            "whole",
            [number, call],
            self._writing(letters),
            schema=record(tasks=array(self._whole_schema(), self.params.tasks)),
            **self._slots([self._triple(row_id) for row_id in demos]),
        )

    def _triple(self, row_id: str) -> dict[str, str]:
        if row_id in self.generated:
            row = self.generated[row_id]
            task = str(row.notes["task"])
            task_input = row.prompt.removeprefix(task).strip()
            return {"task": task, "input": task_input, "output": row.response}
        example = self.target[row_id]
        return {"task": example.prompt, "input": "", "output": example.response}

    def _whole_schema(self) -> dict[str, Any]:
        return record(task=text(TASK_LETTERS), input=self.input, output=self.output)

    def _take_whole(self, draft: Candidate, value: Mapping[str, str]) -> Candidate:
        task_candidate = _with_task(draft, value["task"], cut=False)
        (screened,) = self._screen([task_candidate])
        return _with_example(screened, value, self._whole_schema())

    def _screen(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts, those dropped whose task alone is no good or there already."""
        return self.run.candidate_filter.screen([_check_task(draft) for draft in drafts], self.seen)

    def _instantiate(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the examples of each task, in the order of the tasks."""
        drafts = ask_each(self.run, "kind", drafts, self._ask_kind, _take_kind)
        pending = [draft for draft in drafts if draft.reject_reason is None]
        answers = self.run.ask_one("examples", [self._ask_examples(d) for d in pending])
        examples_by_name = {
            _name(d): self._take_examples(d, a) for d, a in zip(pending, answers, strict=True)
        }
        return [
            row
            for draft in drafts
            for row in ([draft] if draft.reject_reason else examples_by_name[_name(draft)])
        ]

    def _ask_kind(self, draft: Candidate) -> Request:
        sampling = Sampling(temperature=0, max_tokens=tokens_for(OPTIONS_LETTERS + FRAME_LETTERS))
        return self.run.request(
            "kind", _name(draft), sampling, schema=KIND_SCHEMA, task=draft.prompt
        )

    def _example_schema(self, draft: Candidate) -> dict[str, Any]:
        if draft.notes["classification"]:
            return record(output=self.output, input={**self.input, "minLength": 1})
        return record(input=self.input, output=self.output)

    def _ask_examples(self, draft: Candidate) -> Request:
        count = self.params.instances
        sampling = greedy(count * (self.params.max_tokens + tokens_for(FRAME_LETTERS)))
        return self.run.request(
            "output_first" if draft.notes["classification"] else "input_first",
            _name(draft),
            sampling,
            schema=record(examples=array(self._example_schema(draft), count)),
            task=draft.prompt,
            count=count,
        )

    def _take_examples(self, draft: Candidate, answer: Answer) -> list[Candidate]:
        schema = self._example_schema(draft)

        def take(example: Candidate, value: Mapping[str, str]) -> Candidate:
            return _with_example(example, value, schema)

        return _drop_contradictions(_spread(draft, answer, "examples", take, note="example"))


KIND_SCHEMA = record(options=text(OPTIONS_LETTERS), listed={"type": "boolean"})


def _name(draft: Candidate) -> tuple[int, int, int]:
    return draft.notes["round"], draft.notes["call"], draft.notes["item"]


def _spread(
    draft: Candidate,
    answer: Answer,
    key: str,
    take: Callable[[Candidate, Any], Candidate],
    note: str = "item",
) -> list[Candidate]:
    """Return a candidate for each item of an answer's list; one, dropped, if the answer failed."""
    if not was_sent(answer):
        return []
    reason = reject_reason_of(answer)
    draft = with_reasoning(draft, key, answer)
    if reason:
        return [draft.drop(reason, answer.reason)]
    return [
        take(draft.add_notes(**{note: place}), value)
        for place, value in enumerate(answer.value[key])
    ]


def _shorten(task: str) -> str:
    return task if len(task) < TASK_LETTERS else f"{task[: TASK_LETTERS - 5]} ..."


def _with_task(draft: Candidate, task: str, *, cut: bool) -> Candidate:
    words = " ".join(task.split()).removesuffix(":")
    task_candidate = replace(
        draft,
        messages=[{"role": "user", "content": words}],
        notes={**draft.notes, "task": words},
    )
    return (
        task_candidate.drop(RejectReason.TRUNCATED, f"task of {TASK_LETTERS} characters")
        if cut
        else task_candidate
    )


def _check_task(draft: Candidate) -> Candidate:
    if draft.reject_reason is None and PROGRAM.match(draft.prompt):
        return draft.drop(RejectReason.KEYWORD, "write a program")
    return draft


def _take_kind(draft: Candidate, answer: Answer) -> Candidate:
    return draft.add_notes(classification=answer.value["listed"])


def _with_example(
    draft: Candidate, value: Mapping[str, str], schema: Mapping[str, Any]
) -> Candidate:
    """Return the draft with an example of its task, dropped if that is none."""
    task = draft.notes["task"]
    task_input, output = value["input"].strip(), value["output"].strip()
    example = replace(
        draft, messages=pair(f"{task}\n\n{task_input}" if task_input else task, output)
    )
    if example.reject_reason is not None:
        return example
    if cut := find_truncation(value, schema):
        return example.drop(*cut)
    if normalise(task_input) == normalise(output):
        return example.drop(RejectReason.COPIES_PROMPT, "the output is the input")
    if task_input.endswith(":") or output.endswith(":"):
        return example.drop(RejectReason.INCOMPLETE, "it ends with a colon")
    return example


def _drop_contradictions(rows: Sequence[Candidate]) -> list[Candidate]:
    """Return a task's examples; all dropped if two of them answer the same input differently."""
    present = [row for row in rows if row.reject_reason is None and _has_input(row)]
    outputs: dict[str, set[str]] = {}
    for row in present:
        outputs.setdefault(normalise(row.prompt), set()).add(normalise(row.response))
    if all(len(answers) == 1 for answers in outputs.values()):
        return list(rows)
    fault = "one input has two outputs"
    return [
        row if row.reject_reason else row.drop(RejectReason.INCONSISTENT, fault) for row in rows
    ]


def _has_input(row: Candidate) -> bool:
    return bool(row.prompt != row.notes["task"])
