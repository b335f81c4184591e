"""Rows as the columns of a table, built column by column: a frame of dictionaries takes much longer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.arrowarrays import number_array, text_array, text_scalar
from curate.core.rows import MESSAGES, SCHEMA, Message
from curate.pool.containers.lines import LineBlock
from curate.pool.layouts.plain import TextTurns
from curate.pool.layouts.plainlines import PlainLines
from curate.pool.rowhashes import PlainTurns, row_hashes


class SourceRow(NamedTuple):
    """A row as it is read from a source: what its columns differ in."""

    row_id: str
    messages: Sequence[Message]
    tools: str | None
    rejected: Sequence[Message] | None
    origin: str
    meta: str


class PlainRow(NamedTuple):
    """A row without tools or other answers, each turn of which is a role and a text."""

    row_id: str
    turns: TextTurns
    origin: str
    meta: str


def rows_table(rows: Sequence[SourceRow], source: str) -> pa.Table:
    """Return rows of one source as a table (curate.core.rows.SCHEMA)."""
    conversations, tools = [row.messages for row in rows], [row.tools for row in rows]
    turns = PlainTurns.of_messages(conversations)
    content_hashes, text_hashes = (
        turns.hashes() if turns and not any(tools) else row_hashes(conversations, tools)
    )
    columns = {
        "row_id": [row.row_id for row in rows],
        "messages": plain_messages(turns) if turns else conversations,
        "tools": tools,
        "rejected": [row.rejected for row in rows],
        "content_hash": content_hashes,
        "text_hash": text_hashes,
        "origin": [row.origin for row in rows],
        "meta": [row.meta for row in rows],
    }
    return _table(columns, source, len(rows))


def plain_table(rows: Sequence[PlainRow], source: str) -> pa.Table:
    """Return rows of one source as a table."""
    turns = PlainTurns.of([row.turns for row in rows])
    content_hashes, text_hashes = turns.hashes()
    columns = {
        "row_id": [row.row_id for row in rows],
        "messages": plain_messages(turns),
        "content_hash": content_hashes,
        "text_hash": text_hashes,
        "origin": [row.origin for row in rows],
        "meta": [row.meta for row in rows],
    }
    return _table(columns, source, len(rows))


def lines_table(lines: PlainLines, block: LineBlock, source: str, file: str) -> pa.Table:
    """Return rows of lines of a block, in a file of this name, as a table."""
    name = f"{file}/{block.part}" if block.part else file
    turns = PlainTurns(lines.turns.roles, lines.turns.texts, np.cumsum(lines.turns.counts).tolist())
    content_hashes, text_hashes = turns.hashes()
    positions = pc.cast(number_array(lines.numbers + block.first), pa.string())
    origins = lines.origins
    columns = {
        "row_id": pc.binary_join_element_wise(
            text_scalar(f"{source}/{name}:"), positions, text_scalar("")
        ),
        "messages": plain_messages(turns),
        "content_hash": content_hashes,
        "text_hash": text_hashes,
        "origin": pa.repeat(text_scalar(name.split(".")[0]), len(positions))
        if origins is None
        else origins,
        "meta": lines.metas,
    }
    return _table(columns, source, len(positions))


def _table(columns: Mapping[str, pa.Array | Sequence[Any]], source: str, count: int) -> pa.Table:
    """Return columns of rows of one source as a table; those that are not given have no value."""
    arrays = {
        name: column if isinstance(column, pa.Array) else _array(column, SCHEMA.field(name).type)
        for name, column in columns.items()
    }
    arrays |= {
        "source": pa.repeat(text_scalar(source), count),
        "parents": pa.ListArray.from_arrays(
            number_array(np.zeros(count + 1, np.int32)), text_array([])
        ).cast(SCHEMA.field("parents").type),
    }
    return pa.table(
        [arrays.get(field.name, pa.nulls(count, field.type)) for field in SCHEMA], schema=SCHEMA
    )


def _array(column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return values of a column as an array of its type."""
    if all(value is None for value in column):
        return pa.nulls(len(column), kind)
    texts = pa.types.is_string(kind) and None not in column
    return text_array(column) if texts else pa.array(column, kind)


def plain_messages(turns: PlainTurns) -> pa.Array:
    """Return turns that are a role and a text each as the column of messages."""
    role, content, *others = MESSAGES.value_type
    values = pa.StructArray.from_arrays(
        [turns.roles, turns.texts, *(pa.nulls(len(turns.texts), field.type) for field in others)],
        fields=[role, content, *others],
    )
    return pa.ListArray.from_arrays(
        number_array(np.array([0, *turns.ends], np.int32)), values, type=MESSAGES
    )
