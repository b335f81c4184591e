"""Parts of a conversation's last response as tokens: its content, and the answer in it.

Places are looked for in the rendering itself, so that a template that rewrites a response does no harm.
The end marker belongs to neither part. A token that reaches over an edge belongs to the part.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from curate.answers.location import answer_range
from curate.core.rows import Message
from curate.models.chat import IGNORED, Rendering, TokenizedExample, render_tokens
from curate.models.spans import Span, locate_responses

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def answer_tokens(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], max_length: int
) -> list[int]:
    """Return the positions of the tokens of the last response's answer; none where it has none."""
    row = render_tokens(tokenizer, messages)
    content = locate_responses(tokenizer, row.messages, row.text)[-1]
    place = answer_range(row.text[slice(*content)]) if content else None
    if content is None or place is None:
        return []
    positions = _tokens_in(row, (content[0] + place[0], content[0] + place[1]))
    # An answer that the limit cuts is none.
    return positions if positions and positions[-1] < max_length else []


def content_example(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], max_length: int
) -> TokenizedExample | None:
    """Return a conversation up to its last content, which alone is labelled; None if it is too long."""
    row = render_tokens(tokenizer, messages)
    content = locate_responses(tokenizer, row.messages, row.text)[-1]
    positions = _tokens_in(row, content) if content else []
    if not positions or positions[0] == 0 or positions[-1] >= max_length:
        return None
    start, stop = positions[0], positions[-1] + 1
    return TokenizedExample(row.ids[:stop], [IGNORED] * start + row.ids[start:stop])


def _tokens_in(row: Rendering, span: Span) -> list[int]:
    return [i for i, (start, end) in enumerate(row.offsets) if start < span[1] and end > span[0]]
