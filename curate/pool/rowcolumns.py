"""Rows as the columns of a table, built column by column: a frame of dictionaries takes much longer."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from curate.core.rows import MESSAGES, SCHEMA, Message
from curate.pool.layouts.plain import TextTurns
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


def _table(columns: Mapping[str, pa.Array | Sequence[object]], source: str, count: int) -> pa.Table:
    """Return columns of rows of one source as a table; those that are not given have no value."""
    arrays = {
        name: column if isinstance(column, pa.Array) else pa.array(column, SCHEMA.field(name).type)
        for name, column in columns.items()
    }
    arrays |= {
        "source": pa.repeat(source, count),
        "parents": pa.ListArray.from_arrays(
            pa.nulls(count + 1, pa.int32()).fill_null(0), pa.array([], pa.string())
        ).cast(SCHEMA.field("parents").type),
    }
    return pa.table(
        [arrays.get(field.name, pa.nulls(count, field.type)) for field in SCHEMA], schema=SCHEMA
    )


def plain_messages(turns: PlainTurns) -> pa.Array:
    """Return turns that are a role and a text each as the column of messages."""
    role, content, *others = MESSAGES.value_type
    values = pa.StructArray.from_arrays(
        [turns.roles, turns.texts, *(pa.nulls(len(turns.texts), field.type) for field in others)],
        fields=[role, content, *others],
    )
    return pa.ListArray.from_arrays(pa.array([0, *turns.ends], pa.int32()), values, type=MESSAGES)
