"""Candidates on their way: what methods of several stages share, and the schemas of small records."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from curate.core.rows import Message
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.generation import Generation, reject_reason_of, was_sent, with_reasoning
from curate.llm.requests import Request
from curate.llm.structured import Answer


def ask_each(
    run: Generation,
    stage: str,
    candidates: Sequence[Candidate],
    ask: Callable[[Candidate], Request],
    take: Callable[[Candidate, Answer], Candidate],
) -> list[Candidate]:
    """Return the candidates, each not rejected yet as `take` makes it of the answer to `ask`.

    All are asked in one batch. An answer that failed drops its candidate; what was not sent because a
    limit was reached is left out.
    """
    pending = [c for c in candidates if c.reject_reason is None]
    answers = iter(run.ask_one(stage, [ask(c) for c in pending]))
    results = []
    for candidate in candidates:
        if candidate.reject_reason is not None:
            results.append(candidate)
            continue
        answer = next(answers)
        if was_sent(answer):
            reason = reject_reason_of(answer)
            outcome = candidate.drop(reason, answer.reason) if reason else take(candidate, answer)
            results.append(with_reasoning(outcome, stage, answer))
    return results


def with_turns(request: Request, turns: Sequence[Message]) -> Request:
    """Return a request with turns before its last one: examples there show a form best."""
    return replace(request, messages=(*request.messages[:-1], *turns, request.messages[-1]))


def find_truncation(
    value: Mapping[str, Any], schema: Mapping[str, Any]
) -> tuple[RejectReason, str] | None:
    """Return the rejection of a record in which a text is as long as may be: there a schema cut it."""
    for name, property_schema in schema["properties"].items():
        most = property_schema.get("maxLength")
        if most is not None and len(value[name]) >= most:
            return RejectReason.TRUNCATED, f"{name} of {most} characters, the most"
    return None


def mark_of(*texts: str) -> str:
    """Return a mark to put around foreign text, which that text cannot know of."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=4).hexdigest()
