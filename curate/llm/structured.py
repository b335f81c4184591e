"""What becomes of an answer under a schema.

The finish reason is looked at before the text: a cut answer can still parse and is never repaired. What
ended by itself is parsed and validated, whoever says that it was constrained. An invalid answer is drawn
anew with another seed, the second time with the validator's words in the conversation; one that was cut
gets twice the tokens, once; then it is a failure with its class.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import orjson
from pydantic import Field

from curate.answers.jsonanswers import read_json
from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.lazy import lazy_module
from curate.core.params import Params
from curate.core.rows import Message
from curate.llm.reasoning import part_reasoning, part_values
from curate.llm.requests import Call, Completion, Request

if TYPE_CHECKING:
    import jsonschema
else:
    jsonschema = lazy_module("jsonschema")

Failure = Literal[
    "truncated",
    "repetition",
    "refused",
    "filtered",
    "empty",
    "only_reasoning",
    "unknown",
    "failed",
    "unsent",
    "invalid_json",
    "schema_violation",
]
REDRAWN = frozenset({"invalid_json", "schema_violation", "empty", "only_reasoning", "repetition"})
# A greedy model repeats its mistake, so it is drawn from for another try.
LEAST_TEMPERATURE = 0.7
EXCERPT = 80
SENTENCES = {
    "repetition": "the answer ran in a loop",
    "refused": "the model refused",
    "filtered": "the server withheld the answer",
    "empty": "the answer is empty",
    "only_reasoning": "the answer is nothing but reasoning",
}


class Retries(Params):
    """How often a useless answer under a schema is asked for again."""

    invalid: int = Field(2, ge=0, description="draws anew of an answer that breaks its schema")
    truncated: bool = Field(True, description="once more with twice the tokens")


@dataclass(frozen=True)
class Answer:
    """A completion and what it is worth.

    Attributes:
        completion: the last one that came, its reasoning told apart from its text.
        value: the parsed JSON, if a schema was given and is met.
        failure: why it is of no use, None if it is. Without a schema a `truncated` answer has this set
            too, and its text; the caller decides.
        reason: the failure in a sentence.
        draws: completions that were asked for, this one included.
        cached: it was not paid for in this run.
    """

    completion: Completion
    value: Any = None
    failure: Failure | None = None
    reason: str = ""
    draws: int = 1
    cached: bool = False

    @property
    def ok(self) -> bool:
        """Return whether it can be used."""
        return self.failure is None

    @property
    def text(self) -> str:
        """Return the completion's text."""
        return self.completion.text

    @property
    def reasoning(self) -> str:
        """Return what the model thought beside it."""
        return self.completion.reasoning


def check_schema(schema: Mapping[str, JSON]) -> None:
    """Raise UserError if this is no JSON Schema."""
    fault = _schema_fault(json.dumps(schema))
    if fault is not None:
        raise UserError(f"not a JSON schema: {fault}")


@lru_cache(maxsize=256)
def _schema_fault(schema: str) -> str | None:
    """Return what is wrong with a JSON text as a schema; every step of a run checks the same few."""
    try:
        jsonschema.Draft202012Validator.check_schema(json.loads(schema))
    except jsonschema.SchemaError as error:
        return f"{error.message} (at {error.json_path})"
    return None


def judge(call: Call, completion: Completion) -> Answer:
    """Return the completion as an answer: usable, or with the class of its failure."""
    completion = without_reasoning(completion)
    finish = completion.finish
    if completion.choice_logprobs is not None:
        # What was asked for is there, wherever the text ends.
        return Answer(completion)
    if finish == "ok" and completion.reasoning and not completion.text.strip():
        return Answer(completion, failure="only_reasoning", reason=SENTENCES["only_reasoning"])
    if finish != "ok":
        return Answer(completion, failure=finish, reason=_why_useless(call, completion))
    if call.request.schema is None:
        return Answer(completion)
    try:
        value = read_json(completion.text)
    except orjson.JSONDecodeError as error:
        reason = f"the answer is no JSON: {error} in {completion.text[:EXCERPT]!r}"
        return Answer(completion, failure="invalid_json", reason=reason)
    try:
        value, reasoning = part_values(value)
        broken = _violation(call.request.schema, value)
    except RecursionError:
        reasoning = []
        # The validator's words quote the value, which may be nested deeper than Python can print.
        broken = "the answer is nested too deep"
    if broken:
        return Answer(completion, failure="schema_violation", reason=broken)
    return Answer(_with_reasoning(completion, *reasoning), value=value)


def without_reasoning(completion: Completion) -> Completion:
    """Return a completion whose text is the answer alone, with the reasoning beside it."""
    parted = part_reasoning(completion.text)
    return _with_reasoning(replace(completion, text=parted.answer), parted.reasoning)


def _with_reasoning(completion: Completion, *texts: str) -> Completion:
    reasoning = "\n\n".join(text for text in (completion.reasoning, *texts) if text)
    return replace(completion, reasoning=reasoning)


def _why_useless(call: Call, completion: Completion) -> str:
    """Return what is wrong with an answer that did not end by itself, in a sentence."""
    if completion.finish == "truncated":
        tokens, most = completion.completion_tokens, call.sampling.max_tokens
        beyond = f", though no more than {most:,} were asked for" if tokens > most else ""
        return f"the answer was cut at {tokens:,} tokens{beyond}"
    return completion.error or SENTENCES.get(completion.finish, "")


def _violation(schema: Mapping[str, JSON], value: Any) -> str | None:
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(dict(schema)).iter_errors(value)
    )
    return None if error is None else f"{error.json_path}: {error.message[:200]}"


def next_try(call: Call, answer: Answer, retries: Retries, *, longer: bool) -> Call | None:
    """Return the call to make instead of one whose answer is of no use; None to leave it at that.

    Args:
        call: the one that was answered.
        answer: what came.
        retries: the budget.
        longer: whether the answer has been given more tokens before.
    """
    if call.request.schema is None:
        return None
    if answer.failure == "truncated" and retries.truncated and not longer:
        more = {"max_tokens": call.sampling.max_tokens * 2}
        return replace(call, request=_sampled(call, more))
    if answer.failure in REDRAWN and call.attempt < retries.invalid:
        warm = max(call.sampling.temperature, LEAST_TEMPERATURE)
        again = replace(
            call, request=_sampled(call, {"temperature": warm}), attempt=call.attempt + 1
        )
        return _with_reason(again, answer) if call.attempt else again
    return None


def _sampled(call: Call, changes: Mapping[str, JSON]) -> Request:
    return replace(call.request, sampling=call.sampling.model_copy(update=dict(changes)))


def _with_reason(call: Call, answer: Answer) -> Call:
    """Return the call with the bad answer and what is wrong with it at the end of the conversation."""
    request = call.request
    if not request.messages or answer.failure not in ("invalid_json", "schema_violation"):
        return call
    # The conversation as first asked: the notes of an earlier try are replaced.
    first = request.messages[: _original_length(request.messages)]
    note = f"That does not fit the schema ({answer.reason}). {AGAIN}"
    turns: list[Message] = [
        {"role": "assistant", "content": answer.text},
        {"role": "user", "content": note},
    ]
    return replace(call, request=replace(request, messages=(*first, *turns)))


AGAIN = "Answer once more, with valid JSON that fits the schema and nothing else."


def _original_length(messages: tuple[Message, ...]) -> int:
    noted = len(messages) > 2 and messages[-1]["content"].endswith(AGAIN)
    return len(messages) - 2 if noted else len(messages)
