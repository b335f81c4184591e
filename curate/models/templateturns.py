r"""Turns as a chat template takes them: tools, calls and reasoning under the template's own names.

{"role": "assistant", "content": "42", "reasoning": "6 x 7"}

    {"role": "assistant", "content": "42", "reasoning_content": "6 x 7"}          Qwen3
    {"role": "assistant", "content": "42", "thinking": "6 x 7"}                   gpt-oss
    {"role": "assistant", "content": "<think>\n6 x 7\n</think>\n\n42"}       a template without a field

Tags are how data sets without a field write reasoning down, so such a row is read as theirs are.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from curate.core.jsontypes import JSON
from curate.core.rows import Message
from curate.pool.turnforms import (
    function_schema,
    openai_turns,
    reasoning_in_content,
    tool_schemas,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OPENAI_KEY = "reasoning_content"
REASONING_KEYS = (OPENAI_KEY, "thinking", "reasoning")


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
    return {**message, "content": reasoning_in_content(message), "reasoning": None}


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
    """Return the turns in OpenAI's form, reasoning under the template's own name for it."""
    key = _reasoning_key(str(tokenizer.chat_template)) or OPENAI_KEY
    turns = openai_turns(messages)
    for turn in turns:
        # What is trained on is nothing that a template is told.
        turn.pop("weight", None)
        if OPENAI_KEY in turn:
            turn[key] = turn.pop(OPENAI_KEY)
    return turns


def tools_of(messages: Sequence[Message]) -> list[JSON] | None:
    """Return the schemas of the functions that a conversation may call, None if there are none."""
    tools = tool_schemas(messages[0].get("tools")) if messages else None
    return [function_schema(schema) for schema in tools] if tools else None


@lru_cache(maxsize=8)
def _reasoning_key(template: str) -> str | None:
    """Return the name under which a template reads a turn's reasoning, None if it reads none."""
    for key in REASONING_KEYS:
        if re.search(rf"""\.{key}\b|['"]{key}['"]\s*(?:\]|in\b)""", template):
            return key
    return None
