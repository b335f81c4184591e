"""Preference pairs as a model reads them: the prompt with the chosen answer and with the rejected one.

    prompt   ... user: What is 2 + 2?
    chosen   assistant: 4.           rejected   assistant: 5.

Labelled are the tokens of these answers alone. Earlier turns of the assistant are part of the prompt of
both, so that whatever they were learned for would cancel out. Where the length limit cuts both before
they part, they are one text, and the row is no pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import polars as pl

from curate.core.calls import Table
from curate.core.digests import digest_of
from curate.core.preferences import RejectedAnswer, rejected_answer
from curate.core.rows import Message
from curate.core.store import Artifact
from curate.core.turntext import conversations
from curate.models.chat import IGNORED, UNLABELLED, TokenizedExample, build_examples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What a model reads of a pair.
PAIR = ("messages", "tools", "rejected", "meta")


@dataclass(frozen=True)
class Preference:
    """Two conversations that differ in what answers the prompt."""

    chosen: Sequence[Message]
    rejected: Sequence[Message]


@dataclass(frozen=True)
class TokenizedPair:
    """Both conversations of a pair as token ids, with their answers as labels."""

    chosen: TokenizedExample
    rejected: TokenizedExample

    @property
    def labelled(self) -> bool:
        """Return whether some of both answers is within the length limit."""
        return all(
            any(label != IGNORED for label in example.labels[1:])
            for example in (self.chosen, self.rejected)
        )


UNPAIRED = TokenizedPair(UNLABELLED, UNLABELLED)


@dataclass(frozen=True)
class PairRows:
    """Pairs to train on, in their order, identified by their exact texts."""

    identity: str
    tables: Sequence[Table]
    row_ids: Sequence[str]

    @property
    def reads(self) -> list[Artifact]:
        """Return the artifacts of the tables."""
        return [table.artifact for table in self.tables]

    def preferences(self) -> list[Preference | None]:
        """Return the pairs in their order; None for a row without a rejected answer."""
        return read_preferences(self.tables, self.row_ids)


def pair_rows(tables: Sequence[Table], row_ids: Sequence[str]) -> PairRows:
    """Return the pairs with these row ids, of tables that share none."""
    pairs = read_preferences(tables, row_ids)
    return PairRows(digest_of([pair and vars(pair) for pair in pairs]), tables, row_ids)


def read_preferences(tables: Sequence[Table], row_ids: Sequence[str]) -> list[Preference | None]:
    """Return the pairs of rows of tables that share no id, in the order of the ids."""
    ordered = pl.LazyFrame({"row_id": list(row_ids)}, schema={"row_id": pl.String})
    rows = pl.concat(table.scan().select("row_id", *PAIR) for table in tables)
    return preferences_of(
        ordered.join(rows, on="row_id", how="left", maintain_order="left").collect()
    )


def preferences_of(rows: pl.DataFrame) -> list[Preference | None]:
    """Return the pairs of rows with the columns of PAIR; None for one without a rejected answer."""
    columns = rows["rejected"].to_list(), rows["meta"].to_list()
    return [
        _preference(messages, rejected_answer(messages, rejected, meta)) if rejected else None
        for messages, rejected, meta in zip(conversations(rows), *columns, strict=True)
    ]


def _preference(messages: Sequence[Message], rejected: RejectedAnswer) -> Preference:
    start = len(messages) - rejected.stands_for
    prompt = [
        cast(Message, {**turn, "weight": 0}) if turn["role"] == "assistant" else turn
        for turn in messages[:start]
    ]
    return Preference([*prompt, *messages[start:]], [*prompt, *rejected.turns])


def build_pairs(
    tokenizer: "PreTrainedTokenizerBase",
    preferences: Sequence[Preference | None],
    max_length: int,
    *,
    judges: bool = False,
) -> list[TokenizedPair]:
    """Return pairs as ids and labels, in their order; UNPAIRED for None and for equal conversations.

    Args:
        tokenizer: with the chat template.
        preferences: the pairs.
        max_length: tokens of each conversation; longer ones are cut at the end.
        judges: whether the template may refuse chosen answers, as in `build_examples`.
    """
    given = [pair for pair in preferences if pair is not None]
    chosen = build_examples(tokenizer, [p.chosen for p in given], max_length, judges=judges)
    # Which rows are kept was judged by the chosen answers alone.
    rejected = build_examples(tokenizer, [p.rejected for p in given], max_length, judges=True)
    built = iter(map(_pair, chosen, rejected))
    return [UNPAIRED if pair is None else next(built) for pair in preferences]


def _pair(chosen: TokenizedExample, rejected: TokenizedExample) -> TokenizedPair:
    """Return a pair; UNPAIRED where the two differ in no token that is left of them."""
    return UNPAIRED if chosen.ids == rejected.ids else TokenizedPair(chosen, rejected)
