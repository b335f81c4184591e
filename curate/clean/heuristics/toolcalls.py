"""Rows with calls of tools that cannot be right, by what is wrong with the first one.

Which calls these are is curate.answers.toolcalls.
"""

import polars as pl

from curate.answers.toolcalls import call_faults, declared_functions, made_up_values

SCHEMA = pl.Schema({"tool_fault": pl.String, "tool_value": pl.String})
MARK = "<tool_call>"
# What of a response is no prose.
MARKED_CALLS = r"(?s)<tool_call>.*?(?:</tool_call>|\z)"


def find_call_faults(rows: pl.DataFrame) -> pl.DataFrame:
    """Return tool_fault and tool_value of rows, null where there is none.

    The first is the first call that cannot be right, the second the first value in a call that no turn
    before it says.

    Args:
        rows: messages and tools.
    """
    turn = pl.element().struct
    calling = turn.field("tool_calls").list.len().gt(0) | turn.field("content").str.contains(
        MARK, literal=True
    )
    at = rows.select(pl.col("messages").list.eval(calling.fill_null(value=False)).list.any())
    places = at.to_series().fill_null(value=False).arg_true()
    faults: list[str | None] = [None] * rows.height
    values: list[str | None] = [None] * rows.height
    for place, (messages, tools) in zip(
        places, rows[places].select("messages", "tools").iter_rows(), strict=True
    ):
        functions = declared_functions(tools)
        faults[place] = next(call_faults(messages, functions), None)
        values[place] = next(made_up_values(messages, functions), None)
    return pl.DataFrame({"tool_fault": faults, "tool_value": values}, schema=SCHEMA)
