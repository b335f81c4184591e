"""Prompts that are answered as they stand, as if a user had written them: no words of ours around."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from curate.core.rows import Message
from curate.generate.candidates import Candidate, pair
from curate.generate.drafts import ask_each
from curate.generate.generation import Generation, Name, SeedExample
from curate.llm.requests import Request, Sampling, chat
from curate.llm.schemas import greedy
from curate.llm.structured import Answer


def system_of(target: Sequence[SeedExample]) -> str | None:
    """Return the system turn that all examples share, None if they do not."""
    systems = {_system(example.messages) for example in target}
    return systems.pop() if len(systems) == 1 else None


def _system(messages: Sequence[Message]) -> str | None:
    return next((m["content"] for m in messages if m["role"] == "system"), None)


def ask_plainly(
    run: Generation,
    stage: str,
    name: Sequence[Name],
    turns: Sequence[Message],
    sampling: Sampling,
    schema: dict[str, Any] | None = None,
) -> Request:
    """Return the request for the next turn of a conversation; its seed is made of stage and name."""
    seeded = sampling.model_copy(update={"seed": run.seed_of(stage, *name)})
    return chat(turns, sampling=seeded, schema=schema)


def answer_prompts(
    run: Generation,
    drafts: Sequence[Candidate],
    name_of: Callable[[Candidate], Sequence[Name]],
    *,
    max_tokens: int,
) -> list[Candidate]:
    """Return the drafts with the model's likeliest answer to each of their prompts."""
    sampling = greedy(max_tokens)

    def ask(draft: Candidate) -> Request:
        return ask_plainly(run, "answer", name_of(draft), draft.messages, sampling)

    def take(draft: Candidate, answer: Answer) -> Candidate:
        system = _system(draft.messages)
        return replace(draft, messages=pair(draft.prompt, answer.text.strip(), system))

    return ask_each(run, "answer", drafts, ask, take)
