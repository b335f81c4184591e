"""An export with the recipes of trainers, which their tests run or load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from curate.config.recipe import Config
from curate.core.rows import Message
from curate.pool.export import write_all
from curate.runs.training_files import card_params
from tests.conftest import frame, row, turns

WEIGHTED: Sequence[Message] = [
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "Not learned.", "weight": 0},
    *turns("Two?", "Learned."),
]
CONVERSATIONS: Sequence[Sequence[Message]] = [
    turns("2 + 2?", "It is 4."),
    [{"role": "system", "content": "Be brief."}, *turns("And 3 + 3?", "6\n\nThat is all. ")],
    turns("a", "b c", "d", "  e\n", "f", "g"),
    WEIGHTED,
]


def table(conversations: Sequence[Sequence[Message]] = CONVERSATIONS) -> pl.DataFrame:
    return frame([row(f"s:{i}", messages) for i, messages in enumerate(conversations)])


def export(rows: pl.DataFrame, formats: Sequence[str], out: Path, **recipe: object) -> Path:
    """Write rows with the recipes of trainers; return the folder."""
    select = {"method": "random", "budget": {"rows": rows.height}}
    given = {"name": "x", "pool": "x", "select": select, **recipe}
    template = given.pop("template", None)
    assert template is None or isinstance(template, str)
    write_all(rows, formats, card_params(Config.model_validate(given), template), out)
    return out
