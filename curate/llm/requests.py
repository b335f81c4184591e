"""What is asked of a language model and what comes back.

    chat("Name a river.", sampling=Sampling(temperature=0.7, n=2))     one request, two samples
    raw("Rivers: Rhine,", sampling=Sampling(stop=(",",)))              no chat template

A `Call` is one sample of a request: what an engine completes, a cache stores and a bill counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from pydantic import Field

from curate.core.jsontypes import JSON
from curate.core.params import Params
from curate.core.rows import Message, turn_text

Finish = Literal[
    "ok",  # the model ended by itself, or at a stop string
    "truncated",  # max_tokens or the context was used up
    "repetition",  # it was stopped in a loop (Sampling.repeats)
    "refused",  # the server says that the model declined
    "filtered",  # the server withheld the text
    "empty",  # it ended by itself without a word
    "unknown",  # it ended for a reason that is not in the protocol; `error` says which
    "failed",  # no answer: transport, or a prompt that does not fit; `error` says why
    "unsent",  # never sent, because a limit was reached
]
# The longest pattern, in tokens, whose repetition counts as a loop.
LOOP_TOKENS = 32


TopP = Annotated[
    float, Field(gt=0, le=1, description="draw from the likeliest tokens with this mass")
]


class Sampling(Params):
    """How tokens are drawn. The same request with the same seed has the same answer."""

    temperature: float = Field(1.0, ge=0, description="0: always the likeliest token")
    top_p: TopP = 1.0
    top_k: int = Field(0, ge=0, description="draw from so many likeliest; 0: from all")
    max_tokens: int = Field(256, ge=1, description="of one answer")
    stop: tuple[str, ...] = Field((), description="the answer ends before any of these")
    repeats: int = Field(
        0,
        ge=0,
        description="end an answer that says the same so many times in a row (2 or more; 0: never); "
        "not on servers",
    )
    seed: int = Field(0, ge=0)
    n: int = Field(1, ge=1, description="answers to each request")
    logprobs: bool = Field(False, description="also the log-probability of every drawn token")
    choices: tuple[str, ...] = Field(
        (),
        description="words of one token whose log-probabilities to open the answer are given, too",
    )


@dataclass(frozen=True)
class Request:
    """A conversation that ends with the user's turn, or a raw prompt that gets no chat template.

    Attributes:
        messages: turns; empty for a raw prompt.
        prompt: the text to continue; None for a conversation.
        prefix: how the assistant's turn opens; the completion goes on from there without repeating it.
        schema: JSON Schema that the answer must satisfy. Engines write its properties in its order.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    prefix: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    schema: Mapping[str, JSON] | None = None

    def __post_init__(self) -> None:
        if bool(self.messages) == (self.prompt is not None):
            raise ValueError("a request has either messages or a raw prompt")
        if self.messages and self.messages[-1]["role"] == "assistant":
            raise ValueError("the last message is the assistant's; give its opening as prefix")
        if self.prefix and (self.schema is not None or not self.messages):
            raise ValueError("a prefix goes with messages and without a schema")
        if any(stop == "" for stop in self.sampling.stop) or self.sampling.repeats == 1:
            raise ValueError("a stop string is empty, or repeats is 1")


def chat(
    messages: str | Sequence[Message],
    *,
    system: str | None = None,
    prefix: str = "",
    sampling: Sampling | None = None,
    schema: Mapping[str, JSON] | None = None,
) -> Request:
    """Return a request in the model's chat template; a plain text is the user's only turn."""
    turns: list[Message] = [{"role": "system", "content": system}] if system else []
    if isinstance(messages, str):
        turns.append({"role": "user", "content": messages})
    else:
        # Calls of tools as text: an engine is told of no tools that it could call.
        turns += [{"role": m["role"], "content": turn_text(m, reasoning=False)} for m in messages]
    return Request(tuple(turns), None, prefix, sampling or Sampling(), schema)


def raw(
    prompt: str, *, sampling: Sampling | None = None, schema: Mapping[str, JSON] | None = None
) -> Request:
    """Return a request to continue a text as it stands."""
    return Request((), prompt, "", sampling or Sampling(), schema)


@dataclass(frozen=True)
class Call:
    """One sample of a request; attempt counts the draws that were made anew after useless answers."""

    request: Request
    sample: int = 0
    attempt: int = 0

    @property
    def sampling(self) -> Sampling:
        """Return the request's sampling."""
        return self.request.sampling

    def generator(self) -> np.random.Generator:
        """Return this call's own source of randomness: no other call changes what it draws."""
        return np.random.default_rng([self.sampling.seed, self.sample, self.attempt, 0xA5C])

    @cached_property
    def server_seed(self) -> int:
        """Return a seed from 0 to 2**31 - 1 for engines that draw elsewhere."""
        return int(self.generator().integers(2**31))

    def content(self) -> dict[str, Any]:
        """Return all that can change the answer of a given model.

        Greedy answers do not depend on seed and sample. The order of a schema's properties counts:
        it is the order in which they are written.
        """
        request = self.request
        sampling = request.sampling.model_dump(exclude={"seed", "n"})
        if not request.sampling.choices:
            del sampling["choices"]
        greedy = request.sampling.temperature == 0
        return {
            "messages": [dict(message) for message in request.messages],
            "prompt": request.prompt,
            "prefix": request.prefix,
            "schema": None if request.schema is None else orjson.dumps(request.schema).decode(),
            "sampling": sampling,
            "draw": None if greedy else [request.sampling.seed, self.sample, self.attempt],
        }


@dataclass(frozen=True)
class Completion:
    """What an engine made of a call.

    Attributes:
        text: without prefix, stop string and end marker.
        finish: looked at before anything is made of the text.
        prompt_tokens: read by the model.
        completion_tokens: drawn, end marker included.
        logprobs: natural logarithms, one a drawn token, of the model's own distribution: before
            temperature, top_p, top_k and schema.
        choice_logprobs: that of each of Sampling.choices to be the first token, from the same
            distribution; NaN for one that an engine did not give (servers give the likeliest alone).
        cost: in the currency of the configured prices.
        estimated: the server told no token counts, so they are estimates.
        sends: how often it was sent until this came.
        error: a sentence, for finish "failed" and "unknown", and where a server says why it filters.
        reasoning: what the model thought beside its answer, where that was told apart.
        misplaced: the answer stood where a server puts reasoning, and nothing where the answer should.
        rejected: for finish "failed": it is this call that cannot be taken, whatever of the others.
    """

    text: str
    finish: Finish
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprobs: tuple[float, ...] | None = None
    choice_logprobs: tuple[float, ...] | None = None
    cost: float = 0.0
    estimated: bool = False
    sends: int = 1
    error: str = ""
    rejected: bool = False
    reasoning: str = ""
    misplaced: bool = False


def failed(error: str, sends: int = 1, *, rejected: bool = False) -> Completion:
    """Return the completion of a call that has no answer."""
    return Completion("", "failed", sends=sends, error=error, rejected=rejected)


def filtered(error: str, sends: int = 1) -> Completion:
    """Return the completion of a call whose prompt is against the server's policy."""
    return Completion("", "filtered", sends=sends, error=error)


UNSENT = Completion("", "unsent", sends=0, error="not sent, because a limit was reached")
