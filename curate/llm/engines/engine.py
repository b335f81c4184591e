"""What every engine is: a language model that completes calls, wherever it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from curate.llm.requests import Call, Completion, Request


class EngineCallbacks(Protocol):
    """Whom an engine asks before it sends, and tells as soon as something has come."""

    def reserve_call(self) -> bool:
        """Return whether one more call may be sent, and count it if so."""
        ...

    def on_completion(self, position: int, completion: Completion) -> None:
        """Take the completion of the call at this position; each that was sent is told once."""
        ...

    def on_probe(self, completion: Completion) -> None:
        """Take what was spent beside the calls, on finding out what a server can do."""
        ...


class NoCallbacks:
    """A callbacks that lets everything pass."""

    def reserve_call(self) -> bool:
        """Let it pass."""
        return True

    def on_completion(self, position: int, completion: Completion) -> None:
        """Do nothing."""

    def on_probe(self, completion: Completion) -> None:
        """Do nothing."""


NO_CALLBACKS = NoCallbacks()


@dataclass(frozen=True)
class ChatPrefix:
    """What a chat template writes before and after the words of the first user turn."""

    before: str
    after: str


class Engine(Protocol):
    """Completes calls in batches."""

    def identity(self) -> dict[str, Any]:
        """Return what can change an answer: kind, model, template. No address and no secret."""
        ...

    def complete(
        self, calls: Sequence[Call], callbacks: EngineCallbacks = NO_CALLBACKS
    ) -> list[Completion]:
        """Return one completion a call, in their order.

        What fails for one call alone comes back as a completion with finish "failed".

        Raises:
            UserError: the engine cannot be used at all as it is configured.
        """
        ...

    def count_prompt(self, request: Request) -> int:
        """Return the prompt's tokens (an estimate where `exact` is false)."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return a text's tokens (an estimate where `exact` is false)."""
        ...

    @property
    def exact(self) -> bool:
        """Return whether tokens are counted by the model's own tokenizer."""
        ...

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of so many tokens; 0 for a model of one's own."""
        ...

    def close(self) -> None:
        """Give back memory and connections."""
        ...
