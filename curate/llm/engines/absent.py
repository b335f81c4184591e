"""The engine of those who ask nothing."""

from collections.abc import Sequence
from typing import Any

from curate.core.errors import UserError
from curate.llm.engines.engine import NO_CALLBACKS, EngineCallbacks
from curate.llm.requests import Call, Completion, Request

ABSENT = "none"


class AbsentEngine:
    """No model at all: whoever asks it is told so."""

    exact = True

    def identity(self) -> dict[str, Any]:
        """Return that there is none."""
        return {"engine": ABSENT}

    def complete(
        self, calls: Sequence[Call], callbacks: EngineCallbacks = NO_CALLBACKS
    ) -> list[Completion]:
        """Refuse all calls.

        Raises:
            UserError: always.
        """
        raise UserError(
            "there is no engine: the method says that it asks nothing; let `asks` be True"
        )

    def count_prompt(self, request: Request) -> int:
        """Return 0: nothing reads it."""
        return 0

    def count_tokens(self, text: str) -> int:
        """Return 0: nothing reads it."""
        return 0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return 0."""
        return 0.0

    def close(self) -> None:
        """Do nothing."""
