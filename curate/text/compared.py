"""The text of a row that duplicate stages compare: its whole example, its prompt or its response."""

from typing import Literal

import polars as pl

from curate.core.turntext import text_of_turn

Compared = Literal["example", "prompt", "response"]


def compared_text(compare: Compared) -> pl.Expr:
    """Return what of a row is compared: the texts of its turns but the system's, a line break between.

    The prompt is all of them but the last, which is the response.
    """
    turn = pl.element().struct
    turn_text = pl.when(turn.field("role") != "system").then(text_of_turn()).drop_nulls()
    turns = pl.col("messages").list.eval(turn_text)
    if compare == "response":
        return turns.list.last()
    chosen = turns.list.slice(0, turns.list.len() - 1) if compare == "prompt" else turns
    return chosen.list.join("\n")
