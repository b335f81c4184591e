"""Rows that imitate the chat template: which, and with what; for log, check, report and explain."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import polars as pl

from curate.core.rows import Message, turn_text
from curate.models.control import control_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FILE = "imitations.parquet"
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "row_id": pl.String,
    "control": pl.List(pl.String),
    "openings": pl.List(pl.String),
}
NAMED = 3
WHAT = {
    "control": "control tokens of the model, which are read as text",
    "openings": "words with which its chat template opens turns, so that they may read like several",
}


def find_imitations(
    tokenizer: "PreTrainedTokenizerBase",
    row_ids: Iterable[str],
    rows: Iterable[Sequence[Message]],
) -> pl.DataFrame:
    """Return the rows that hold control tokens or openings of turns, with these (SCHEMA)."""
    control = control_tokens(tokenizer)
    imitations = []
    for row_id, messages in zip(row_ids, rows, strict=True):
        matches = control.find(turn_text(message) for message in messages)
        if matches.control or matches.openings:
            imitations.append((row_id, matches.control, matches.openings))
    return pl.DataFrame(imitations, schema=SCHEMA, orient="row")


def imitation_sentences(imitations: pl.DataFrame) -> list[str]:
    """Return a sentence for each kind of imitation: how many rows, what they hold, the first of them."""
    sentences = []
    for kind, what in WHAT.items():
        held = imitations.filter(pl.col(kind).list.len() > 0)
        if held.height:
            words = held[kind].explode().unique(maintain_order=True).to_list()
            sentences.append(
                f"{held.height:,} row{'s hold' if held.height > 1 else ' holds'} {what}: "
                f"{_list(words)}; {_list(held['row_id'].to_list())}"
            )
    return sentences


def _list(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
