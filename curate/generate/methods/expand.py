"""Instruction expansion: new instructions in the style of a row, on topics not covered yet.

After the augmentation models of Yue et al. 2024, "Building a Family of Data Augmentation Models for
Low-cost LLM Fine-tuning on the Cloud", arXiv:2412.04871, and the seed-anchored expansion of their
toolkit EasyDistill; the prompts are ours, and any model can be asked.

    instructions   from each row, in several rounds: a list of topics with an instruction each; from
                   the second round on with the topics that are covered; then an answer to each
    pairs          instruction and response in one go, one a round, after a few rows that are shown,
                   that of the line last

Rows go side by side, their rounds one after the other. A topic that a row has covered before goes.

Calls: with `instructions` 1 a round for up to `count` rows and 1 for each answer, so a little more than
1 / yield for each kept row; with `pairs` 1 / yield.

Departures: only JSON under a schema is taken, where the published code takes an answer without its tag
as a whole for the instruction. An answer that does not parse is drawn anew as everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.drafts import find_truncation
from curate.generate.generation import (
    Generation,
    SeedExample,
    reject_reason_of,
    was_sent,
    with_reasoning,
)
from curate.generate.novelty import RougeIndex, words_of
from curate.generate.shots import Shots, ShotSettings
from curate.generate.starts import choose_starts, count_starts, system_of
from curate.generate.writing import WriteParams, answer_each
from curate.llm.requests import Request, Sampling
from curate.llm.schemas import REPEATS, array, characters_for, record, text, tidy, tokens_for
from curate.llm.structured import Answer

VERSION = 1
TOPIC_LETTERS = 60
# JSON around a topic and its instruction.
AROUND = 30
# Of topics that a request names at most, the latest: prompts must not outgrow a model's context.
NAMED = 60


@method
class ExpandGenerator(WriteParams, ShotSettings):
    """New instructions, or pairs, in the style of given rows and on other topics."""

    version: ClassVar[int] = VERSION

    method: Literal["expand"] = "expand"
    mode: Literal["instructions", "pairs"] = Field(
        "instructions", description="new instructions that are answered then, or pairs in one go"
    )
    rounds: int = Field(3, ge=1, le=50, description="for each row, one after the other")
    count: int = Field(10, ge=1, le=50, description="instructions a round; a pair comes alone")
    prompt_letters: int = Field(400, ge=20, description="of a new instruction at most")
    shots: int = Field(3, ge=1, description="rows that are shown for a pair")
    temperature: float = Field(0.9, ge=0, description="of what is new; responses are greedy")

    @model_validator(mode="after")
    def _check(self) -> "ExpandGenerator":
        if self.shots_by != "random" and self.mode != "pairs":
            raise ValueError(
                "shots_by chooses the rows that are shown for a pair: give `mode: pairs` with it"
            )
        return self

    def generate(self, run: Generation) -> None:
        """Expand all rows, round by round."""
        expansion = TopicExpansion(run, self, choose_starts(run, self))
        for number in range(1, self.rounds + 1):
            if run.stopped:
                break
            expansion.grow(number)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        answers = self.count if self.mode == "instructions" else 0
        calls = count_starts(self, targets, pool_rows) * self.rounds * (1 + answers)
        return Workload(calls=calls, answer_tokens=self.max_tokens)


@dataclass
class SeedTopics:
    """A row with the topics that it has covered, as they are told and as they are compared."""

    seed: SeedExample
    shots: Sequence[SeedExample]
    topics: list[str] = field(default_factory=list)
    topic_keys: set[tuple[str, ...]] = field(default_factory=set)

    def cover(self, topic: str) -> bool:
        """Note a topic; return whether it is new."""
        key = tuple(words_of(topic))
        if not key or key in self.topic_keys:
            return False
        self.topic_keys.add(key)
        self.topics.append(topic)
        return True


class TopicExpansion:
    """All lines as they stand.

    Raises:
        UserError: fewer rows than are to be shown.
    """

    def __init__(
        self, run: Generation, params: ExpandGenerator, starts: Sequence[SeedExample]
    ) -> None:
        self.run, self.params = run, params
        self.pairs = params.mode == "pairs"
        if self.pairs and params.shots > len(starts):
            raise UserError(
                f"expand: shots: {params.shots} rows are to be shown, but there are {len(starts)}; "
                "lower shots or give more rows"
            )
        shots = Shots(run, params.shots_by, starts)
        shot_lists = [self._shots(shots, example) for example in starts]
        self.lines = [SeedTopics(e, shots) for e, shots in zip(starts, shot_lists, strict=True)]
        item = {"topic": text(TOPIC_LETTERS), "prompt": text(params.prompt_letters)}
        if self.pairs:
            self.item = record(**item, response=text(characters_for(params.max_tokens)))
            self.schema, self.count = self.item, 1
        else:
            self.item, self.count = record(**item), params.count
            self.schema = record(tasks=array(self.item, self.count))

    def grow(self, number: int) -> None:
        """Ask once for each line, and put on record what comes of it."""
        requests = [self._ask(line, number) for line in self.lines]
        answers = self.run.ask_one(self.params.mode, requests)
        drafts: list[Candidate] = []
        for line, answer in zip(self.lines, answers, strict=True):
            drafts += self._take(line, number, answer)
        if not self.pairs:
            systems = {line.seed.row_id: system_of(line.seed) for line in self.lines}
            drafts = self.run.candidate_filter.screen(
                drafts, RougeIndex([line.seed.prompt for line in self.lines])
            )
            drafts = answer_each(
                self.run, self.params, drafts, lambda draft: systems[draft.parents[0]]
            )
        self.run.filter(drafts)

    def _shots(self, shots: Shots, seed: SeedExample) -> list[SeedExample]:
        if not self.pairs:
            return [seed]
        rng = self.run.rng("shots", seed.row_id)
        return [*shots.choose(self.params.shots - 1, rng, seed.prompt, beside=seed), seed]

    def _ask(self, line: SeedTopics, number: int) -> Request:
        letters = TOPIC_LETTERS + self.params.prompt_letters + AROUND
        response = self.params.max_tokens if self.pairs else 0
        sampling = Sampling(
            temperature=self.params.temperature,
            top_p=self.params.top_p,
            max_tokens=tokens_for(self.count * letters) + response,
            repeats=REPEATS,
        )
        slots: dict[str, Any] = (
            {"shots": line.shots} if self.pairs else {"seed": line.seed.prompt, "count": self.count}
        )
        return self.run.request(
            self.params.mode,
            [line.seed.row_id, number],
            sampling,
            schema=self.schema,
            covered=line.topics[-NAMED:],
            **slots,
        )

    def _take(self, line: SeedTopics, number: int, answer: Answer) -> list[Candidate]:
        """Return what an answer holds; of a topic twice the second is dropped."""
        if not was_sent(answer):
            return []
        examples = line.shots if self.pairs else [line.seed]
        # The row of the line first, as for the other methods.
        parents = tuple(example.row_id for example in reversed(examples))
        draft = Candidate([], self.run.method, parents, 1, {"round": number})
        draft = with_reasoning(draft, self.params.mode, answer)
        reason = reject_reason_of(answer)
        if reason:
            return [draft.drop(reason, answer.reason)]
        items = [answer.value] if self.pairs else answer.value["tasks"]
        return [self._new_candidate(line, draft, item) for item in items]

    def _new_candidate(self, line: SeedTopics, draft: Candidate, item: dict[str, str]) -> Candidate:
        topic, prompt = tidy(item["topic"]), item["prompt"].strip()
        new_task = replace(
            draft,
            messages=pair(prompt, item["response"].strip(), system_of(line.seed))
            if self.pairs
            else [{"role": "user", "content": prompt}],
            notes={**draft.notes, "topic": topic},
        )
        rejection = find_truncation(item, self.item)
        if rejection is None and not prompt:
            rejection = RejectReason.EMPTY, "prompt"
        if rejection is None and not line.cover(topic):
            rejection = RejectReason.NOT_NEW, f"the topic {topic!r} is covered"
        return new_task.drop(*rejection) if rejection else new_task
