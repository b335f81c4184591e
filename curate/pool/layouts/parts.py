"""Contents of a turn that come in parts: texts, reasoning, calls of tools and what the tools answered.

[{"type": "text", "text": "Hi"}]                                               OpenAI
[{"type": "thinking", "thinking": "..."}, {"type": "tool_use", ...}]           Anthropic
[{"type": "tool_result", "tool_use_id": "c1", "content": "21:45"}]             Anthropic
{"parts": [{"text": "Hi"}, {"functionCall": {"name": "search", "args": {}}}]}  Gemini
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curate.core.jsontext import dump_json
from curate.core.reasons import Reason
from curate.core.rows import Message, ToolCall
from curate.pool.layouts.calls import read_calls
from curate.pool.layouts.example import RecordFault
from curate.pool.layouts.unread import MEDIA_FIELDS

TEXT_TYPES = (None, "text", "input_text", "output_text")
REASONING_TYPES = ("thinking", "reasoning")
NO_TEXT = ("inlineData", *MEDIA_FIELDS)


@dataclass
class ContentParts:
    """What the parts of a content are: texts, reasoning, calls, and answers of tools as turns."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)

    @property
    def plain(self) -> bool:
        """Return whether there are texts alone."""
        return not (self.reasoning or self.calls or self.results)


def read_parts(content: Any, where: str) -> ContentParts:
    """Return the parts of a content.

    Raises:
        RecordFault: it is no text and no list of parts, or one of them is an image, say.
    """
    if isinstance(content, str):
        return ContentParts([content])
    if isinstance(content, Mapping) and isinstance(content.get("parts"), list):
        content = content["parts"]
    if not isinstance(content, list):
        raise RecordFault(Reason.WRONG_TYPE, where)
    parts = ContentParts()
    for part in content:
        _add_part(part, where, parts)
    return parts


def _add_part(part: Any, where: str, parts: ContentParts) -> None:
    if not isinstance(part, Mapping) or any(part.get(key) for key in NO_TEXT):
        raise RecordFault(Reason.UNSUPPORTED_CONTENT, where)
    kind = part.get("type")
    thought = next((part[key] for key in REASONING_TYPES if isinstance(part.get(key), str)), None)
    if kind == "tool_use" or "functionCall" in part:
        parts.calls += read_calls(part, where)
    elif kind == "tool_result":
        text = content_text(part.get("content") or "", f"{where}.content")
        parts.results.append(_result(text, call=part.get("tool_use_id")))
    elif isinstance(response := part.get("functionResponse"), Mapping):
        text = dump_json(response.get("response"))
        parts.results.append(_result(text, call=response.get("id"), name=response.get("name")))
    elif thought is not None and not part.get("text"):
        parts.reasoning.append(thought)
    elif isinstance(part.get("text"), str) and kind in (*TEXT_TYPES, *REASONING_TYPES):
        inner = bool(part.get("thought")) or kind in REASONING_TYPES
        (parts.reasoning if inner else parts.texts).append(part["text"])
    else:
        raise RecordFault(Reason.UNSUPPORTED_CONTENT, where)


def _result(text: str, *, call: Any = None, name: Any = None) -> Message:
    message: Message = {"role": "tool", "content": text}
    if isinstance(call, str):
        message["tool_call_id"] = call
    if isinstance(name, str):
        message["name"] = name
    return message


def content_text(content: Any, where: str, between: str = "") -> str:
    """Return the text of a turn: a text, or parts that are all text, with this between them.

    Raises:
        RecordFault: it holds anything else.
    """
    parts = read_parts(content, where)
    if not parts.plain:
        raise RecordFault(Reason.UNSUPPORTED_CONTENT, where)
    return between.join(parts.texts)
