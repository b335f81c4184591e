r"""Turns as a chat template takes them: tools, calls and reasoning under the template's own names.

{"role": "assistant", "content": "42", "reasoning": "6 x 7"}

    {"role": "assistant", "content": "42", "reasoning_content": "6 x 7"}          Qwen3
    {"role": "assistant", "content": "42", "thinking": "6 x 7"}                   gpt-oss
    {"role": "assistant", "content": "<think>\n6 x 7\n</think>\n\n42"}       a template without a field

Tags are how data sets without a field write reasoning down, so such a row is read as theirs are.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from curate.core.jsontypes import JSON
from curate.core.rows import Message, ToolCall

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")


def with_placed_reasoning(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]
) -> Sequence[Message]:
    """Return turns whose reasoning opens their content where the template has no field for it."""
    if not any(message.get("reasoning") for message in messages):
        return messages
    if _reasoning_key(str(tokenizer.chat_template)) is not None:
        return messages
    return list(map(_tagged, messages))


def _tagged(message: Message) -> Message:
    reasoning = message.get("reasoning")
    if not reasoning:
        return message
    content = f"<think>\n{reasoning.strip()}\n</think>\n\n{message['content']}"
    return {**message, "content": content, "reasoning": None}


def apply_template(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], *, prompt: bool = False
) -> str:
    """Return a conversation in the chat template, with the tools that stand in its first turn.

    Args:
        tokenizer: with the template.
        messages: the conversation.
        prompt: end with what opens the assistant's turn.

    Raises:
        Exception: what the template raises, see curate.models.spans.template_faults.
    """
    rendering = tokenizer.apply_chat_template(
        template_messages(tokenizer, messages),
        tools=tools_of(messages),
        tokenize=False,
        add_generation_prompt=prompt,
    )
    return str(rendering)


def template_messages(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]
) -> list[dict[str, Any]]:
    """Return the turns in the form that templates read: calls as functions, arguments as objects."""
    key = _reasoning_key(str(tokenizer.chat_template)) or REASONING_KEYS[0]
    return [_entry(message, key) for message in messages]


def tools_of(messages: Sequence[Message]) -> list[JSON] | None:
    """Return the schemas of the functions that a conversation may call, None if there are none."""
    text = messages[0].get("tools") if messages else None
    return [_as_function(schema) for schema in orjson.loads(text)] if text else None


def _as_function(schema: JSON) -> JSON:
    if isinstance(schema, Mapping) and "function" not in schema and "name" in schema:
        return {"type": "function", "function": schema}
    return schema


def _entry(message: Message, reasoning_key: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"role": message["role"], "content": message["content"]}
    if reasoning := message.get("reasoning"):
        entry[reasoning_key] = reasoning
    if calls := message.get("tool_calls"):
        entry["tool_calls"] = [_call_entry(call) for call in calls]
    further = {"tool_call_id": message.get("tool_call_id"), "name": message.get("name")}
    return entry | {key: value for key, value in further.items() if value is not None}


def _call_entry(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = orjson.loads(call["arguments"])
    except orjson.JSONDecodeError:
        # A masked value may have made it another text.
        arguments = call["arguments"]
    function = {"name": call["name"], "arguments": arguments}
    entry = {"type": "function", "function": function}
    return {"id": call["id"], **entry} if call.get("id") else entry


@lru_cache(maxsize=8)
def _reasoning_key(template: str) -> str | None:
    """Return the name under which a template reads a turn's reasoning, None if it reads none."""
    for key in REASONING_KEYS:
        if re.search(rf"""\.{key}\b|['"]{key}['"]\s*(?:\]|in\b)""", template):
            return key
    return None
