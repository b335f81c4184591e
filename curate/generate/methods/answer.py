"""Answers to prompts: the model answers each prompt of the recipe's `prompts` as it stands.

With several samples a prompt, all distinct answers are kept, or with a checker the one that most of them
agree with: Wang et al. 2023, "Self-Consistency Improves Chain of Thought Reasoning in Language Models",
arXiv:2203.11171. Equal by the checker's comparison counts as agreement, so a number may be said in many
ways; an answer with nothing to compare agrees with none.

With `engines`, the samples come from these in turn, and the row has in its record which one wrote it;
the engine of `generate` is not asked then, and not loaded for it.
With a `judge`, an engine of its own, answers are compared in pairs, blind and in both orders, and the
best one is kept, with the judge's confidence in its record (curate.generate.knockout).

With `shots`, target examples are shown before each prompt, chosen by `shots_by` (curate.generate.shots):
in-context learning with demonstrations. They are parents of the row and no turns of it. An example with
the same prompt is not shown with it, since it would give its answer away.

Calls: 1 a prompt, whose completions are `samples`; 6 more for each answer but the first with a judge.

A prompt of several user turns in a row, such as MT-Bench has, cannot be answered in one go: it is passed
over, and so is one that has its answer; log and table of prompts say so.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from curate.answers.checkers import AnswerVerdict, CheckerName, check_answer, is_gold
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.rows import Message, normalise
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.comparison import comparison_calls, comparison_tokens
from curate.generate.engines import NamedEngine
from curate.generate.generation import (
    Generation,
    SeedExample,
    reject_reason_of,
    was_sent,
    with_reasoning,
)
from curate.generate.knockout import JudgedAnswers, keep_best
from curate.generate.plain import ask_plainly
from curate.generate.shots import Shots, ShotSettings
from curate.generate.sift import SamePromptFilters
from curate.llm.engines.parameters import EngineParams
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS
from curate.llm.structured import Answer

LOG = logging.getLogger("curate")
VERSION = 2
PROMPT_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "state": pl.String(),
        "answers": pl.Int64(),
        "agreement": pl.Float64(),
        "confidence": pl.Float64(),
    }
)


@method
class AnswerGenerator(ShotSettings):
    """Answers of the model to prompts that have none."""

    version: ClassVar[int] = VERSION
    needs: ClassVar[tuple[str, ...]] = ("prompts",)
    later: ClassVar[tuple[str, ...]] = ("shots", "shots_by")
    own_engines: ClassVar[tuple[str, ...]] = ("engines", "judge")
    templates: ClassVar[str] = "compare"

    method: Literal["answer"] = "answer"
    filters: SamePromptFilters = SamePromptFilters()
    samples: int = Field(1, ge=1, description="answers to each prompt")
    checker: CheckerName | None = Field(
        None,
        description="how several answers are compared: the one that most agree with is kept, and "
        "without a checker all of them",
        examples=["numeric"],
    )
    agreement: float = Field(
        0.5, gt=0, le=1, description="share of a prompt's answers that must agree; with a checker"
    )
    engines: list[EngineParams] = Field(
        [],
        description="that answer in turn, a sample each; the engine of `generate` if there is none",
        examples=[[{"kind": "transformers"}]],
    )
    judge: EngineParams | None = Field(
        None,
        description="engine that compares a prompt's answers in pairs: the best one is kept",
        examples=[{"kind": "transformers"}],
    )
    shots: int = Field(0, ge=0, description="target examples shown before each prompt")
    temperature: float = Field(0.7, ge=0, description="of answers; a single sample is greedy")
    top_p: TopP = 0.95
    max_tokens: int = Field(2_048, ge=8, description="of an answer")

    @model_validator(mode="after")
    def _check(self) -> "AnswerGenerator":
        if self.checker is not None and self.samples == 1:
            raise ValueError("checker compares several answers: give samples of 2 or more")
        if self.judge is not None and (self.checker is not None or self.samples == 1):
            raise ValueError("judge chooses among several answers: give samples, and no checker")
        if len(self.engines) > self.samples:
            raise ValueError(f"engines take turns: give samples of {len(self.engines)} or more")
        if self.checker == "regex":
            raise ValueError("checker: a regex compares an answer with no other answer")
        return self

    @property
    def asks(self) -> bool:
        """Return whether it asks the engine of `generate`, which it has no need of beside its own."""
        return not self.engines

    def needed(self) -> tuple[str, ...]:
        """Return prompts, and the target where its examples are shown."""
        return (*self.needs, "target") if self.shots else self.needs

    def generate(self, run: Generation) -> None:
        """Answer all prompts in one batch, then put the answers on record, prompt by prompt.

        Raises:
            UserError: no prompt can be answered.
        """
        prompts = [example for example in run.unanswered if is_open(example.messages)]
        if not prompts:
            raise UserError(
                f"answer: none of {len(run.unanswered):,} prompts ends with one user turn that waits "
                "for its answer"
            )
        if others := len(run.unanswered) - len(prompts):
            LOG.warning("answer: %d prompts with several user turns in a row, or an answer", others)
        states: dict[str, tuple[str, int, float | None, float | None]] = {
            example.row_id: ("passed over", 0, None, None) for example in run.unanswered
        }
        shots = Shots(run, self.shots_by, run.target)
        same = _ids_by_prompt(run.target)
        shot_lists = [
            self._shots(run, shots, prompt, same.get(normalise(prompt.prompt), ()))
            for prompt in prompts
        ]
        candidate_lists = self._answer(run, prompts, shot_lists)
        judged_lists = self._choose(run, prompts, candidate_lists)
        for prompt, candidates, judged in zip(prompts, candidate_lists, judged_lists, strict=True):
            kept = run.filter(judged.candidates)
            state = ("answered" if kept else "dropped") if judged.candidates else "unsent"
            states[prompt.row_id] = (state, len(candidates), judged.agreement, judged.confidence)
        run.tables["prompts"] = pl.DataFrame(
            [(row_id, *state) for row_id, state in states.items()], PROMPT_SCHEMA, orient="row"
        )

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most; `targets` are its prompts."""
        rows = targets if self.checker or self.judge else targets * self.samples
        answers, compared = targets * self.samples, targets * (self.samples - 1)
        compared = compared if self.judge else 0
        return Workload(
            calls=answers + compared * comparison_calls(1),
            rows=rows,
            answer_tokens=self.max_tokens,
            written_tokens=answers * self.max_tokens + compared * comparison_tokens(1),
        )

    def _answer(
        self,
        run: Generation,
        prompts: Sequence[SeedExample],
        shot_lists: Sequence[Sequence[SeedExample]],
    ) -> list[list[Candidate]]:
        """Return the answers to each prompt; of several engines these take turns."""
        engines: Sequence[NamedEngine | None] = run.engines.get("engines") or [None]
        turns: list[dict[int, Candidate]] = [{} for _ in prompts]
        for place, engine in enumerate(engines):
            samples = range(place, self.samples, len(engines))
            requests = [
                self._ask(run, *two, len(samples)) for two in zip(prompts, shot_lists, strict=True)
            ]
            notes = {} if engine is None else {"engine": engine.name}
            for i, answers in enumerate(run.ask("answer", requests, engine)):
                for number, answer in zip(samples, answers, strict=True):
                    if was_sent(answer):
                        candidate = take_answer(run, prompts[i], shot_lists[i], answer)
                        turns[i][number] = candidate.add_notes(**notes)
        return [[by_turn[number] for number in sorted(by_turn)] for by_turn in turns]

    def _choose(
        self,
        run: Generation,
        prompts: Sequence[SeedExample],
        candidate_lists: Sequence[Sequence[Candidate]],
    ) -> list[JudgedAnswers]:
        """Return each prompt's answers as agreement or the judge leaves them."""
        if self.judge is None:
            return [self._judge(candidates) for candidates in candidate_lists]
        (judge,) = run.engines["judge"]
        distinct = [without_repeats(candidates) for candidates in candidate_lists]
        return keep_best(run, prompts, distinct, judge)

    def _shots(
        self, run: Generation, shots: Shots, prompt: SeedExample, same: Collection[str]
    ) -> list[SeedExample]:
        rng = run.rng("shots", prompt.row_id)
        return shots.choose(self.shots, rng, prompt.prompt, without=same) if self.shots else []

    def _ask(
        self, run: Generation, prompt: SeedExample, shots: Sequence[SeedExample], samples: int
    ) -> Request:
        sampling = Sampling(
            temperature=self.temperature if self.samples > 1 else 0.0,
            top_p=self.top_p if self.samples > 1 else 1.0,
            max_tokens=self.max_tokens,
            repeats=REPEATS,
            n=samples,
        )
        head = [message for message in prompt.messages if message["role"] == "system"]
        rest = [message for message in prompt.messages if message["role"] != "system"]
        before = [turn for shot in shots for turn in pair(shot.prompt, shot.response)]
        return ask_plainly(run, "answer", [prompt.row_id], [*head, *before, *rest], sampling)

    def _judge(self, candidates: Sequence[Candidate]) -> JudgedAnswers:
        """Return a prompt's answers, dropped what is not to be kept, and the share that agree."""
        distinct = without_repeats(candidates)
        if self.checker is None:
            return JudgedAnswers(distinct)
        votes = votes_of(self.checker, [c for c in candidates if c.reject_reason is None])
        best = max(votes, key=lambda row_id: votes[row_id], default=None)
        share = votes[best] / len(candidates) if best else 0.0
        return JudgedAnswers([self._judged(c, best, share, votes) for c in distinct], share)

    def _judged(
        self, candidate: Candidate, best: str | None, share: float, votes: Mapping[str, int]
    ) -> Candidate:
        if candidate.reject_reason is not None:
            return candidate
        if not votes[candidate.row_id]:
            return candidate.drop(RejectReason.NO_ANSWER, "nothing to compare")
        if share < self.agreement:
            return candidate.drop(RejectReason.INCONSISTENT, f"at most {share:.0%} of them agree")
        if candidate.row_id != best:
            return candidate.drop(
                RejectReason.OVER_QUOTA, "another one stands for those that agree"
            )
        return candidate.add_notes(agreement=round(share, 3))


def is_open(messages: Sequence[Message]) -> bool:
    """Return whether turns end with one user turn, and user and assistant take turns before it."""
    roles = [message["role"] for message in messages if message["role"] != "system"]
    return roles[-1:] == ["user"] and all(a != b for a, b in pairwise(roles))


def _ids_by_prompt(examples: Sequence[SeedExample]) -> Mapping[str, Sequence[str]]:
    ids: dict[str, list[str]] = {}
    for example in examples:
        ids.setdefault(normalise(example.prompt), []).append(example.row_id)
    return ids


def votes_of(checker: CheckerName, candidates: Sequence[Candidate]) -> dict[str, int]:
    """Return how many of a prompt's answers agree with each, itself among them, by its row id.

    An answer in which there is nothing to compare has no vote.
    """
    texts = [candidate.response for candidate in candidates]
    return {
        candidate.row_id: sum(
            check_answer(checker, other, candidate.response) is AnswerVerdict.CORRECT
            for other in texts
        )
        if is_gold(checker, candidate.response)
        else 0
        for candidate in candidates
    }


def take_answer(
    run: Generation, prompt: SeedExample, shots: Sequence[SeedExample], answer: Answer
) -> Candidate:
    """Return an answer behind its prompt, as a candidate; the shots are parents, and no turns."""
    parents = (prompt.row_id, *(shot.row_id for shot in shots))
    turns = [*prompt.messages, Message(role="assistant", content=answer.text.strip())]
    candidate = with_reasoning(Candidate(turns, run.method, parents), "answer", answer)
    reason = reject_reason_of(answer)
    return candidate.drop(reason, answer.reason) if reason else candidate


def without_repeats(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return a prompt's answers, dropped those that say what an earlier one says."""
    texts: set[str] = set()
    distinct = []
    for candidate in candidates:
        text = normalise(candidate.response).casefold()
        repeated = candidate.reject_reason is None and text in texts
        distinct.append(
            candidate.drop(RejectReason.NOT_NEW, "the same answer again") if repeated else candidate
        )
        texts |= {text} if candidate.reject_reason is None else set()
    return distinct
