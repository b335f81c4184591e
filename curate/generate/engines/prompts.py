"""The token ids that a model with a tokenizer of its own reads for a request."""

from typing import TYPE_CHECKING

from curate.generate.requests import Request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", request: Request) -> list[int]:
    """Return a request as token ids.

    A conversation is rendered in the chat template, which brings its own special tokens. A raw prompt
    gets those that the tokenizer puts before any text (Llama's begin token), once; special tokens
    that are written in it are read as such.

    Raises:
        ValueError: the chat template refuses the conversation.
    """
    if request.prompt is None:
        text = _render(tokenizer, request)
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
    opening = tokenizer.bos_token
    written = bool(opening) and request.prompt.startswith(str(opening))
    ids = tokenizer(request.prompt, add_special_tokens=not written)["input_ids"]
    # A few tokenizers also close every text.
    if not written and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]
    return ids


def _render(tokenizer: "PreTrainedTokenizerBase", request: Request) -> str:
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in request.messages],
            tokenize=False,
            add_generation_prompt=True,
        )
    except TemplateError as error:
        raise ValueError(f"the model's chat template refuses the conversation: {error}") from error
    return str(text) + request.prefix
