"""The beginnings of rows' texts, for pages that list some rows beside other things."""

from collections.abc import Iterable

import polars as pl

from curate.core.rows import Message, turn_text
from curate.core.turntext import plain_messages
from curate.runs.folder import RunFolder

CHARS = 200


def read_excerpts(
    run: RunFolder, row_ids: Iterable[str], role: str = "pool", chars: int = CHARS
) -> dict[str, str]:
    """Return the beginnings of the texts of some rows, by their ids; none where the store lost them.

    Args:
        run: the run.
        row_ids: of the rows.
        role: the pool, or an example set.
        chars: so many characters of each at most.
    """
    rows, ids = run.rows(role), list(dict.fromkeys(row_ids))
    if rows is None or not ids:
        return {}
    table = rows.filter(pl.col("row_id").is_in(ids)).select("row_id", "messages").collect()
    return {row_id: _beginning(messages, chars) for row_id, messages in table.iter_rows()}


def _beginning(messages: Iterable[Message], chars: int) -> str:
    turns = (turn_text(turn)[: 4 * chars] for turn in plain_messages(messages))
    text = " ".join(" | ".join(turns).split())
    return text if len(text) <= chars else f"{text[: chars - 4]} ..."
