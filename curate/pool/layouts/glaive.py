r"""Conversations with functions as Glaive writes them: a system text with schemas, and a transcript.

system   SYSTEM: You have these functions - {"name": "rate", ...}
chat     USER: And now?
         ASSISTANT: <functioncall> {"name": "rate", "arguments": '{"to": "USD"}'} <|endoftext|>
         FUNCTION RESPONSE: {"rate": 0.9}
         ASSISTANT: It is 0.9. <|endoftext|>

In the first version both are one text, `sample`. The schemas become the row's tools, and what
stands before them its system turn.
"""

import json
import re
from typing import Any

from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.pool.layouts.calls import read_calls, read_tools
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles

SYSTEM, CHAT, SAMPLE = "system", "chat", "sample"
END, CALL, SYSTEM_MARK = "<|endoftext|>", "<functioncall>", "SYSTEM:"
OPENING = re.compile(r"(?:^|\n+)(USER|ASSISTANT|FUNCTION RESPONSE): ?")
ROLES = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
# Arguments are JSON text within single quotation marks.
QUOTED_CALL = re.compile(r"""\{\s*"name":\s*"([^"]+)",\s*"arguments":\s*'(.*)'\s*\}""", re.S)


class GlaiveLayout:
    """A transcript of USER, ASSISTANT and FUNCTION RESPONSE beside a system text with schemas."""

    name = "glaive"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the field with the transcript."""
        chat, sample = record.get(CHAT), record.get(SAMPLE)
        if isinstance(chat, str) and OPENING.match(chat):
            return (CHAT,)
        if not isinstance(sample, str) or not OPENING.search(sample):
            return ()
        return (SAMPLE,) if sample.lstrip().startswith((SYSTEM_MARK, "USER:")) else ()

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns.

        Raises:
            RecordFault: a call or a schema is not as it must be.
        """
        (field,) = self.matched_fields(record)
        before, *parts = OPENING.split(str(record[field]).strip())
        spoken = zip(parts[::2], parts[1::2], strict=True)
        example = ConversationTurns([_turn(ROLES[n], text, field) for n, text in spoken], {field})
        system = before if field == SAMPLE else record.get(SYSTEM)
        if isinstance(system, str):
            where = SYSTEM if field == CHAT else SAMPLE
            example.used.add(where)
            text, schemas = _system_and_schemas(system, where)
            example.tools = read_tools(schemas, where) if schemas else None
            example.turns[:0] = [{"role": "system", "content": text}] if text else []
        return example


def _turn(role: str, text: str, where: str) -> Message:
    said = text.replace(END, "").strip()
    before, called, call = said.partition(CALL)
    if role != "assistant" or not called:
        return {"role": role, "content": said}
    quoted = QUOTED_CALL.fullmatch(call.strip())
    parsed = [{"name": quoted[1], "arguments": quoted[2]}] if quoted else call.strip()
    return {"role": role, "content": before.strip(), "tool_calls": read_calls(parsed, where)}


def _system_and_schemas(system: str, where: str) -> tuple[str, list[Any]]:
    """Return the text before the first schema, and the schemas.

    Raises:
        RecordFault: something else stands behind them.
    """
    text, brace, rest = system.strip().removeprefix(SYSTEM_MARK).strip().partition("{")
    rest, schemas = brace + rest, []
    while rest:
        try:
            schema, end = json.JSONDecoder().raw_decode(rest)
        except ValueError as error:
            raise RecordFault(Reason.WRONG_TYPE, f"{where}: a schema is no JSON") from error
        schemas.append(schema)
        rest = rest[end:].lstrip(", \n\r\t")
    return text.strip(), schemas
