"""A language model of a function, and one that answers in another order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from curate.llm.engines.engine import NO_CALLBACKS, Engine, EngineCallbacks
from curate.llm.requests import UNSENT, Call, Completion, Request


@dataclass
class FakeEngine:
    """An engine whose answers a function gives; words are tokens.

    Attributes:
        reply: the answer to a call (`call.request.messages[-1]["content"]` is what is asked).
    """

    reply: Callable[[Call], str]
    exact: bool = True

    def identity(self) -> dict[str, Any]:
        """Return what can change an answer."""
        return {"engine": "fake"}

    def complete(
        self, calls: Sequence[Call], callbacks: EngineCallbacks = NO_CALLBACKS
    ) -> list[Completion]:
        """Return one completion a call, in their order."""
        completions = [UNSENT] * len(calls)
        for position, call in enumerate(calls):
            if callbacks.reserve_call():
                completions[position] = self._answer(call)
                callbacks.on_completion(position, completions[position])
        return completions

    def _answer(self, call: Call) -> Completion:
        text = self.reply(call)
        return Completion(text, "ok", self.count_prompt(call.request), self.count_tokens(text))

    def count_prompt(self, request: Request) -> int:
        """Return the prompt's tokens."""
        texts = [request.prompt or "", *(message["content"] for message in request.messages)]
        return sum(map(self.count_tokens, texts))

    def count_tokens(self, text: str) -> int:
        """Return a text's tokens."""
        return len(text.split())

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of so many tokens."""
        return 0.0

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class BatchingEngine:
    """An engine that is handed the calls of another in small batches, the last ones first."""

    def __init__(self, engine: Engine, size: int = 2) -> None:
        self._engine, self._size = engine, size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def complete(
        self, calls: Sequence[Call], callbacks: EngineCallbacks = NO_CALLBACKS
    ) -> list[Completion]:
        """Return one completion a call, in their order."""
        done: dict[int, Completion] = {}
        for start in reversed(range(0, len(calls), self._size)):
            batch = self._engine.complete(
                calls[start : start + self._size], OffsetCallbacks(callbacks, start)
            )
            done |= dict(enumerate(batch, start=start))
        return [done[position] for position in range(len(calls))]


class OffsetCallbacks:
    """The callbacks of a batch that starts at some call of a longer list."""

    def __init__(self, callbacks: EngineCallbacks, start: int) -> None:
        self._callbacks, self._start = callbacks, start

    def reserve_call(self) -> bool:
        """Return whether one more call may be sent."""
        return self._callbacks.reserve_call()

    def on_completion(self, position: int, completion: Completion) -> None:
        """Pass a completion on."""
        self._callbacks.on_completion(self._start + position, completion)

    def on_probe(self, completion: Completion) -> None:
        """Pass on what was spent beside the calls."""
        self._callbacks.on_probe(completion)
