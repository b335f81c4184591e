"""Chat rendering: the text that the base model reads, and which of its tokens are responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.errors import UserError
from curate.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100


@dataclass(frozen=True)
class Example:
    """Token ids of a rendered row, and labels that are IGNORED outside the assistant's turns."""

    ids: list[int]
    labels: list[int]


def render(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> str:
    """Return a whole conversation in the model's chat template."""
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False))


def tokenise(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[Message]], max_length: int | None
) -> list[list[int]]:
    """Return the token ids of rendered rows; more than max_length are cut off the end.

    Special tokens are part of the template, so none are added.
    """
    if not rows:
        return []
    texts = [render(tokenizer, messages) for messages in rows]
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [row[:max_length] for row in ids]


def build_example(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], max_length: int
) -> Example:
    """Return a row as ids and labels: the assistant's text and its end marker are labelled.

    Raises:
        UserError: the chat template rewrites earlier turns when later ones follow.
    """
    text = render(tokenizer, messages)
    spans = _response_spans(tokenizer, messages, text)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    labels = [
        token if any(start <= a and b <= end and a < b for start, end in spans) else IGNORED
        for token, (a, b) in zip(ids, offsets, strict=True)
    ]
    return Example(ids[:max_length], labels[:max_length])


def _response_spans(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], text: str
) -> list[tuple[int, int]]:
    spans = []
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        head = str(
            tokenizer.apply_chat_template(
                list(messages[:i]), tokenize=False, add_generation_prompt=True
            )
        )
        whole = render(tokenizer, messages[: i + 1])
        if not (text.startswith(whole) and whole.startswith(head)):
            raise UserError(
                "the model's chat template changes earlier turns when later ones follow, so its "
                "responses cannot be told from the prompt; use a model with a plain template"
            )
        # White space after the end marker is never generated.
        spans.append((len(head), len(whole.rstrip())))
    return spans
