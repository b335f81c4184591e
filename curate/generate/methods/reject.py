"""Rejection sampling: many solutions of each query, of which the correct ones are kept.

Tong et al. 2024, "DART-Math: Difficulty-Aware Rejection Tuning for Mathematical Problem-Solving",
arXiv:2407.13690. A query is a row with a checkable answer, which is its gold:

    pilot    the same number of trials for each query; their share that is correct is known by its
             posterior mean (c + 1/2) / (n + 1)
    target   `uniform`: so many correct solutions of each query; `difficulty`: in proportion to
             the share of trials that failed, rounded up, so that no query has none
    rounds   each query gets as many trials as it should take, and a tenth more; planned anew after
             each round until all have their solutions, or the caps are reached

An answer that was cut is wrong whatever it says; one with nothing to compare is not wrong but is counted
by itself. Identical solutions count once. What is correct beyond the target is recorded and not kept.

Pairs (ours): each kept solution takes a wrong trial of its query along as its `rejected`, in the order
of the trials and none of them twice, for as long as there are any that end by themselves and pass the
filters. The checker has judged both, so the margin is 1.

Guard: among many trials lucky guesses pass for solutions: of 200 at one of four letters about 50. Where
a gold answer can be guessed (an option, yes or no, a whole number up to ten), a query that is solved no
more often than by guesses (binomial, 5 %) keeps nothing.

Calls: 1 / (share correct) for each kept row: 44 to 4,000 trials for 40 of a query that is solved in nine
of ten or one of a hundred. Hence both caps.

Departures from the authors' code: the rounds are planned, where it draws until k + 1 are correct, and
without an end unless a cap is set; difficulty is the posterior mean of the pilot, so never 0; answers
are compared by value and never run (curate.answers.checkers; `math` by math-verify in a process of its
own). Wrong gold answers look like hard
queries and take most trials: look at those with none correct in the table of queries.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, exp, lgamma, log
from typing import ClassVar, Literal

import polars as pl
import regex
from pydantic import Field, model_validator

from curate.answers.checkers import (
    AnswerVerdict,
    CheckerName,
    check_answer,
    is_gold,
)
from curate.answers.options import split_options
from curate.answers.quantities import find_number
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.rows import normalise
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.choices import OPTIONS
from curate.generate.generation import (
    Generation,
    SeedExample,
    reject_reason_of,
    was_sent,
    with_reasoning,
)
from curate.generate.sift import SamePromptFilters
from curate.generate.starts import StartParams, choose_starts, count_starts, system_of
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS
from curate.llm.structured import Answer

VERSION = 4
MORE = 1.1
# The least share of correct trials that a plan reckons with.
LEAST_SHARE = 0.005
LUCK = 0.05
SMALL = 10
EITHER = frozenset({"yes", "no", "true", "false"})
QUERY_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "trials": pl.Int64(),
        "correct": pl.Int64(),
        "distinct": pl.Int64(),
        "unparsable": pl.Int64(),
        "wanted": pl.Int64(),
        "kept": pl.Int64(),
        "pairs": pl.Int64(),
        "difficulty": pl.Float64(),
        "guess": pl.Float64(),
        "state": pl.String(),
    }
)


@method
class RejectGenerator(StartParams):
    """Solutions of queries with known answers, sampled until enough are correct."""

    version: ClassVar[int] = VERSION

    method: Literal["reject"] = "reject"
    filters: SamePromptFilters = SamePromptFilters()
    plan: Literal["uniform", "difficulty"] = Field(
        "difficulty", description="as many solutions of each query, or more of harder ones"
    )
    solutions: int = Field(
        40, ge=1, description="of each query; with plan: difficulty of one that always fails"
    )
    checker: CheckerName = Field("numeric", description="how an answer is compared to the gold one")
    pattern: str | None = Field(
        None,
        max_length=10_000,
        description="what an answer has to match; checker: regex",
        examples=["\\d+"],
    )
    pilot: int = Field(16, ge=1, description="trials of each query before a plan is made")
    trials: int = Field(512, ge=1, description="of one query at most")
    most: int = Field(20_000, ge=1, description="trials over all queries")
    rounds: int = Field(8, ge=1, le=50, description="plans at most, the pilot aside")
    temperature: float = Field(1.6, gt=0, description="of solutions")
    top_p: TopP = 0.95
    max_tokens: int = Field(2_048, ge=8, description="of a solution; one that is cut is wrong")

    @model_validator(mode="after")
    def _check(self) -> "RejectGenerator":
        if (self.checker == "regex") != (self.pattern is not None):
            raise ValueError("pattern goes with checker: regex, and that checker with a pattern")
        if self.pattern is not None:
            try:
                regex.compile(self.pattern)
            except (regex.error, RecursionError) as error:
                raise ValueError(f"pattern: {error}") from error
        return self

    def generate(self, run: Generation) -> None:
        """Sample solutions round by round, then put them on record, query by query."""
        queries, unusable = read_queries(choose_starts(run, self), self)
        if not queries:
            raise UserError(
                f"reject: of {unusable.height:,} rows none has an answer that the {self.checker} "
                "checker can read; choose another checker or other rows"
            )
        sampling = RejectionSampler(run, self, queries)
        try:
            sampling.try_each(0, {i: self.pilot for i in range(len(queries))})
            for query in queries:
                set_quota(query, self)
            for number in range(1, self.rounds + 1):
                planned = sampling.plan()
                if run.stopped or not planned:
                    break
                sampling.try_each(number, planned)
            for query in queries:
                solved = run.candidate_filter.filter(judge(query))
                run.record(pair_off(query, solved, run.candidate_filter.fits))
        finally:
            run.tables["queries"] = pl.concat([queries_of(queries, run), unusable])

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = min(count_starts(self, targets, pool_rows) * self.trials, self.most)
        return Workload(calls=calls, answer_tokens=self.max_tokens)


@dataclass
class Query:
    """A query and how it stands.

    `quota` is set after the pilot; `solutions` has the distinct correct trials in their order.
    """

    example: SeedExample
    gold: str
    guess: float
    trials: int = 0
    correct: int = 0
    unparsable: int = 0
    quota: int = 0
    difficulty: float | None = None
    solutions: dict[str, Candidate] = field(default_factory=dict)
    failed: list[Candidate] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Return how many solutions are still to be found."""
        return max(self.quota - len(self.solutions), 0)

    def next_trials(self, cap: int) -> int:
        """Return how many trials should give what is missing.

        Reckons with distinct solutions: a model that says the same again needs more trials.
        """
        share = max((len(self.solutions) + 0.5) / (self.trials + 1), LEAST_SHARE)
        return min(cap - self.trials, ceil(MORE * self.missing / share))

    def is_lucky(self) -> bool:
        """Return whether guesses would be correct as often."""
        return self.guess > 0 and luck(self.trials, self.correct, self.guess) > LUCK


def read_queries(
    starts: Sequence[SeedExample], params: RejectGenerator
) -> tuple[list[Query], pl.DataFrame]:
    """Return the queries with a gold answer, and a table of the rows that have none."""
    queries, unusable = [], []
    for example in starts:
        gold = params.pattern or example.response
        if is_gold(params.checker, gold):
            queries.append(Query(example, gold, guess_rate(params.checker, example)))
        else:
            unusable.append({"row_id": example.row_id, "trials": 0, "state": "no_gold"})
    return queries, pl.DataFrame(unusable, schema=QUERY_SCHEMA)


def guess_rate(checker: CheckerName, example: SeedExample) -> float:
    """Return the chance to hit the gold answer of a row without a thought; 0 where there is none."""
    if checker == "choice":
        return 1 / max(len(split_options(example.prompt)[1]) or OPTIONS, 2)
    if checker in ("numeric", "math", "arithmetic"):
        gold = find_number(example.response)
        small = gold is not None and gold.denominator == 1 and abs(gold) <= Fraction(SMALL)
        return 1 / SMALL if small else 0.0
    plain = normalise(example.response).casefold().strip('".')
    return 0.5 if checker in ("exact", "json") and plain in EITHER else 0.0


def luck(trials: int, correct: int, guess: float) -> float:
    """Return the chance of so many correct guesses or more."""
    log_probabilities = (
        lgamma(trials + 1)
        - lgamma(k + 1)
        - lgamma(trials - k + 1)
        + k * log(guess)
        + (trials - k) * log(1 - guess)
        for k in range(correct, trials + 1)
    )
    return min(sum(exp(share) for share in log_probabilities), 1.0)


def set_quota(query: Query, params: RejectGenerator) -> None:
    """Note how hard the pilot found a query, and how many solutions that makes."""
    if not query.trials:
        return
    query.difficulty = 1 - (query.correct + 0.5) / (query.trials + 1)
    share = query.difficulty if params.plan == "difficulty" else 1
    query.quota = ceil(share * params.solutions)


class RejectionSampler:
    """Asks for trials and takes note of what they come to."""

    def __init__(self, run: Generation, params: RejectGenerator, queries: Sequence[Query]) -> None:
        self.run, self.params, self.queries = run, params, queries
        self.left = params.most

    def plan(self) -> dict[int, int]:
        """Return the numbers of the queries to go on with, and how many trials each gets.

        Where those are more than are left, all get the same share of what they should.
        """
        trials_by_query = {
            i: query.next_trials(self.params.trials)
            for i, query in enumerate(self.queries)
            if query.missing and query.trials
        }
        return self._within_budget(trials_by_query)

    def _within_budget(self, trials_by_query: dict[int, int]) -> dict[int, int]:
        total = sum(trials_by_query.values())
        if total > self.left:
            shares = {i: count * self.left // total for i, count in trials_by_query.items()}
            over = self.left - sum(shares.values())
            trials_by_query = {i: count + (k < over) for k, (i, count) in enumerate(shares.items())}
        return {i: count for i, count in trials_by_query.items() if count > 0}

    def try_each(self, number: int, counts: dict[int, int]) -> None:
        """Sample solutions in one batch and check them."""
        counts = self._within_budget(
            {i: min(count, self.params.trials) for i, count in counts.items()}
        )
        self.left -= sum(counts.values())
        requests = [self._ask(self.queries[i], number, count) for i, count in counts.items()]
        for i, answers in zip(counts, self.run.ask("solve", requests), strict=True):
            for answer in answers:
                if was_sent(answer):
                    self._take(self.queries[i], number, answer)

    def _ask(self, query: Query, number: int, count: int) -> Request:
        sampling = Sampling(
            temperature=self.params.temperature,
            top_p=self.params.top_p,
            max_tokens=self.params.max_tokens,
            repeats=REPEATS,
            n=count,
        )
        return self.run.request(
            "solve",
            [query.example.row_id, number],
            sampling,
            system=system_of(query.example),
            query=query.example.prompt,
            checker=self.params.checker,
        )

    def _take(self, query: Query, number: int, answer: Answer) -> None:
        """Check one trial; the finish reason comes before the text."""
        query.trials += 1
        text = answer.text.strip()
        turns = pair(query.example.prompt, text, system_of(query.example))
        notes = {"round": number, "trial": query.trials}
        trial = Candidate(turns, self.run.method, (query.example.row_id,), 1, notes)
        trial = with_reasoning(trial, "solve", answer)
        reason = reject_reason_of(answer)
        if reason:
            query.failed.append(trial.drop(reason, answer.reason))
            return
        checked = check_answer(self.params.checker, text, query.gold)
        if checked is AnswerVerdict.UNPARSABLE:
            query.unparsable += 1
            query.failed.append(trial.drop(RejectReason.NO_ANSWER, "nothing to compare"))
        elif checked is AnswerVerdict.WRONG:
            query.failed.append(trial.drop(RejectReason.WRONG_ANSWER))
        else:
            query.correct += 1
            key = normalise(text).casefold()
            if query.solutions.setdefault(key, trial) is not trial:
                query.failed.append(trial.drop(RejectReason.NOT_NEW, "the same solution again"))


def judge(query: Query) -> list[Candidate]:
    """Return all trials of a query in their order, those dropped that are not to be kept."""
    trials = list(query.failed)
    lucky = query.is_lucky()
    for place, candidate in enumerate(query.solutions.values()):
        if lucky:
            odds = f"where 1 of {1 / query.guess:.0f} guesses is"
            detail = f"{query.correct} of {query.trials} are correct, {odds}"
            candidate = candidate.drop(RejectReason.INCONSISTENT, detail)
        elif place >= query.quota:
            candidate = candidate.drop(
                RejectReason.OVER_QUOTA, f"{query.quota} solutions are wanted"
            )
        trials.append(candidate)
    return sorted(trials, key=lambda candidate: candidate.notes["trial"])


def pair_off(
    query: Query, trials: Sequence[Candidate], fits: Callable[[Candidate], bool]
) -> list[Candidate]:
    """Return the trials; those that are kept have a wrong one as their rejected answer.

    As long as there are any that fit: no wrong trial is spent on a solution that the filters dropped.
    """
    wrong = filter(fits, wrong_trials(query))
    return [
        trial.over(worse, 1.0)
        if trial.reject_reason is None and (worse := next(wrong, None))
        else trial
        for trial in trials
    ]


def wrong_trials(query: Query) -> list[Candidate]:
    """Return the trials with a wrong answer, each text once, in their order."""
    wrong = [trial for trial in query.failed if trial.reject_reason is RejectReason.WRONG_ANSWER]
    trials: dict[str, Candidate] = {}
    for trial in wrong:
        trials.setdefault(normalise(trial.response).casefold(), trial)
    return list(trials.values())


def queries_of(queries: Sequence[Query], run: Generation) -> pl.DataFrame:
    """Return a table of the queries: trials, what was correct and kept, and why it ended there."""
    kept = Counter(candidate.parents[0] for candidate in run.kept)
    pairs = Counter(candidate.parents[0] for candidate in run.kept if candidate.rejected)
    rows = [
        {
            "row_id": query.example.row_id,
            "trials": query.trials,
            "correct": query.correct,
            "distinct": len(query.solutions),
            "unparsable": query.unparsable,
            "wanted": query.quota,
            "kept": kept[query.example.row_id],
            "pairs": pairs[query.example.row_id],
            "difficulty": query.difficulty,
            "guess": query.guess,
            "state": state_of(query),
        }
        for query in queries
    ]
    return pl.DataFrame(rows, schema=QUERY_SCHEMA)


def state_of(query: Query) -> str:
    """Return how a query ended: untried, guessable, unsolved, short or done."""
    if not query.trials:
        return "untried"
    if not query.correct:
        return "unsolved"
    if query.is_lucky():
        return "guessable"
    return "short" if query.missing else "done"
