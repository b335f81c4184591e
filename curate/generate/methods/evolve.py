"""Evol-Instruct: instructions made harder or rarer, round by round, with elimination.

Xu et al. 2023, "WizardLM: Empowering Large Language Models to Follow Complex Instructions",
arXiv:2304.12244. Each row to start from is a line, and each round tries one evolution of every line:

    evolve   in depth (a constraint, deeper, more concrete, more reasoning) or in breadth (another, rarer
             instruction of the field); which one is drawn
    judge    is it equal to its parent: the same conditions, depth and breadth? If so, it goes
    answer   by the same model; an apology of fewer than 80 words goes, and what is only stop words

What is kept is the line's next parent; a line whose evolution failed tries again from the same parent in
the next round. All generations are kept as rows, each with its parent.

Calls: 3 a round and line, 2 without the judge, so 3 / yield for each kept row.

Departures from the authors' code, which has one round and no elimination at all: the rules above are the
paper's as we know them, and what has no new word goes before it is judged; a depth step that adds more
than twice as many words as it is told to goes, since length creeps up and is taken for difficulty;
failed answers are recorded, where the code stores them as empty responses. Responses are greedy, where
it draws them at temperature 1. The paper's fifth way in depth, other formats of input, is not in the
code, nor here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl
import regex
from pydantic import Field, field_validator

from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.drafts import ask_each
from curate.generate.generation import Generation, SeedExample
from curate.generate.novelty import RougeIndex, words_of
from curate.generate.starts import choose_starts, count_starts, system_of
from curate.generate.writing import NearFilters, WriteParams, answer_each, with_prompt
from curate.llm.requests import Request
from curate.llm.schemas import greedy, record, text, tokens_for
from curate.llm.structured import Answer
from curate.text.words import count_words

VERSION = 1
Operator = Literal["constraint", "deepen", "concrete", "reasoning", "breadth"]
DIFFERENCE_LETTERS = 160
APOLOGY_WORDS = 80
# How models tell of the frame that they were given, and not of the task.
MARKER = regex.compile(
    r"\b(?:given|rewritten|created|new) (?:prompt|instruction)\b"
    r"|\b(?:given|rewritten|original|harder) task\b",
    regex.I,
)
STOP_WORDS = frozenset(
    words_of(
        "a an and are as at be been but by can could did do does for from had has have he her his i if "
        "in is it its me my no nor not of on or our she should so some such than that the their them "
        "then there these they this those to up us was we were what when which who will with would you"
    )
)
ROUND_SCHEMA = pl.Schema(
    {
        "round": pl.Int32(),
        "operator": pl.String(),
        "tried": pl.Int64(),
        "kept": pl.Int64(),
        "words": pl.Float64(),
        "growth": pl.Float64(),
    }
)


@method
class EvolveGenerator(WriteParams):
    """Instructions evolved in depth and breadth, round by round."""

    version: ClassVar[int] = VERSION
    reads_responses: ClassVar[bool] = False

    method: Literal["evolve"] = "evolve"
    filters: NearFilters = NearFilters()
    rounds: int = Field(4, ge=1, le=10, description="evolutions of each line, one after the other")
    weights: dict[Operator, float] = Field(
        {"constraint": 1, "deepen": 1, "concrete": 1, "reasoning": 1, "breadth": 1},
        description="how often each way is drawn, in proportion",
        examples=[{"constraint": 2, "breadth": 1}],
    )
    growth: int = Field(
        20, ge=10, description="words to add at most; what adds more than twice as many goes"
    )
    judge: bool = Field(True, description="the model tells what is equal to its parent")

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: dict[Operator, float]) -> dict[Operator, float]:
        if min(weights.values(), default=0) < 0 or not sum(weights.values()):
            raise ValueError("weights are not negative, and at least one is above 0")
        return weights

    def generate(self, run: Generation) -> None:
        """Evolve all lines, round by round."""
        evolution = Evolution(run, self)
        try:
            for number in range(1, self.rounds + 1):
                if run.stopped:
                    break
                evolution.grow(number)
        finally:
            run.tables["rounds"] = rounds_of(run.candidates)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = count_starts(self, targets, pool_rows) * self.rounds * (3 if self.judge else 2)
        return Workload(calls=calls, answer_tokens=self.max_tokens)


@dataclass
class Lineage:
    """A row to start from and what became of it."""

    seed: SeedExample
    row_id: str
    prompt: str
    hop: int = 0


class Evolution:
    """All lines as they stand."""

    def __init__(self, run: Generation, params: EvolveGenerator) -> None:
        self.run, self.params = run, params
        self.lines = {e.row_id: Lineage(e, e.row_id, e.prompt) for e in choose_starts(run, params)}
        self.schema = params.prompt_schema

    def grow(self, number: int) -> None:
        """Try one evolution of each line; the kept ones are the next parents."""
        drafts = [self._draft(line, number) for line in self.lines.values()]
        drafts = ask_each(self.run, "evolve", drafts, self._ask, self._take)
        drafts = self.run.candidate_filter.screen(
            drafts, RougeIndex([line.prompt for line in self.lines.values()])
        )
        if self.params.judge:
            drafts = ask_each(self.run, "judge", drafts, self._ask_judge, take_judgement)
        drafts = answer_each(
            self.run, self.params, drafts, lambda draft: system_of(self._line(draft).seed)
        )
        for kept in self.run.filter([drop_useless(draft) for draft in drafts]):
            line = self._line(kept)
            line.row_id, line.prompt, line.hop = kept.row_id, kept.prompt, kept.hop

    def _line(self, draft: Candidate) -> Lineage:
        return self.lines[draft.notes["seed"]]

    def _draft(self, line: Lineage, number: int) -> Candidate:
        operators = list(self.params.weights)
        weights = [self.params.weights[operator] for operator in operators]
        rng = self.run.rng("operator", line.seed.row_id, number)
        operator = rng.choice(len(operators), p=[weight / sum(weights) for weight in weights])
        notes = {"seed": line.seed.row_id, "round": number, "operator": operators[operator]}
        return Candidate([], self.run.method, (line.row_id,), line.hop + 1, notes)

    def _ask(self, draft: Candidate) -> Request:
        return self.run.request(
            "evolve",
            [*draft.parents, draft.notes["round"]],
            self.params.writing,
            schema=self.schema,
            parent=self._line(draft).prompt,
            operator=draft.notes["operator"],
            growth=self.params.growth,
        )

    def _take(self, draft: Candidate, answer: Answer) -> Candidate:
        evolution = with_prompt(draft, answer.value, self.schema)
        if evolution.reject_reason:
            return evolution
        parent = self._line(draft).prompt
        rejection = find_fault(parent, evolution.prompt, self.params.growth)
        evolution = evolution.add_notes(growth=grown(parent, evolution.prompt))
        return evolution.drop(*rejection) if rejection else evolution

    def _ask_judge(self, draft: Candidate) -> Request:
        sampling = greedy(tokens_for(DIFFERENCE_LETTERS + 40))
        return self.run.request(
            "judge",
            [draft.row_id],
            sampling,
            schema=JUDGE_SCHEMA,
            parent=self._line(draft).prompt,
            child=draft.prompt,
        )


def find_fault(parent: str, prompt: str, growth: int) -> tuple[RejectReason, str] | None:
    """Return why an evolution goes that need not be judged, None if it may stay."""
    if not Counter(words_of(prompt)) - Counter(words_of(parent)):
        return RejectReason.NOT_EVOLVED, "it has no word that its parent has not"
    marker = MARKER.search(prompt)
    if marker and marker.group().casefold() not in parent.casefold():
        return RejectReason.PROMPT_LEAK, f"prompt: {marker.group()}"
    more = grown(parent, prompt)
    if more > 2 * growth:
        return RejectReason.TOO_LONG, f"{more} words more than its parent"
    return None


def grown(parent: str, prompt: str) -> int:
    """Return how many words more a prompt has than its parent."""
    return count_words(prompt) - count_words(parent)


def take_judgement(draft: Candidate, answer: Answer) -> Candidate:
    """Return the draft, dropped if it is said to be equal to its parent."""
    if answer.value["equal"]:
        return draft.drop(RejectReason.NOT_EVOLVED, f"judged equal: {answer.value['difference']}")
    return draft


def drop_useless(draft: Candidate) -> Candidate:
    """Return the draft, dropped if its response is a short apology, or says nothing."""
    if draft.reject_reason is not None or not draft.response:
        return draft
    words = words_of(draft.response)
    if "sorry" in words and (length := count_words(draft.response)) < APOLOGY_WORDS:
        return draft.drop(RejectReason.REFUSED, f"sorry, in {length} words")
    if not set(words) - STOP_WORDS:
        return draft.drop(RejectReason.NO_ANSWER, "only stop words")
    return draft


def rounds_of(candidates: Sequence[Candidate]) -> pl.DataFrame:
    """Return by round and operator what was tried and kept, with the kept prompts' mean length."""
    tried: dict[tuple[int, str], list[Candidate]] = {}
    for candidate in candidates:
        key = candidate.notes["round"], candidate.notes["operator"]
        tried.setdefault(key, []).append(candidate)
    rows = []
    for (number, operator), group in sorted(tried.items()):
        kept = [c for c in group if c.reject_reason is None]
        words = [count_words(c.prompt) for c in kept]
        growth = [c.notes["growth"] for c in kept]
        rows.append(
            {
                "round": number,
                "operator": operator,
                "tried": len(group),
                "kept": len(kept),
                "words": sum(words) / len(words) if words else None,
                "growth": sum(growth) / len(growth) if growth else None,
            }
        )
    return pl.DataFrame(rows, schema=ROUND_SCHEMA)


JUDGE_SCHEMA = record(difference=text(DIFFERENCE_LETTERS), equal={"type": "boolean"})
