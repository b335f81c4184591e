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
    """Token ids of a rendered row, and labels that are IGNORED outside the assistant's turns.

    cut says that the row was longer than the limit.
    """

    ids: list[int]
    labels: list[int]
    cut: bool = False


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
        # By the end alone: tokenizers may give a space no width, or join it to the header's line break.
        token if any(start < stop <= end for start, end in spans) else IGNORED
        for token, (_, stop) in zip(ids, offsets, strict=True)
    ]
    return Example(ids[:max_length], labels[:max_length], len(ids) > max_length)


def _response_spans(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], text: str
) -> list[tuple[int, int]]:
    spans = []
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        whole = render(tokenizer, messages[: i + 1])
        if i == 0:
            # No template renders an empty conversation, so the header ends where the text begins.
            head = whole[: max(whole.rfind(message["content"].strip()), 0)]
        else:
            head = str(
                tokenizer.apply_chat_template(
                    list(messages[:i]), tokenize=False, add_generation_prompt=True
                )
            )
        if not (text.startswith(whole) and whole.startswith(head)):
            raise UserError(
                "the model's chat template changes earlier turns when later ones follow, so its "
                "responses cannot be told from the prompt; use a model with a plain template"
            )
        # White space after the end marker is never generated.
        spans.append((len(head), len(whole.rstrip())))
    return spans
