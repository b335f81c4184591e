"""The text of turns in frames: what `curate.core.rows.turn_text` returns for one message.

{"role": "assistant", "content": "Let me look.", "tool_calls": [{"name": "search", "arguments": "{}"}]}

    Let me look.
    search {}
"""

from collections.abc import Iterable
from typing import cast

import polars as pl

from curate.core.rows import Message

# What a model reads of a row: see conversations.
CONVERSATION = ("messages", "tools")


def text_of_turn(*, reasoning: bool = True, calls: bool = True) -> pl.Expr:
    """Return all that an element of `messages` says, a line each: for `list.eval`."""
    return _turn_text(pl.element().struct, reasoning=reasoning, calls=calls)


def text_of_struct() -> pl.Expr:
    """Return all that the turns of exploded `messages` say."""
    return _turn_text(pl.col("messages").struct, reasoning=True, calls=True)


def _turn_text(
    turn: "pl.expr.struct.ExprStructNameSpace", *, reasoning: bool, calls: bool
) -> pl.Expr:
    call = pl.element().struct
    one_call = pl.concat_str(call.field("name"), call.field("arguments"), separator=" ")
    texts = [turn.field("content").replace("", None)]
    if reasoning:
        texts.insert(0, turn.field("reasoning"))
    if calls:
        texts.append(turn.field("tool_calls").list.eval(one_call).list.join("\n"))
    return pl.concat_str(texts, separator="\n", ignore_nulls=True)


def conversations(rows: pl.DataFrame) -> list[list[Message]]:
    """Return the turns of rows for a model to read: the tools of a row stand in its first turn.

    Args:
        rows: CONVERSATION.
    """
    turns = list(map(plain_messages, rows["messages"].to_list()))
    for messages, tools in zip(turns, rows["tools"].to_list(), strict=True):
        if tools:
            messages[0]["tools"] = tools
    return turns


def plain_messages(messages: Iterable[Message]) -> list[Message]:
    """Return turns of a frame without the keys of what they have not."""
    return [
        cast(Message, {key: value for key, value in message.items() if value is not None})
        for message in messages
    ]


def without_empty_fields(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows whose turns have only those fields beside role and content that some turn uses."""
    turns = rows.lazy().select(pl.col("messages").explode().struct.unnest())
    counts = turns.select(pl.all().count()).collect().row(0, named=True)
    kept = [name for name, count in counts.items() if count or name in ("role", "content")]
    fields = [pl.element().struct.field(name) for name in kept]
    return rows.with_columns(pl.col("messages").list.eval(pl.struct(fields)))
