"""The rows that methods start from which change single rows: target examples, or rows of the pool.

A row with several user turns, or with none, has no one prompt to change and is passed over.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from curate.core.errors import UserError
from curate.core.rows import Message
from curate.generate.generation import Generation, Generator, SeedExample, read_examples
from curate.text.words import count_words, word_counts

LACKING = {"pool": "the pool has none", "prompts": "no prompt is a single user turn"}


class StartParams(Generator):
    """A generator that starts from rows of the target or of the pool."""

    reads_responses: ClassVar[bool] = True

    start: Literal["target", "pool", "prompts"] = Field(
        "target",
        description="whose rows to start from; evolve, refine and prefer can do with prompts alone",
    )
    rows: int = Field(100, ge=1, description="to start from at most; drawn where there are more")

    @model_validator(mode="after")
    def _check_start(self) -> "StartParams":
        if self.start == "prompts" and self.reads_responses:
            raise ValueError(
                f"start: {self.method} needs rows with a response; start from target or pool"
            )
        return self

    def needed(self) -> tuple[str, ...]:
        """Return whose rows the method needs."""
        return (self.start,)


def choose_starts(
    run: Generation, params: StartParams, most_words: int | None = None
) -> list[SeedExample]:
    """Return the rows to start from, in their order; those with a longer response are none.

    Raises:
        UserError: there is none.
    """
    if params.start == "pool":
        starts = _draw_of_pool(run, params.rows, most_words)
    else:
        single = [
            example
            for example in _single_of(run, params.start)
            if most_words is None or count_words(example.response) <= most_words
        ]
        starts = [single[i] for i in _draw(run, len(single), params.rows)]
    if not starts:
        raise UserError(
            f"{run.method}: there is no row with one user turn and a response"
            f"{'' if most_words is None else f' of at most {most_words} words'} to start from; "
            + (
                "add `target:`, or `start: pool`"
                if params.start == "target"
                else LACKING[params.start]
            )
        )
    return starts


def _single_of(run: Generation, start: str) -> list[SeedExample]:
    """Return the target examples, or prompts, with one user turn."""
    if start == "prompts":
        alone = (["user"], ["system", "user"])
        return [e for e in run.unanswered if [m["role"] for m in e.messages] in alone]
    return [example for example in run.target if is_single(example.messages)]


def _draw_of_pool(run: Generation, count: int, most_words: int | None) -> list[SeedExample]:
    roles = pl.col("messages").list.eval(pl.element().struct.field("role"))
    single = (roles.list.count_matches("user") == 1) & (roles.list.last() == "assistant")
    if most_words is not None:
        response = pl.col("messages").list.last().struct.field("content")
        single &= word_counts(response) <= most_words
    ids = run.pool.filter(single).select("row_id").collect()["row_id"].sort()
    drawn = ids.gather(_draw(run, len(ids), count))
    rows = run.pool.filter(pl.col("row_id").is_in(drawn.implode())).collect().sort("row_id")
    return [example for example in read_examples(rows) if is_single(example.messages)]


def _draw(run: Generation, size: int, count: int) -> list[int]:
    return sorted(run.rng("start").permutation(size)[:count].tolist())


def is_single(messages: Sequence[Message]) -> bool:
    """Return whether turns are one prompt and its response, maybe after a system turn."""
    roles = [message["role"] for message in messages]
    return roles in (["user", "assistant"], ["system", "user", "assistant"])


def count_starts(params: StartParams, targets: int, pool_rows: int) -> int:
    """Return how many rows there are to start from at most."""
    return min(params.rows, pool_rows if params.start == "pool" else targets)


def system_of(example: SeedExample) -> str | None:
    """Return the text of an example's system turn, if it has one."""
    return next((m["content"] for m in example.messages if m["role"] == "system"), None)
