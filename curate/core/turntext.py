"""The text of turns in frames: what `curate.core.rows.turn_text` returns for one message.

{"role": "assistant", "content": "Let me look.", "tool_calls": [{"name": "search", "arguments": "{}"}]}

    Let me look.
    search {}
"""

from typing import cast

import polars as pl

from curate.core.rows import Message

# What a model reads of a row: see conversations.
CONVERSATION = ("messages", "tools")


def text_of_turn(*, reasoning: bool = True) -> pl.Expr:
    """Return all that an element of `messages` says, a line each: for `list.eval`."""
    return _turn_text(pl.element().struct, reasoning=reasoning)


def text_of_struct(column: str = "messages") -> pl.Expr:
    """Return all that the turns of an exploded column say."""
    return _turn_text(pl.col(column).struct, reasoning=True)


def _turn_text(turn: "pl.expr.struct.ExprStructNameSpace", *, reasoning: bool) -> pl.Expr:
    call = pl.element().struct
    one_call = pl.concat_str(call.field("name"), call.field("arguments"), separator=" ")
    calls = turn.field("tool_calls").list.eval(one_call).list.join("\n")
    content = turn.field("content").replace("", None)
    texts = [turn.field("reasoning")] if reasoning else []
    return pl.concat_str(*texts, content, calls, separator="\n", ignore_nulls=True)


def conversations(rows: pl.DataFrame) -> list[list[Message]]:
    """Return the turns of rows for a model to read: the tools of a row stand in its first turn.

    Args:
        rows: CONVERSATION.
    """
    turns = [list(map(_without_nulls, messages)) for messages in rows["messages"].to_list()]
    for messages, tools in zip(turns, rows["tools"].to_list(), strict=True):
        if tools:
            messages[0]["tools"] = tools
    return turns


def _without_nulls(message: Message) -> Message:
    return cast(Message, {key: value for key, value in message.items() if value is not None})
