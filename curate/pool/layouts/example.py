"""A conversation read from a record: its turns, the fields that they were made of, and what is left."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curate.core.jsontypes import JSON
from curate.core.reasons import Reason
from curate.core.rows import Message

Record = Mapping[str, JSON]
Roles = Mapping[str, str]


class RecordFault(Exception):
    """A record that makes no row: the reason and the field at fault."""

    def __init__(self, reason: Reason, field: str) -> None:
        super().__init__(f"{reason}: {field}")
        self.reason = reason
        self.field = field


@dataclass
class ConversationTurns:
    """The turns of one conversation.

    used: fields of the record that stand in the turns with all that they hold.
    beside: by field, what a used one holds beside the text of its turns.
    aside: fields of a conversation that go to meta by intent, such as further right answers.
    tools: the schemas of the functions that may be called, as JSON.
    rejected: of a preference record the turns of the answer that was not preferred.
    ends: of a prompt that is written by a chat template, the marks with which its answer may end.
    """

    turns: list[Message]
    used: set[str]
    beside: dict[str, Any] = field(default_factory=dict)
    aside: frozenset[str] = frozenset()
    tools: str | None = None
    rejected: list[Message] | None = None
    ends: tuple[str, ...] = ()

    def left(self, record: Record) -> dict[str, Any]:
        """Return the upstream fields that have no column of their own."""
        return {k: v for k, v in record.items() if k not in self.used} | self.beside
