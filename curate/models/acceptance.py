r"""Whether a chat template takes a conversation, and what can be done where it does not.

system: Be brief. | user: Hi | assistant: Hello.        refused by Gemma 2, Mistral 7B, Llama 2
user: Be brief.\n\nHi | assistant: Hello.               the same, merged
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.models.chat import ask_template, has_label, refusal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MERGE = "merge"


def merge_system(messages: Sequence[Message]) -> list[Message] | None:
    """Return turns whose first one is the user's, opened by the system text; None if that cannot be."""
    system = list(takewhile(lambda message: message["role"] == "system", messages))
    rest = messages[len(system) :]
    if not system or not rest or rest[0]["role"] != "user":
        return None
    texts = [m["content"] for m in (*system, rest[0]) if m["content"].strip()]
    merged: Message = {**rest[0], "content": "\n\n".join(texts)}
    if tools := messages[0].get("tools"):
        merged["tools"] = tools
    return [merged, *rest[1:]]


def find_fault(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]
) -> tuple[Reason, str] | None:
    """Return why a conversation cannot be learned from in a chat template, None if it can."""
    answer = ask_template(tokenizer, messages)
    if answer.refusal is not None:
        return Reason.TEMPLATE_REFUSED, answer.refusal
    if not has_label(tokenizer, answer):
        return Reason.TEMPLATE_REWRITTEN, "no response is as it was"
    return None


def accepted_messages(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], system: str
) -> Sequence[Message] | None:
    """Return a conversation as a chat template takes it, its system turn merged if need be.

    None if it refuses both.

    Args:
        tokenizer: with the chat template.
        messages: the conversation.
        system: "merge" if a system turn that is refused may be merged.
    """
    if refusal(tokenizer, messages) is None:
        return messages
    merged = merge_system(messages) if system == MERGE else None
    return merged if merged is not None and refusal(tokenizer, merged) is None else None


def find_lasting_fault(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], system: str
) -> tuple[Reason, str] | None:
    """Return why a row cannot be learned from, its system turn merged if need be; None if it can."""
    return find_fault(tokenizer, accepted_messages(tokenizer, messages, system) or messages)
