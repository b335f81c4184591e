"""Preference pairs: rows with a rejected answer, whose record says how the pair came about.

    meta     {"pair": {"how": "prefer", "rejected_id": "prefer/1f...", "margin": 0.62}, ...}
    table    prompt | chosen | rejected | chosen_id | rejected_id | margin | how

`how` is the method that made the pair. The margin says how much surer than not it is that the chosen
answer is the better one: 2 c - 1 for a confidence of c, 1 where a checker found one right and the other
wrong. A pair of the data has none of these; its `how` is "data".

The rejected answer stands for the last turn of the row, or for its last turns from where the two
conversations part: meta has {"pair": {"chosen_turns": 3}} then.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import orjson
import polars as pl

from curate.core.rows import Message, content_hash
from curate.core.turntext import plain_messages, text_of_turn

DECIMALS = 6
DATA = "data"
PAIR, CHOSEN_TURNS = "pair", "chosen_turns"
NUMBER = re.compile(r"[+-]?[0-9]{1,30}")


class PairNote(TypedDict):
    """What the record of a row says of its pair."""

    how: str
    rejected_id: str
    margin: float


@dataclass(frozen=True)
class RejectedAnswer:
    """The turns of a rejected answer, and how many of the last turns of its row they stand for."""

    turns: Sequence[Message] = ()
    stands_for: int = 1

    @property
    def title(self) -> str:
        """Return what it is, in words."""
        if self.stands_for == 1:
            return "Rejected answer"
        return f"Rejected in place of the last {self.stands_for} turns"


def rejected_answer(
    messages: Sequence[Message], rejected: Sequence[Message] | None, meta: str | None
) -> RejectedAnswer:
    """Return the rejected answer of a row, without turns if it is no pair."""
    return RejectedAnswer(plain_messages(rejected or ()), chosen_turns_of(messages, meta))


def rejected_hash(rejected: Sequence[Message] | None) -> str | None:
    """Return the content hash of the rejected answer of a row; None if it is no pair."""
    return content_hash(plain_messages(rejected)) if rejected else None


def pair_note(how: str, rejected_id: str, margin: float) -> PairNote:
    """Return what the record of the chosen row says under "pair".

    Args:
        how: the method that made the pair.
        rejected_id: of the row or candidate that the rejected answer comes from.
        margin: from 0 to 1.
    """
    return {"how": how, "rejected_id": rejected_id, "margin": round(float(margin), DECIMALS)}


def pairs_of(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the pairs of the rows that have a rejected answer, in their order; lists are of turns."""
    how, rejected_id, margin = (
        pl.col("meta").str.json_path_match(f"$.{PAIR}.{name}") for name in PairNote.__annotations__
    )
    chosen = chosen_turns()
    return rows.filter(is_pair()).select(
        prompt=pl.col("messages").list.head(pl.col("messages").list.len() - chosen),
        chosen=pl.col("messages").list.tail(chosen),
        rejected="rejected",
        chosen_id="row_id",
        rejected_id=rejected_id,
        margin=margin.cast(pl.Float64, strict=False),
        how=how.fill_null(DATA),
    )


def is_pair() -> pl.Expr:
    """Return whether a row has a rejected answer."""
    return (pl.col("rejected").list.len() > 0).fill_null(value=False)


def has_pairs(rows: pl.LazyFrame) -> bool:
    """Return whether any row has a rejected answer; those of old runs have no place for one."""
    if "rejected" not in rows.collect_schema():
        return False
    return bool(rows.select(is_pair().any()).collect().item())


def rejected_text() -> pl.Expr:
    """Return what the turns of the rejected answer say, a line break between; null for other rows."""
    texts = pl.col("rejected").list.eval(text_of_turn()).list.join("\n")
    return pl.when(is_pair()).then(texts)


def chosen_turns() -> pl.Expr:
    """Return how many of a row's last turns its rejected answer stands for."""
    noted = pl.col("meta").str.json_path_match(f"$.{PAIR}.{CHOSEN_TURNS}")
    # A prompt has a turn at least, whatever a record of others says there.
    most = pl.max_horizontal(pl.col("messages").list.len().cast(pl.Int64) - 1, 1)
    return noted.cast(pl.Int64, strict=False).fill_null(1).clip(1, most)


def chosen_turns_of(messages: Sequence[Message], meta: str | None) -> int:
    """Return how many of a row's last turns its rejected answer stands for, as `chosen_turns` does."""
    noted = _noted_turns(meta)
    return 1 if noted is None else max(1, min(noted, len(messages) - 1))


def _noted_turns(meta: str | None) -> int | None:
    """Return the number that a record notes; texts of digits are numbers too, as polars reads them."""
    try:
        record = orjson.loads(meta or "{}")
    except orjson.JSONDecodeError:
        return None
    note = record.get(PAIR) if isinstance(record, dict) else None
    noted = note.get(CHOSEN_TURNS) if isinstance(note, dict) else None
    digits = str(noted) if type(noted) in (int, str) else ""
    number = int(digits) if NUMBER.fullmatch(digits) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def has_single_answers() -> pl.Expr:
    """Return whether a row has a rejected answer of one turn, which stands for its last turn."""
    return (pl.col("rejected").list.len() == 1).fill_null(value=False) & (chosen_turns() == 1)


def with_rejected(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows whose rejected answer follows their turns, as further ones."""
    return rows.with_columns(messages=turns_with_rejected())


def turns_with_rejected() -> pl.Expr:
    """Return the turns of a row, then those of its rejected answer."""
    both = pl.concat_list("messages", "rejected")
    return pl.when(pl.col("rejected").is_null()).then("messages").otherwise(both)


def without_equal_answers(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows without the rejected answers of one turn that say what the chosen one says."""
    chosen, rejected = (
        pl.col(name).list.last().struct.field("content") for name in ("messages", "rejected")
    )
    equal = has_single_answers() & (chosen == rejected)
    return rows.with_columns(
        rejected=pl.when(equal.fill_null(value=False)).then(None).otherwise("rejected")
    )
