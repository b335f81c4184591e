"""Rows as the columns of a table, built column by column: a frame of dictionaries takes much longer."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import pyarrow as pa

from curate.core.rows import MESSAGES, PLAIN_TURN, SCHEMA, Message
from curate.pool.rowhashes import row_hashes


class SourceRow(NamedTuple):
    """A row as it is read from a source: what its columns differ in."""

    row_id: str
    messages: Sequence[Message]
    tools: str | None
    rejected: Sequence[Message] | None
    origin: str
    meta: str


def rows_table(rows: Sequence[SourceRow], source: str) -> pa.Table:
    """Return rows of one source as a table (curate.core.rows.SCHEMA)."""
    count = len(rows)
    conversations = [row.messages for row in rows]
    content_hashes, text_hashes = row_hashes(conversations, [row.tools for row in rows])
    columns = {
        "row_id": [row.row_id for row in rows],
        "tools": [row.tools for row in rows],
        "rejected": [row.rejected for row in rows],
        "content_hash": content_hashes,
        "text_hash": text_hashes,
        "origin": [row.origin for row in rows],
        "meta": [row.meta for row in rows],
    }
    arrays = {name: pa.array(column, SCHEMA.field(name).type) for name, column in columns.items()}
    arrays |= {
        "messages": messages_array(conversations),
        "source": pa.repeat(source, count),
        "parents": pa.array([[]] * count, SCHEMA.field("parents").type),
    }
    return pa.table(
        [arrays.get(field.name, pa.nulls(count, field.type)) for field in SCHEMA], schema=SCHEMA
    )


def messages_array(conversations: Sequence[Sequence[Message]]) -> pa.Array:
    """Return conversations as a column; where all turns are plain, from columns of roles and texts."""
    turns = [turn for conversation in conversations for turn in conversation]
    if any(len(turn) > PLAIN_TURN for turn in turns):
        return pa.array(conversations, MESSAGES)
    role, content, *others = MESSAGES.value_type
    values = pa.StructArray.from_arrays(
        [
            pa.array([turn["role"] for turn in turns], role.type),
            pa.array([turn["content"] for turn in turns], content.type),
            *(pa.nulls(len(turns), field.type) for field in others),
        ],
        fields=[role, content, *others],
    )
    offsets = pa.array(accumulate(map(len, conversations), initial=0), pa.int32())
    return pa.ListArray.from_arrays(offsets, values, type=MESSAGES)
