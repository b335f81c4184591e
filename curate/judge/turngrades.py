"""Grades of turns that a language model sees side by side, from 1 to 6: complexity and quality.

    texts     what a user says, and the response to it, of some turns at a time: [1] ... [6]
    scores    {"1": 3, "2": 5, ...}                      one answer for all of them
    expected  sum_k k p(k) / sum_k p(k), k = 1 ... 6     one call for each, by the first token's chances

A group is made anew for every vote. In the first one, turns of rows that descend from one another (an
instruction and its evolutions) stand together; in further ones, whatever their texts' digests bring.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.jsontypes import JSON
from curate.core.rows import Message, turn_text
from curate.llm.ask import EngineClient
from curate.llm.asking import ask_all, shorten_middle
from curate.llm.prompts import MethodPrompts, Prompt
from curate.llm.requests import Request, Sampling, chat
from curate.llm.schemas import greedy, record, tokens_for
from curate.llm.structured import Answer

METHOD = "deita"
LOW, HIGH = 1, 6
DIGITS = tuple(str(k) for k in range(LOW, HIGH + 1))
EXPECTED = Sampling(temperature=0, max_tokens=1, choices=DIGITS)
# What a request shows of texts; longer ones lose their middle.
LETTERS = 24_000
SCORE_LETTERS = 24


@dataclass(frozen=True)
class Exchange:
    """A turn of the assistant and what is said before it, since its turn before that.

    `family` is the same for the like turns of a row and of those that were made from it.
    """

    row_id: str
    turn: int
    prompt: str
    response: str
    family: str


@dataclass(frozen=True)
class GradeParams:
    """How turns are graded: so many side by side, so often, by expected digits or by written ones."""

    together: int
    votes: int
    expected: bool
    seed: int


def exchanges_of(row_id: str, messages: Iterable[Message], root: str) -> Iterator[Exchange]:
    """Yield the exchanges of a conversation; turns that are not trained on are context."""
    said: list[str] = []
    turn = 0
    for message in messages:
        if message["role"] != "assistant":
            said.append(turn_text(message))
            continue
        turn += 1
        if message.get("weight") != 0:
            response = turn_text(message, reasoning=False)
            yield Exchange(row_id, turn, "\n\n".join(said), response, f"{root}\x1f{turn}")
        said = []


def grade_exchanges(
    client: EngineClient,
    exchanges: Sequence[Exchange],
    prompts: MethodPrompts,
    name: str,
    params: GradeParams,
) -> NDArray[np.float64]:
    """Return the mean grade [n] of each exchange under a prompt, NaN where no answer was of use.

    Args:
        client: of the engine that grades.
        exchanges: what is graded.
        prompts: complexity and quality.
        name: which of the two.
        params: how.

    Raises:
        UserError: the engine no longer answers.
    """
    groups = [
        group
        for vote in range(params.votes)
        for group in _groups(exchanges, params.together, params.seed, vote)
    ]
    requests = [
        request
        for group in groups
        for request in _requests([exchanges[k] for k in group], prompts[name], params)
    ]
    answers = iter([answer for (answer,) in ask_all(client, requests, f"{METHOD}.{name}")])
    grades: list[list[float]] = [[] for _ in exchanges]
    for group in groups:
        if params.expected:
            numbers = [expected_grade(next(answers).completion.choice_logprobs) for _ in group]
        else:
            numbers = _scores(next(answers), len(group))
        for k, number in zip(group, numbers, strict=True):
            grades[k] += [] if np.isnan(number) else [number]
    return np.array([np.mean(of_turn) if of_turn else np.nan for of_turn in grades])


def _requests(group: Sequence[Exchange], prompt: Prompt, params: GradeParams) -> Iterator[Request]:
    """Yield what is asked about turns side by side: all at once, or each by its number."""
    letters = LETTERS // (2 * params.together)
    texts = [
        {
            "prompt": shorten_middle(exchange.prompt, letters),
            "response": shorten_middle(exchange.response, letters),
        }
        for exchange in group
    ]
    if not params.expected:
        yield _scores_request(prompt.fill(texts=texts, number=0), len(group))
        return
    for number in range(1, len(group) + 1):
        yield chat(prompt.fill(texts=texts, number=number), sampling=EXPECTED)


def expected_grade(logprobs: Sequence[float] | None) -> float:
    """Return the mean digit by its log-probabilities, over those that an engine gave; else NaN."""
    if logprobs is None:
        return float("nan")
    chances = np.nan_to_num(np.exp(np.array(logprobs, dtype=np.float64)))
    mass = chances.sum()
    return float(chances @ np.arange(LOW, HIGH + 1) / mass) if mass > 0 else float("nan")


def _groups(exchanges: Sequence[Exchange], size: int, seed: int, vote: int) -> list[list[int]]:
    """Return which exchanges stand together: whole families at first, as far as they fit."""

    def place(k: int) -> tuple[str, str]:
        one = exchanges[k]
        text = f"{one.prompt}\x1f{one.response}"
        return (_digest(seed, vote, one.family if vote == 0 else text), _digest(seed, vote, text))

    keys = {k: place(k) for k in range(len(exchanges))}
    groups: list[list[int]] = [[]]
    for _, members in groupby(sorted(keys, key=lambda k: (*keys[k], k)), lambda k: keys[k][0]):
        family = list(members)
        for start in range(0, len(family), size):
            part = family[start : start + size]
            if len(groups[-1]) + len(part) > size:
                groups.append([])
            groups[-1].extend(part)
    return [group for group in groups if group]


def _digest(seed: int, vote: int, text: str) -> str:
    whole = f"{seed}\x1f{vote}\x1f{text}".encode(errors="surrogatepass")
    return hashlib.blake2b(whole, digest_size=8).hexdigest()


def _scores_request(turns: list[Message], size: int) -> Request:
    score: Mapping[str, JSON] = {"type": "integer", "minimum": LOW, "maximum": HIGH}
    schema = record(**{str(number): score for number in range(1, size + 1)})
    return chat(turns, sampling=greedy(tokens_for(SCORE_LETTERS * size)), schema=schema)


def _scores(answer: Answer, size: int) -> list[float]:
    if not answer.ok:
        return [float("nan")] * size
    return [float(answer.value[str(number)]) for number in range(1, size + 1)]


def roots_of(rows: pl.LazyFrame) -> dict[str, str]:
    """Return of each row that was made from another the row that all began with."""
    made_rows = rows.filter(pl.col("parents").list.len() > 0)
    parents = dict(made_rows.select("row_id", pl.col("parents").list.first()).collect().iter_rows())
    roots: dict[str, str] = {}
    for row_id in parents:
        root, passed = row_id, set()
        while root in parents and root not in passed:
            passed.add(root)
            root = parents[root]
        roots[row_id] = root
    return roots
