"""Chat rendering: the text that the base model reads, and which of its tokens are responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import TemplateSyntaxError

from curate.core.errors import UserError
from curate.core.faults import one_line
from curate.core.rows import Message, turn_text
from curate.models.control import ControlTokenEscaper, control_tokens
from curate.models.spans import (
    locate_responses,
    omitted_part,
    response_spans,
    template_faults,
)
from curate.models.templateturns import apply_template, with_placed_reasoning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100


@dataclass(frozen=True)
class TokenizedExample:
    """Token ids of a rendered row, and labels that are IGNORED outside the assistant's turns.

    cut says that the row was longer than the limit.
    """

    ids: list[int]
    labels: list[int]
    cut: bool = False


UNLABELLED = TokenizedExample([0], [IGNORED])


def render(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> str:
    """Return a whole conversation in the model's chat template."""
    return apply_template(tokenizer, messages)


@dataclass(frozen=True)
class TemplateAnswer:
    """What a chat template makes of a conversation: its text, or the words with which it refuses it.

    messages: as the template saw them.
    """

    messages: Sequence[Message]
    text: str
    refusal: str | None = None


def ask_template(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]
) -> TemplateAnswer:
    """Return what the chat template makes of a conversation.

    One of which it silently leaves a turn out is refused as well: what is said then is ours.

    Raises:
        UserError: the template itself is broken, whatever the conversation.
    """
    messages, _ = _escaped(tokenizer, messages)
    try:
        text = render(tokenizer, messages)
    except TemplateSyntaxError as error:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} is broken: {one_line(error)}"
        ) from error
    except template_faults() as error:
        return TemplateAnswer(messages, "", one_line(error))
    part = omitted_part(tokenizer, messages)
    return TemplateAnswer(messages, text, None if part is None else f"it leaves the {part} out")


def refusal(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> str | None:
    """Return the words with which the chat template refuses a conversation; None if it takes it."""
    return ask_template(tokenizer, messages).refusal


def _escaped(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]
) -> tuple[Sequence[Message], ControlTokenEscaper | None]:
    """Return a conversation as the template is to see it, and what escaped the control tokens in it."""
    placed = with_placed_reasoning(tokenizer, messages)
    escaper = control_tokens(tokenizer).escaper(_contents(placed))
    return (placed, None) if escaper is None else (escaper.messages(placed), escaper)


def has_label(tokenizer: "PreTrainedTokenizerBase", answer: TemplateAnswer) -> bool:
    """Return whether a rendered conversation holds any of its responses, so that it can be labelled."""
    return any(locate_responses(tokenizer, answer.messages, answer.text))


def render_prompt(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> str:
    """Return a conversation in the model's chat template, up to the text of the assistant's turn."""
    return apply_template(tokenizer, messages, prompt=True)


def tokenise(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[Message]], max_length: int | None
) -> list[list[int]]:
    """Return the token ids of rendered rows; more than max_length are cut off the end.

    Special tokens are part of the template, so none are added, and what a row holds of them is text.
    """
    escaped = [_escaped(tokenizer, messages) for messages in rows]
    texts = [render(tokenizer, messages) for messages, escaper in escaped if escaper is None]
    plain = iter(tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [])
    ids = [
        next(plain) if escaper is None else escaper.ids(render(tokenizer, messages))
        for messages, escaper in escaped
    ]
    return [row[:max_length] for row in ids]


def prompt_tokens(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], prefix: str = ""
) -> list[int]:
    """Return the token ids of a conversation and of how the assistant's next turn opens."""
    messages = with_placed_reasoning(tokenizer, messages)
    escaper = control_tokens(tokenizer).escaper([*_contents(messages), prefix])
    if escaper is None:
        text = render_prompt(tokenizer, messages) + prefix
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
    text = render_prompt(tokenizer, escaper.messages(messages)) + escaper.escape(prefix)
    return escaper.ids(text)


def _contents(messages: Sequence[Message]) -> list[str]:
    return list(map(turn_text, messages))


@dataclass(frozen=True)
class Rendering:
    """A conversation in the chat template: its messages as the template saw them, text and tokens."""

    messages: Sequence[Message]
    text: str
    ids: list[int]
    offsets: list[tuple[int, int]]


def render_tokens(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> Rendering:
    """Return a conversation as text and tokens, with where in the text each token stands."""
    messages, escaper = _escaped(tokenizer, messages)
    text = render(tokenizer, messages)
    encoding = None if escaper is None else escaper.encoding(text)
    if encoding is not None:
        return Rendering(messages, text, encoding.ids, encoding.offsets)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return Rendering(messages, text, encoded["input_ids"], encoded["offset_mapping"])


def build_example(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], max_length: int
) -> TokenizedExample:
    """Return a row as ids and labels: the assistant's text and its end marker are labelled.

    What the chat template leaves out of a turn (earlier reasoning, say) has no label, and a turn of
    weight 0 has none.
    """
    row = render_tokens(tokenizer, messages)
    turns = [message for message in row.messages if message["role"] == "assistant"]
    spans = [
        span
        for turn, span in zip(turns, response_spans(tokenizer, row.messages, row.text), strict=True)
        if span and turn.get("weight") != 0
    ]
    labels = [
        # By the end alone: tokenizers may give a space no width, or join it to the header's line break.
        token if any(start < stop <= end for start, end in spans) else IGNORED
        for token, (_, stop) in zip(row.ids, row.offsets, strict=True)
    ]
    return TokenizedExample(row.ids[:max_length], labels[:max_length], len(row.ids) > max_length)


def build_examples(
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[Sequence[Message]],
    max_length: int,
    *,
    judges: bool = False,
) -> list[TokenizedExample]:
    """Return rows as ids and labels, in their order.

    Args:
        tokenizer: with the chat template.
        rows: conversations.
        max_length: tokens; longer rows are cut at the end.
        judges: whether the template may refuse rows, since they were judged by that of another model;
            such a row has no label.
    """
    return [
        UNLABELLED
        if judges and refusal(tokenizer, row) is not None
        else build_example(tokenizer, row, max_length)
        for row in rows
    ]
