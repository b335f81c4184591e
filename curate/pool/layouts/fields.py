"""Fields that a recipe names, for records in no known layout.

fields: {prompt: query, response: "replies[0].text", origin: topic}
fields: {messages: body.messages, system: body.system, roles: {humain: user}}
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate.core.reasons import Reason
from curate.pool.layouts.calls import read_tools
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.messages import read_listed
from curate.pool.layouts.pairs import PairLayout, add_response, field_text, read_prompt
from curate.pool.layouts.parts import content_text
from curate.pool.layouts.rejected import add_rejected, opens_conversation

STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
ABSENT = object()


@dataclass(frozen=True)
class FieldsLayout:
    """Paths of the fields that hold the turns; what a recipe does not name goes to meta.

    unanswered: the response may be missing.
    """

    name = "fields"
    messages: str | None = None
    prompt: str | None = None
    context: str | None = None
    response: str | None = None
    system: str | None = None
    origin: str | None = None
    tools: str | None = None
    rejected: str | None = None
    unanswered: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the paths that every record must have."""
        return tuple(path for path in (self.messages, self.prompt, self.response) if path)

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the paths that a recipe names: those that hold for every record, and others in it."""
        others = (self.context, self.system, self.origin, self.tools, self.rejected)
        present = [path for path in others if path and find_value(record, path) is not ABSENT]
        return (*self.needs, *present)

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns.

        Raises:
            RecordFault: a named field is missing, or holds no text.
        """
        paths = (
            *(self.messages, self.prompt, self.response, self.context, self.system),
            *(self.tools, self.rejected),
        )
        values = {path: find_value(record, path) for path in paths if path}
        for path in self.needs:
            if values[path] not in (ABSENT, None):
                continue
            values[path] = ABSENT
            if path != self.response or not self.unanswered:
                raise RecordFault(Reason.MISSING_FIELD, path)
        given = {path: value for path, value in values.items() if value is not ABSENT}
        if self.messages:
            example = read_listed(given[self.messages], self.messages, roles)
        else:
            example = self._pair(given, roles)
        self._add_system(example, given)
        if self.tools and given.get(self.tools):
            example.tools = read_tools(given[self.tools], self.tools)
        if self.rejected and given.get(self.rejected):
            turns = read_listed(given[self.rejected], self.rejected, roles).turns
            if opens_conversation(turns):
                add_rejected(example, turns, self.rejected, record)
            else:
                example.rejected = turns
        example.used |= {path for path in (self.tools, self.rejected) if path in given}
        # What lies within a field is taken out of it; what is one of a list stays there.
        example.beside |= _rest(record, [path for path in example.used if path not in record])
        example.used |= example.beside.keys() & record.keys()
        return example

    def _pair(self, given: Record, roles: Roles) -> ConversationTurns:
        assert self.prompt, "the recipe has been checked"
        contexts = (self.context,) if self.context else ()
        example = read_prompt(
            given, PairLayout(self.name, self.prompt, self.response or "", contexts), roles
        )
        if self.response and self.response in given:
            add_response(example, given, self.response, roles)
        return example

    def _add_system(self, example: ConversationTurns, given: Record) -> None:
        if self.system and given.get(self.system):
            value = given[self.system]
            listed = isinstance(value, list)
            text = content_text(value, self.system) if listed else field_text(given, self.system)
            example.turns.insert(0, {"role": "system", "content": text})
            example.used.add(self.system)


def find_value(record: Record, path: str) -> Any:
    """Return what stands at a path, such as body.messages or answers.text[0]; ABSENT if nothing does.

    A field whose own name is the path comes first.
    """
    if path in record:
        return record[path]
    value: Any = record
    for key, position in STEP.findall(path):
        if position and isinstance(value, list) and int(position) < len(value):
            value = value[int(position)]
        elif key and isinstance(value, Mapping) and key in value:
            value = value[key]
        else:
            return ABSENT
    return value


def _rest(record: Record, paths: list[str]) -> dict[str, Any]:
    """Return the fields that paths lead into, without what they lead to."""
    rest: dict[str, Any] = {}
    for path in paths:
        keys = path.split(".")
        if "[" in path or keys[0] not in record:
            continue
        rest[keys[0]] = _without(rest.get(keys[0], record[keys[0]]), keys[1:])
    return rest


def _without(value: Any, keys: list[str]) -> Any:
    if not keys or not isinstance(value, dict) or keys[0] not in value:
        return value
    if len(keys) == 1:
        return {k: v for k, v in value.items() if k != keys[0]}
    return {**value, keys[0]: _without(value[keys[0]], keys[1:])}
