"""Which of two responses is better, and how sure is the model? Judged in both orders.

    confidence that the second one is better = mean over the two orders of 0.7 O + 0.3 S
    O = share of k sampled judgements that choose it, a tie as half      S = self-reflection on that

The confidence of BSDetector (Chen and Mueller 2023, arXiv:2308.16175) in the statement "the second one
is better", as CLEAR uses it (Chen and Mueller 2024, arXiv:2403.12776). That each pair is shown in both
orders is not in the paper: judges favour a place (Zheng et al. 2023, arXiv:2306.05685). The calls of an
order have seeds of its texts, so the two responses given the other way round are asked about by the
very same calls, and the confidences add up to 1.

Cost: 2 k judgements and 4 short calls a pair; none for equal texts. A model that always says A, or that
agrees with every statement, comes out at 0.5.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from curate.core.jsontypes import JSON
from curate.core.rows import normalise
from curate.llm.ask import EngineClient
from curate.llm.asking import ask_all, seed_of, shorten_middle
from curate.llm.prompts import MethodPrompts
from curate.llm.reflections import BETA, REFLECTIONS, certainty, reflection
from curate.llm.requests import Request, Sampling, chat
from curate.llm.structured import Answer

CRITERIA = "Weigh accuracy, completeness, relevance and form."
REASON_LETTERS = 120
PROMPTS = ("choose", *REFLECTIONS)
CHOICE_TOKENS = 128
# What a judgement on (A, B) says for B.
VOTES = {"A": 0.0, "tie": 0.5, "B": 1.0}
SCHEMA: Mapping[str, JSON] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": REASON_LETTERS},
        "better": {"type": "string", "enum": ["A", "B", "tie"]},
    },
    "required": ["reason", "better"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class AnswerPair:
    """Two answers to a question."""

    question: str
    one: str
    other: str


@dataclass(frozen=True)
class PreferenceScore:
    """Confidence of a pairwise preference: how sure the model is that the second response is better.

    `observed` and `reflected` are O and S, means of both orders; all are None where the model gave
    nothing usable in one of the orders, since its favourite place would decide then. `reason` is one
    that it gave in the first order.
    """

    confidence: float | None
    observed: float | None
    reflected: float | None
    reason: str | None = None


def compare_prompts(folder: str | None) -> MethodPrompts:
    """Return the prompts of comparisons."""
    return MethodPrompts("compare", Path(folder) if folder else None)


def compare_pairs(
    client: EngineClient,
    pairs: Sequence[AnswerPair],
    prompts: MethodPrompts,
    *,
    samples: int,
    seed: int,
    criteria: str = CRITERIA,
    stage: str = "compare",
) -> list[PreferenceScore]:
    """Return for each pair how sure the model is that `other` is a better response than `one`.

    Args:
        client: of the engine that judges.
        pairs: questions with two responses.
        prompts: choose, reflect and doubt.
        samples: judgements drawn in each order.
        seed: of the run.
        criteria: what is weighed, in a sentence or more.
        stage: name of the calls in the bill.

    Raises:
        UserError: the engine no longer answers.
    """
    requests = [
        request
        for pair in pairs
        for request in comparison_requests(pair, prompts, samples, seed, criteria)
    ]
    answers = iter(ask_all(client, requests, stage))
    return [read_preference(pair, answers) for pair in pairs]


def comparison_requests(
    pair: AnswerPair, prompts: MethodPrompts, samples: int, seed: int, criteria: str = CRITERIA
) -> list[Request]:
    """Return what is asked of a pair, one order after the other; nothing of equal texts."""
    if alike(pair.one, pair.other):
        return []
    orders = (pair.one, pair.other), (pair.other, pair.one)
    return [
        request
        for order in orders
        for request in _requests((pair.question, *order), prompts, samples, seed, criteria)
    ]


def read_preference(pair: AnswerPair, answers: Iterator[Sequence[Answer]]) -> PreferenceScore:
    """Return the preference of a pair; the answers to its requests come next among those given."""
    if alike(pair.one, pair.other):
        return PreferenceScore(0.5, 0.5, 0.5)
    size = 1 + len(REFLECTIONS)
    return _prefer(list(islice(answers, size)), list(islice(answers, size)))


def _requests(
    order: tuple[str, str, str], prompts: MethodPrompts, samples: int, seed: int, criteria: str
) -> list[Request]:
    """Return the judgements on one order of a pair, and the self-reflections on "B is better"."""
    question, a, b = order
    slots = {
        "question": shorten_middle(question),
        "a": shorten_middle(a),
        "b": shorten_middle(b),
        "criteria": criteria,
    }
    drawn = Sampling(
        temperature=1.0, max_tokens=CHOICE_TOKENS, n=samples, seed=seed_of(seed, *order)
    )
    judged = chat(prompts["choose"].fill(**slots), sampling=drawn, schema=SCHEMA)
    return [judged, *(reflection(prompts[name].fill(**slots)) for name in REFLECTIONS)]


Answers = Sequence[Sequence[Answer]]


def _prefer(ahead: Answers, behind: Answers) -> PreferenceScore:
    """Return the preference for the second response: shown as B in `ahead`, as A in `behind`."""
    votes = _votes(ahead[0]), _votes(behind[0])
    doubts = [certainty([answer for (answer,) in order[1:]]) for order in (ahead, behind)]
    if not votes[0] or not votes[1] or doubts[0] is None or doubts[1] is None:
        return PreferenceScore(None, None, None)
    observed = float(np.mean(votes[0]) + 1 - np.mean(votes[1])) / 2
    reflected = (doubts[0] + 1 - doubts[1]) / 2
    reason = next((str(a.value["reason"]) for a in ahead[0] if a.ok), None)
    return PreferenceScore(BETA * observed + (1 - BETA) * reflected, observed, reflected, reason)


def _votes(answers: Sequence[Answer]) -> list[float]:
    return [VOTES[answer.value["better"]] for answer in answers if answer.ok]


def alike(one: str, other: str) -> bool:
    """Return whether two texts are the same but for white space and case."""
    return normalise(one).casefold() == normalise(other).casefold()
