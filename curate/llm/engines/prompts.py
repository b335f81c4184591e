"""What a model with a tokenizer of its own reads: the token ids of a request, and its chat template."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from curate.core.errors import UserError
from curate.llm.engines.engine import ChatPrefix
from curate.llm.requests import Request
from curate.models.chat import prompt_tokens
from curate.models.control import SENTINEL
from curate.models.load import FALLBACK_TEMPLATE
from curate.models.spans import template_faults

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", request: Request) -> list[int]:
    """Return a request as token ids.

    A conversation is rendered in the chat template, which brings its own special tokens; those that
    its messages or its prefix hold are read as text. A raw prompt gets those that the tokenizer puts
    before any text (Llama's begin token), once; special tokens that are written in it are read as such.

    Raises:
        ValueError: the chat template refuses the conversation.
    """
    if request.prompt is None:
        return _conversation_ids(tokenizer, request)
    opening = tokenizer.bos_token
    written = bool(opening) and request.prompt.startswith(str(opening))
    ids: list[int] = tokenizer(request.prompt, add_special_tokens=not written)["input_ids"]
    # A few tokenizers also close every text.
    if not written and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]
    return ids


def _conversation_ids(tokenizer: "PreTrainedTokenizerBase", request: Request) -> list[int]:
    try:
        return prompt_tokens(tokenizer, request.messages, request.prefix)
    except template_faults() as error:
        raise ValueError(f"the model's chat template refuses the conversation: {error}") from error


def stop_ids(tokenizer: "PreTrainedTokenizerBase", stops: Sequence[str]) -> list[int]:
    """Return the ids of those stop strings that are special tokens: no decoded text shows them."""
    if not stops:
        return []
    special = set(tokenizer.all_special_ids)
    ids = [tokenizer.convert_tokens_to_ids(stop) for stop in stops]
    return [token for token in ids if token in special]


def chat_prefix_of(tokenizer: "PreTrainedTokenizerBase", system: str | None) -> ChatPrefix:
    """Return what the chat template writes before and after the words of the first user turn.

    Raises:
        UserError: the model has no chat template, or one that does not write the words as they are.
    """
    if str(tokenizer.chat_template).endswith(FALLBACK_TEMPLATE):
        raise UserError("the model has no chat template of its own, so it knows no user's turn")
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": SENTINEL})
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except template_faults() as error:
        raise UserError(f"the model's chat template refuses the conversation: {error}") from error
    before, *after = text.split(SENTINEL)
    if len(after) != 1 or not after[0].strip():
        raise UserError("the model's chat template does not mark where a user's turn ends")
    return ChatPrefix(before, after[0].strip())
