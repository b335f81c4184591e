"""Blind comparisons of responses in both orders, asked for by a generation method and within its limits.

The judgement and its confidence are those of curate.llm.compare; which response is the new one is in no
request, and the pair given the other way round is asked about by the very same requests.
"""

from collections.abc import Sequence
from dataclasses import replace

from curate.generate.engines import NamedEngine
from curate.generate.generation import Generation, was_sent
from curate.llm.compare import (
    CHOICE_TOKENS,
    CRITERIA,
    AnswerPair,
    PreferenceScore,
    comparison_requests,
    read_preference,
)
from curate.llm.reflections import REFLECTION_TOKENS, REFLECTIONS
from curate.llm.requests import Request


def compare_responses(
    run: Generation,
    stage: str,
    pairs: Sequence[AnswerPair],
    *,
    samples: int,
    criteria: str = CRITERIA,
    engine: NamedEngine | None = None,
) -> list[PreferenceScore | None]:
    """Return for each pair how sure the model is that `other` is better; None behind a limit.

    Args:
        run: whose prompts have choose, reflect and doubt.
        stage: name of the calls in the bill.
        pairs: questions with two responses.
        samples: judgements drawn in each order.
        criteria: what is weighed.
        engine: that judges, the recipe's own if None.
    """
    requests = [
        [
            _seeded(run, stage, request)
            for request in comparison_requests(pair, run.prompts, samples, run.seed, criteria)
        ]
        for pair in pairs
    ]
    answers = iter(run.ask(stage, [request for of_pair in requests for request in of_pair], engine))
    preferences: list[PreferenceScore | None] = []
    for pair, of_pair in zip(pairs, requests, strict=True):
        answers_of_pair = [next(answers) for _ in of_pair]
        sent = all(was_sent(answer) for one in answers_of_pair for answer in one)
        preferences.append(read_preference(pair, iter(answers_of_pair)) if sent else None)
    return preferences


def comparison_calls(samples: int) -> int:
    """Return how many calls a comparison takes."""
    return 2 * (samples + len(REFLECTIONS))


def comparison_tokens(samples: int) -> int:
    """Return how many tokens the answers of a comparison have at most."""
    return 2 * (samples * CHOICE_TOKENS + len(REFLECTIONS) * REFLECTION_TOKENS)


def _seeded(run: Generation, stage: str, request: Request) -> Request:
    """Return the request with a seed made of its texts."""
    texts = [message["content"] for message in request.messages]
    sampling = request.sampling.model_copy(update={"seed": run.seed_of(stage, *texts)})
    return replace(request, sampling=sampling)
