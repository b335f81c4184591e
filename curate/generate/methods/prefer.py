"""Preference pairs: of several answers of the model to a prompt two are judged, the better one is kept.

    sample    n answers to each prompt, as it stands
    choose    two of them, typical and unlike each other: AEPO (curate.generate.aepo)
    judge     which one is better, in both orders, with self-reflection (curate.llm.compare)

A pair is kept if one is better with more confidence than `confidence`: its answer makes the row, the
other one is the row's `rejected`, which the export `preference` gives to a trainer. The stages `leaks`
and `pii` look at both, all others at the better one.

Published: AEPO, Jinnai and Honda 2024, arXiv:2405.13541, where a reward model judges the two. Ours: the
judge is the language model; what the common filters drop, and answers that say the same, are no choice;
a pair that is judged a tie goes. Answers are compared by the run's embedder.

Calls: n samples, 2 k judgements (`judgements`) and 4 short calls for a prompt, where all pairs of
answers would take n (n - 1) / 2 comparisons. Pitfalls: a model that judges its own answers prefers its
own manner; judges like long answers (the stage `pairwise` judges again, by another model).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from curate.core.fixedpoint import cosines
from curate.core.methods import method
from curate.core.section import Section
from curate.core.workload import Workload
from curate.generate.aepo import choose_pair
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.comparison import compare_responses, comparison_calls, comparison_tokens
from curate.generate.generation import Generation, SeedExample, was_sent
from curate.generate.generator_section import GeneratorRecord, generator_section
from curate.generate.methods.answer import take_answer, without_repeats
from curate.generate.pairs_section import pairs_blocks
from curate.generate.plain import ask_plainly
from curate.generate.sift import SamePromptFilters
from curate.generate.starts import StartParams, choose_starts, count_starts
from curate.llm.asking import question_text
from curate.llm.compare import AnswerPair, PreferenceScore
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS

PROMPT_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "state": pl.String(),
        "answers": pl.Int64(),
        "distinct": pl.Int64(),
        "confidence": pl.Float64(),
    }
)


@method
class PreferGenerator(StartParams):
    """Preference pairs: two of the model's answers to a prompt, judged in both orders."""

    version: ClassVar[int] = 1
    reads_responses: ClassVar[bool] = False
    templates: ClassVar[str] = "compare"

    method: Literal["prefer"] = "prefer"
    filters: SamePromptFilters = SamePromptFilters()
    samples: int = Field(8, ge=2, description="answers to each prompt, of which two are judged")
    diversity: float = Field(
        1.0,
        ge=0,
        description="weight of the two being unlike each other, against their being typical (lambda)",
    )
    judgements: int = Field(1, ge=1, description="drawn in each order")
    confidence: float = Field(
        0.7, ge=0.5, lt=1, description="a pair is kept if one is better with more confidence"
    )
    temperature: float = Field(1.0, gt=0, description="of answers")
    top_p: TopP = 0.95
    max_tokens: int = Field(1_024, ge=8, description="of an answer")

    def generate(self, run: Generation) -> None:
        """Sample, choose and judge in one batch each, then put all on record, prompt by prompt."""
        contests = self._sample(run, choose_starts(run, self))
        paired = [contest for contest in contests if len(contest.pair) > 1]
        pairs = [contest.question for contest in paired]
        scores = compare_responses(run, "judge", pairs, samples=self.judgements)
        for contest, score in zip(paired, scores, strict=True):
            contest.score = score
        run.tables["prompts"] = pl.DataFrame(
            [contest.line(self.confidence) for contest in contests], PROMPT_SCHEMA, orient="row"
        )
        for contest in contests:
            run.record(contest.candidates(self.confidence))

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        prompts = count_starts(self, targets, pool_rows)
        calls = prompts * (self.samples + comparison_calls(self.judgements))
        written = self.samples * self.max_tokens + comparison_tokens(self.judgements)
        return Workload(
            calls=calls,
            rows=prompts,
            answer_tokens=self.max_tokens,
            written_tokens=prompts * written,
        )

    def section(self, record: GeneratorRecord) -> Section | None:
        """Return what the report tells of every method, and what prompts came to."""
        section = generator_section(record)
        return section and replace(section, blocks=(*section.blocks, *pairs_blocks(record)))

    def _sample(self, run: Generation, starts: Sequence[SeedExample]) -> list["Contest"]:
        prompts = [_without_response(example) for example in starts]
        requests = [self._ask(run, prompt) for prompt in prompts]
        contests = []
        for prompt, answers in zip(prompts, run.ask("sample", requests), strict=True):
            samples = [
                take_answer(run, prompt, (), answer) for answer in answers if was_sent(answer)
            ]
            distinct = run.candidate_filter.filter(without_repeats(samples))
            contests.append(Contest(prompt, distinct, self._choose(run, distinct)))
        return contests

    def _ask(self, run: Generation, prompt: SeedExample) -> Request:
        sampling = Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            repeats=REPEATS,
            n=self.samples,
        )
        return ask_plainly(run, "sample", [prompt.row_id], prompt.messages, sampling)

    def _choose(self, run: Generation, samples: Sequence[Candidate]) -> list[Candidate]:
        """Return the two that AEPO chooses, in an order of their own; all if there are fewer."""
        usable = sorted((c for c in samples if c.reject_reason is None), key=lambda c: c.response)
        if len(usable) < 2:
            return usable
        vectors = run.embed([candidate.response for candidate in usable])
        return [usable[i] for i in choose_pair(cosines(vectors, vectors), self.diversity)]


@dataclass
class Contest:
    """A prompt with its answers, and the two of them that are judged; one or none if there are no two.

    `score` says how sure the judge is that the second one is better; None if it was not asked.
    """

    prompt: SeedExample
    samples: Sequence[Candidate]
    pair: Sequence[Candidate]
    score: PreferenceScore | None = None

    @property
    def question(self) -> AnswerPair:
        """Return what is judged."""
        one, other = self.pair
        return AnswerPair(question_text(one.messages), one.response, other.response)

    @property
    def second_is_better(self) -> bool:
        """Return whether the judge prefers the second one."""
        return self.score is not None and (self.score.confidence or 0) >= 0.5

    @property
    def sureness(self) -> float | None:
        """Return how sure the judge is of the better one, from 0.5; None without a judgement."""
        if self.score is None or self.score.confidence is None:
            return None
        return max(self.score.confidence, 1 - self.score.confidence)

    @property
    def unsent(self) -> bool:
        """Return whether a limit came before the two were judged."""
        return len(self.pair) > 1 and self.score is None

    def candidates(self, confidence: float) -> list[Candidate]:
        """Return the samples in their order, dropped all but the better one of a clear pair.

        The two that a limit kept from being judged are left out.
        """
        judged = {} if self.unsent else {c.row_id: c for c in self._judged(confidence)}
        left_out = {c.row_id for c in self.pair} if self.unsent else set()
        return [
            candidate
            if candidate.reject_reason is not None
            else judged.get(candidate.row_id) or _not_chosen(candidate)
            for candidate in self.samples
            if candidate.reject_reason is not None or candidate.row_id not in left_out
        ]

    def _judged(self, confidence: float) -> list[Candidate]:
        if self.sureness is None:
            detail = "no usable judgement" if len(self.pair) > 1 else "no other answer"
            return [c.drop(RejectReason.UNDECIDED, detail) for c in self.pair]
        if self.sureness <= confidence:
            detail = f"one is better with a confidence of {self.sureness:.2f}"
            return [c.drop(RejectReason.UNDECIDED, detail) for c in self.pair]
        worse, better = self.pair if self.second_is_better else self.pair[::-1]
        detail = f"worse with a confidence of {self.sureness:.2f}"
        return [
            better.over(worse, 2 * self.sureness - 1),
            worse.drop(RejectReason.LESS_PREFERRED, detail),
        ]

    def line(self, confidence: float) -> tuple[str, str, int, int, float | None]:
        """Return the prompt's line in the table of prompts."""
        if not self.samples or self.unsent:
            state = "unsent"
        elif self.sureness is None:
            state = "unjudged" if len(self.pair) > 1 else "no pair"
        else:
            state = "paired" if self.sureness > confidence else "undecided"
        distinct = sum(c.reject_reason is None for c in self.samples)
        return self.prompt.row_id, state, len(self.samples), distinct, self.sureness


def _without_response(example: SeedExample) -> SeedExample:
    turns = example.messages
    return replace(example, messages=turns[:-1]) if turns[-1]["role"] == "assistant" else example


def _not_chosen(candidate: Candidate) -> Candidate:
    return candidate.drop(RejectReason.OVER_QUOTA, "two others are judged")
