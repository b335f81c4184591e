"""Routes by which rows get a new response: what they become, and how one is asked for in other words."""

from collections.abc import Sequence
from dataclasses import dataclass

from curate.core.rows import Message, response_text
from curate.llm.asking import question_text
from curate.llm.prompts import MethodPrompts


@dataclass(frozen=True)
class Route:
    """Replacement of a row: its new turns, and the route by which they were found."""

    row_id: str
    route: str
    messages: Sequence[Message]


def answered(messages: Sequence[Message], text: str) -> list[Message]:
    """Return a conversation with another response at its end."""
    return [*messages[:-1], {"role": "assistant", "content": text}]


def rephrasing(messages: Sequence[Message], prompts: MethodPrompts) -> list[Message]:
    """Return what asks for a gold response in other words, behind the row's system turn."""
    head = [m for m in messages[:1] if m["role"] == "system"]
    question, response = question_text(messages[len(head) :]), response_text(messages)
    return [*head, *prompts["rephrase"].fill(prompt=question, response=response)]
