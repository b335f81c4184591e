"""Columns of rows hold what the rows do."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.core.rows import SCHEMA, content_hash, text_hash
from curate.pool.rowcolumns import SourceRow, rows_table

PLAIN: dict[str, Any] = {"role": st.sampled_from(["user", "assistant"]), "content": st.text()}
CALL = st.fixed_dictionaries({"name": st.text(), "arguments": st.just("{}")})
TURN = st.fixed_dictionaries(
    PLAIN,
    optional={"weight": st.just(0), "reasoning": st.text(), "tool_calls": st.lists(CALL)},
)
TURNS = st.lists(st.fixed_dictionaries(PLAIN), max_size=3)
ROW = st.builds(
    SourceRow, st.text(), TURNS, st.none() | st.text(), st.none() | TURNS, *[st.text()] * 2
)


@given(st.lists(ROW, max_size=4) | st.lists(ROW | st.builds(
    SourceRow, st.text(), st.lists(TURN, max_size=3), st.none(), st.none(), *[st.text()] * 2
), max_size=4))  # fmt: skip
def test_columns_are_those_of_the_same_rows_as_dictionaries(rows: list[SourceRow]) -> None:
    lines = [
        row._asdict()
        | {"source": "s", "parents": []}
        | {"content_hash": content_hash(row.messages, row.tools)}
        | {"text_hash": text_hash(row.messages, row.tools)}
        for row in rows
    ]
    table = rows_table(rows, "s")
    table.validate(full=True)
    assert table.equals(pa.Table.from_pylist(lines, schema=SCHEMA))
