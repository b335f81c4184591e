"""Rows that a stage makes of others: the old row is the parent, whose source and fields they keep.

Of a preference pair the rejected answer stays what it is, unless the stage says otherwise.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl

from curate.core.rows import SCHEMA, Message, content_hash, text_hash


def derive_rows(
    rows: pl.DataFrame, messages: Sequence[Sequence[Message]], method: str
) -> pl.DataFrame:
    """Return one new row for each row: other messages; rejected answer, source, origin and meta stay.

    Args:
        rows: the parents, with the schema of rows.
        messages: what the new rows say, one list of turns a row.
        method: what made them; ids are derived from it and the parent.
    """
    columns: dict[str, Any] = {
        "row_id": [derived_id(parent, method) for parent in rows["row_id"]],
        "messages": [list(turns) for turns in messages],
        "tools": rows["tools"],
        "rejected": rows["rejected"],
        "content_hash": list(map(content_hash, messages, rows["tools"])),
        "text_hash": list(map(text_hash, messages, rows["tools"])),
        "source": rows["source"],
        "origin": rows["origin"],
        "meta": rows["meta"],
        "parents": [[parent] for parent in rows["row_id"]],
        "method": [method] * rows.height,
        "hop": rows["hop"].fill_null(0) + 1,
    }
    return pl.DataFrame(columns, schema=pl.DataFrame(pl.from_arrow(SCHEMA.empty_table())).schema)


def derived_id(parent: str, method: str) -> str:
    """Return the id of the row that a method makes of its parent."""
    digest = hashlib.blake2b(orjson.dumps([parent, method]), digest_size=8).hexdigest()
    return f"{method}/{digest}"
