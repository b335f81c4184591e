"""Prompts that a model writes anew and then answers: what methods that change single rows share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.drafts import ask_each, find_truncation
from curate.generate.generation import Generation
from curate.generate.sift import Filters
from curate.generate.starts import StartParams
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS, characters_for, greedy, record, text
from curate.llm.structured import Answer


class NearFilters(Filters):
    """What is asked of every generated row; a prompt may be near to the one that it is made from."""

    rouge: float = Field(0.95, gt=0, le=1, description="prompts nearer than this are not new")


class WriteParams(StartParams):
    """A generator that writes prompts anew and answers them."""

    temperature: float = Field(1.0, ge=0, description="of new prompts; responses are greedy")
    top_p: TopP = 0.95
    max_tokens: int = Field(1_024, ge=64, description="of a prompt, and of a response")

    @property
    def writing(self) -> Sampling:
        """Return how new prompts are drawn."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            repeats=REPEATS,
        )

    @property
    def prompt_schema(self) -> dict[str, Any]:
        """Return the schema of a new prompt."""
        return record(prompt=text(characters_for(self.max_tokens)))


def with_prompt(draft: Candidate, value: Mapping[str, Any], schema: Mapping[str, Any]) -> Candidate:
    """Return the draft with the prompt of an answer, dropped if it is cut off or blank."""
    prompt = value["prompt"].strip()
    rewrite = replace(draft, messages=[{"role": "user", "content": prompt}])
    rejection = find_truncation(value, schema)
    if rejection is None and not prompt:
        rejection = RejectReason.EMPTY, "prompt"
    return rewrite.drop(*rejection) if rejection else rewrite


def answer_each(
    run: Generation,
    params: WriteParams,
    drafts: Sequence[Candidate],
    system_for: Callable[[Candidate], str | None],
) -> list[Candidate]:
    """Return the drafts with the model's responses to their prompts."""
    sampling = greedy(params.max_tokens)

    def ask(draft: Candidate) -> Request:
        system = system_for(draft)
        return run.request("answer", [draft.row_id], sampling, system=system, question=draft.prompt)

    def take(draft: Candidate, answer: Answer) -> Candidate:
        turns = pair(draft.prompt, answer.text.strip(), system_for(draft))
        return replace(draft, messages=turns)

    return ask_each(run, "answer", drafts, ask, take)
