"""An engine whose answers are written down: rules in order, every kind of failure, all calls kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from curate.llm.engines.engine import NO_CALLBACKS, EngineCallbacks
from curate.llm.requests import UNSENT, Call, Completion, Finish, Request


@dataclass(frozen=True)
class Reply:
    """An answer with its finish reason and token counts; words are tokens where none are given."""

    text: str = ""
    finish: Finish = "ok"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float = 0.0
    logprobs: tuple[float, ...] | None = None
    choice_logprobs: tuple[float, ...] | None = None
    error: str = ""
    sends: int = 1
    rejected: bool = False


When = str | Callable[[Call], bool]
ScriptedReply = str | Reply | Exception
Then = ScriptedReply | Callable[[Call], ScriptedReply] | list[Any]


def text_of(call: Call) -> str:
    """Return what the model is asked last: the raw prompt or the last turn."""
    request = call.request
    return request.prompt if request.prompt is not None else request.messages[-1]["content"]


def answer_schema(call: Call) -> dict[str, Any]:
    """Return the JSON schema of the answer, empty where any text will do."""
    return dict(call.request.schema or {})


def texts_of(call: Call) -> list[str]:
    """Return all turns, or the raw prompt."""
    request = call.request
    return [m["content"] for m in request.messages] if request.prompt is None else [request.prompt]


@dataclass
class ScriptedEngine:
    """Answers by the first rule that fits.

    A rule is (when, then): `when` is a piece of any turn or a predicate on the call, `then` a text, a
    Reply, a function of the call, an exception to raise, or a list of these for one call after the other
    (the last one stays). Strict: a call that no rule fits is an error; else its answer is empty.
    """

    rules: Sequence[tuple[When, Then]]
    strict: bool = True
    name: str = "scripted"
    exact: bool = True
    calls: list[Call] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    _used: dict[int, int] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        return {"engine": "scripted", "model": self.name}

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def count_prompt(self, request: Request) -> int:
        texts = [request.prompt] if request.prompt else [m["content"] for m in request.messages]
        return sum(self.count_tokens(text) for text in texts)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens + completion_tokens) / 1000

    def close(self) -> None:
        pass

    def complete(
        self, calls: Sequence[Call], callbacks: EngineCallbacks = NO_CALLBACKS
    ) -> list[Completion]:
        completions = [UNSENT] * len(calls)
        self.batches.append(len(calls))
        for position, call in enumerate(calls):
            if callbacks.reserve_call():
                completions[position] = self._answer(call)
                callbacks.on_completion(position, completions[position])
        return completions

    def _answer(self, call: Call) -> Completion:
        self.calls.append(call)
        response = self._scripted_reply(call)
        if isinstance(response, Exception):
            raise response
        reply = Reply(response) if isinstance(response, str) else response
        read, written = reply.prompt_tokens, reply.completion_tokens
        return Completion(
            text=reply.text,
            finish=reply.finish,
            prompt_tokens=self.count_prompt(call.request) if read is None else read,
            completion_tokens=self.count_tokens(reply.text) if written is None else written,
            logprobs=reply.logprobs,
            choice_logprobs=reply.choice_logprobs,
            cost=reply.cost,
            sends=reply.sends,
            error=reply.error,
            rejected=reply.rejected,
        )

    def _scripted_reply(self, call: Call) -> ScriptedReply:
        for number, (when, then) in enumerate(self.rules):
            if when(call) if callable(when) else any(when in text for text in texts_of(call)):
                if isinstance(then, list):
                    used = self._used.get(number, 0)
                    self._used[number] = used + 1
                    then = then[min(used, len(then) - 1)]
                return then(call) if callable(then) else then
        assert not self.strict, f"no rule fits the call {text_of(call)!r}"
        return Reply(finish="empty")
