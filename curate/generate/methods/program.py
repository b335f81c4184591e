"""Programs: rows whose answers are exact since a program draws them; no model is asked.

    dictionary   the value of a key in a long list of dictionaries, and where it stands
    subkeys      the key that holds some numbers, with its value, where other keys hold all but one
    long         the prompt of a row of the pool among those of others, answered as in the pool
    arithmetic   an expression with brackets and fractions, step by step

Published: Xiong et al. 2024, "From Artificial Needles to Real Haystacks", arXiv:2406.19292, tune on 150
to 350 lists of dictionaries of some 4,000 tokens, for two or three epochs with the loss on answers.
Models then retrieve better from long texts and, since nothing in the rows is a fact, are not led to make
facts up. An answer `template` in the prompt helps, since what is learned then is to find and not how to
put it. `long` is after M4LE (Kwan et al. 2023, arXiv:2310.19240), which makes long examples of short
ones for evaluation. `arithmetic` is ours.

Each row of the first three has `tokens` tokens by the base model's tokenizer and chat template, within
5 %. Its answer stands in the prompt once (of `long` the prompt that it answers does), and answers lie in
the ten tenths of the context equally often. All of it is checked row by row; a row that does not hold it
is on record and not kept.

Tasks are entries of one table (curate.generate.programs.tasks). Which is asked in which words is drawn;
with `wordings` a model writes as many wordings of each task first, once, and those that lack a slot go.

Calls: none; with `wordings` one for each task.

Pitfalls: training and proof cut rows at their max_length, so give `prove: {lora: {max_length}}` at least
`tokens`. The rows teach nothing but what they ask for: mix them with others. `long` takes the word of
the pool's responses, and a pool of long prompts alone may fill no context.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator

from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.generation import Generation, Generator, SeedExample
from curate.generate.programs.passages import read_passages
from curate.generate.programs.question import DECILES, Draw
from curate.generate.programs.tasks import TASKS, TaskName
from curate.generate.programs.wordings import (
    TaskWording,
    built_in,
    tokens_of,
    usable_by_task,
    write_wordings,
)
from curate.generate.programs.writing import ProgrammedRow, find_fault, fit_row, write_row
from curate.generate.sift import Filters

VERSION = 1
# Of a row whose question is there already.
ATTEMPTS = 10
WORDING_SCHEMA = pl.Schema(
    {"task": pl.String(), "wording": pl.String(), "source": pl.String(), "fault": pl.String()}
)


class ProgramFilters(Filters):
    """What is asked of every generated row; those of one task are alike, and passages may be too."""

    prompt_words: tuple[int, int] = Field((2, 1_000_000), description="least and most")
    rouge: float = Field(1.0, gt=0, le=1, description="prompts nearer than this are not new")
    cosine: float = Field(1.01, gt=0, description="rows nearer than this are not new; above 1: off")
    distinct: float = Field(0.0, ge=0, le=1, description="least share of distinct word 3-grams")


@method
class ProgramGenerator(Generator):
    """Rows that a program draws with their exact answers: look-ups in long contexts, arithmetic."""

    version: ClassVar[int] = VERSION

    method: Literal["program"] = "program"
    filters: ProgramFilters = ProgramFilters()
    tasks: tuple[TaskName, ...] = Field(
        ("dictionary", "subkeys"), min_length=1, description="kinds of rows, which take turns"
    )
    rows: int = Field(350, ge=1, description="over all tasks")
    tokens: int = Field(
        4_000, ge=500, description="of a row with a context, by the base model's tokenizer"
    )
    template: bool = Field(True, description="say in the prompt which sentence the answer is")
    wordings: int = Field(
        0,
        ge=0,
        le=100,
        description="wordings of each task that the engine writes, once; 0: the built-in ones",
    )

    @field_validator("tasks")
    @classmethod
    def _check_tasks(cls, tasks: tuple[TaskName, ...]) -> tuple[TaskName, ...]:
        if len(set(tasks)) < len(tasks):
            raise ValueError("each task can be named once")
        return tasks

    @property
    def asks(self) -> bool:
        """Return whether it asks the engine at all."""
        return self.wordings > 0

    @property
    def counts_tokens(self) -> bool:
        """Return whether it counts tokens of the base model."""
        return any(TASKS[task].unit for task in self.tasks)

    def needed(self) -> tuple[str, ...]:
        """Return the pool, where rows are made of its rows."""
        return ("pool",) if any(TASKS[task].reads_pool for task in self.tasks) else ()

    def generate(self, run: Generation) -> None:
        """Choose the wordings, then draw, write and check row by row.

        Raises:
            UserError: the pool has too few rows for `long`.
        """
        wordings = (
            write_wordings(run, self.tasks, self.wordings) if self.asks else built_in(self.tasks)
        )
        run.tables["wordings"] = _table(wordings)
        program = Program(run, self, usable_by_task(wordings))
        run.filter(program.candidates())

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = len(self.tasks) if self.asks else 0
        tokens = tokens_of(self.wordings) if self.asks else 0
        return Workload(calls=calls, answer_tokens=tokens, rows=self.rows)


class Program:
    """The rows of a run, each by its number: its task, the decile of its answer, its words."""

    def __init__(
        self, run: Generation, params: ProgramGenerator, texts: Mapping[TaskName, Sequence[str]]
    ) -> None:
        self.run, self.params, self.texts = run, params, texts

    def candidates(self) -> list[Candidate]:
        """Return all rows; one that says what an earlier one says is drawn again, a few times."""
        candidates: list[Candidate] = []
        prompts: set[str] = set()
        for place in range(self.params.rows):
            drawn = (self._candidate(place, attempt) for attempt in range(ATTEMPTS))
            candidate = next((one for one in drawn if one.prompt not in prompts), None)
            if candidate is None:
                again = self._candidate(place, 0)
                candidate = again.drop(RejectReason.NOT_NEW, "the same question again")
            prompts.add(candidate.prompt)
            candidates.append(candidate)
        return candidates

    def _candidate(self, place: int, attempt: int) -> Candidate:
        """Return a row, dropped if it is not what it was to be."""
        number, task = divmod(place, len(self.params.tasks))
        name = self.params.tasks[task]
        decile = self._decile(name, number)
        wording = str(self.run.rng("wording", name, number).choice(list(self.texts[name])))
        row = self._row(name, number, attempt, decile, wording)
        notes: dict[str, str | int | None] = {"task": name, "wording": wording}
        if row.question.position is not None:
            notes |= {"tokens": row.tokens, "decile": decile + 1}
        candidate = Candidate(row.messages, self.run.method, tuple(row.question.parents), 1, notes)
        fault = find_fault(row, self.params.tokens, decile)
        return candidate.drop(*fault) if fault else candidate

    def _decile(self, name: TaskName, number: int) -> int:
        """Return where the answer of a row stands: of ten rows of a task one in each tenth."""
        order = self.run.rng("deciles", name, number // DECILES).permutation(DECILES)
        return int(order[number % DECILES])

    def _row(
        self, name: TaskName, number: int, attempt: int, decile: int, wording: str
    ) -> ProgrammedRow:
        task, params = TASKS[name], self.params

        def write(size: int) -> ProgrammedRow:
            rng = self.run.rng("row", name, number, attempt)
            passages = self._passages if task.reads_pool else ()
            question = task.draw(Draw(rng, decile, number, passages), size)
            return write_row(task, question, wording, template=params.template)

        return fit_row(task, write, params.tokens, self.run.count_tokens) if task.unit else write(0)

    @cached_property
    def _passages(self) -> list[SeedExample]:
        return read_passages(self.run.pool, self.run.rng("passages"))


def _table(wordings: Sequence[TaskWording]) -> pl.DataFrame:
    """Return the wordings with what is wrong with those that no row has."""
    lines = [(one.task, one.text, one.source, one.fault) for one in wordings]
    return pl.DataFrame(lines, WORDING_SCHEMA, orient="row")
