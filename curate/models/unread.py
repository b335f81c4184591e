"""Rows of which a method can read no response, counted before any model reads a row.

rows without a score: 3, since no response token lies within its max_length of 64 tokens

Only rows that may be such are rendered: a token has at least one byte, so a row whose prompt has fewer
bytes than the limit has tokens holds some of its response.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.core.tables import TablePaths, scan_table
from curate.core.turntext import CONVERSATION, conversations, text_of_turn
from curate.core.workload import ResponseLimit
from curate.models.acceptance import accepted_messages, find_fault
from curate.models.chat import IGNORED, build_example, render

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# More are not rendered: their number is estimated from so many.
SAMPLE_ROWS = 2_000
# A response of at least so many bytes for each token that it must have is not looked at.
TOKEN_BYTES = 16
WORDS = {
    Reason.TEMPLATE_REFUSED: "the chat template of the method's model refuses them",
    Reason.TEMPLATE_REWRITTEN: "the chat template of the method's model rewrites them",
}
PROBE: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@dataclass(frozen=True)
class MethodTokenizers:
    """Who reads the rows: the base model, or the method's own model, which may refuse some of them.

    base: the base model's tokenizer; system: as models.system says; own: that of the other model.
    """

    base: "PreTrainedTokenizerBase"
    system: str
    own: "PreTrainedTokenizerBase | None" = None


def unread_sentences(
    paths: TablePaths, tokenizers: MethodTokenizers, limit: ResponseLimit
) -> list[str]:
    """Return what is to be told of the rows of a table that a method cannot score, by reason."""
    rows = scan_table(paths)
    if tokenizers.own is None:
        rows = rows.filter(_may_be_unread(tokenizers, limit))
    ids = rows.select("row_id").collect()["row_id"]
    drawn = ids if len(ids) <= SAMPLE_ROWS else ids.sample(SAMPLE_ROWS, seed=0)
    read = rows.filter(pl.col("row_id").is_in(drawn.implode())).select(*CONVERSATION).collect()
    counts = Counter(_why_unread(tokenizers, messages, limit) for messages in conversations(read))
    about = "about " if len(drawn) < len(ids) else ""
    return [
        f"rows without a score: {about}{round(count * len(ids) / len(drawn)):,}, since {reason}"
        for reason, count in counts.most_common()
        if reason is not None
    ]


def _may_be_unread(tokenizers: MethodTokenizers, limit: ResponseLimit) -> pl.Expr:
    sizes = pl.col("messages").list.eval(text_of_turn().str.len_bytes())
    template = len(render(tokenizers.base, PROBE).encode())
    before = sizes.list.sum() - sizes.list.last()
    # A turn's share of the template, for each turn.
    rest = template * sizes.list.len()
    long = before + rest >= limit.max_length - TOKEN_BYTES * (limit.tokens - 1)
    return long | (sizes.list.last() < TOKEN_BYTES * (limit.tokens - 1))


def _why_unread(
    tokenizers: MethodTokenizers, messages: Sequence[Message], limit: ResponseLimit
) -> str | None:
    """Return why a row has no score; None if it has one, or is dropped before it could."""
    accepted = accepted_messages(tokenizers.base, messages, tokenizers.system)
    if accepted is None or find_fault(tokenizers.base, accepted) is not None:
        return None
    if tokenizers.own is not None and (fault := find_fault(tokenizers.own, accepted)):
        return WORDS[fault[0]]
    labels = build_example(tokenizers.own or tokenizers.base, accepted, limit.max_length).labels
    # Nothing predicts the first token of a row.
    tokens = sum(label != IGNORED for label in labels[1:])
    if not tokens:
        return f"no response token lies within {limit.setting} of {limit.max_length:,} tokens"
    few = f"fewer than {limit.tokens:,} response tokens lie within {limit.setting}"
    return few if tokens < limit.tokens else None
