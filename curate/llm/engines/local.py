"""What engines with a model in this process have in common: its tokenizer, its identity, no cost."""

from pathlib import Path
from typing import Any

from curate.llm.engines.engine import ChatPrefix
from curate.llm.engines.prompts import chat_prefix_of, prompt_ids
from curate.llm.requests import Request
from curate.models.control import text_ids
from curate.models.load import load_tokenizer


class LocalEngine:
    """An engine whose prompts are rendered and tokenised here.

    Args:
        folder: of the model.
        identity: what curate.llm.engines.loading.identify_engine says of it.
        trust: run code that the model brings.
    """

    exact = True

    def __init__(self, folder: Path, identity: dict[str, Any], *, trust: bool) -> None:
        self._tokenizer = load_tokenizer(folder, trust)
        self._identity = identity

    def identity(self) -> dict[str, Any]:
        """Return what can change an answer."""
        return dict(self._identity)

    def count_prompt(self, request: Request) -> int:
        """Return the prompt's tokens."""
        return len(prompt_ids(self._tokenizer, request))

    def count_tokens(self, text: str) -> int:
        """Return a text's tokens."""
        return len(text_ids(self._tokenizer, [text])[0])

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return 0: it runs here."""
        return 0.0

    def chat_prefix(self, system: str | None) -> ChatPrefix:
        """Return what the model's chat template writes around the words of the first user turn."""
        return chat_prefix_of(self._tokenizer, system)
