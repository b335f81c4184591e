"""An export with the recipes of trainers, which their tests run or load."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.rows import Message
from curate.core.turntext import CONVERSATION, conversations
from curate.models.chat import IGNORED, build_example
from curate.pool.export import write_all
from curate.runs.training_files import card_params
from tests.conftest import frame, row, turns

ROOT = Path(__file__).parents[3]
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


def loaded(trainer: str, folder: Path, model: Path) -> Any:
    """Return what a trainer, in an environment of its own, makes of its recipe.

    Its loader, load_TRAINER.py, writes it as JSON.
    """
    python = ROOT / f".venv-{trainer}" / "bin" / "python"
    if not python.exists():
        pytest.skip(
            f"{trainer} is not installed: `make trainers` gives it an environment of its own"
        )
    script = Path(__file__).with_name(f"load_{trainer}.py")
    environment = {**os.environ, "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    subprocess.run([python, script, model], cwd=folder, env=environment, check=True)
    return json.loads((folder / "loaded.json").read_text())


def proof_labels(rows: pl.DataFrame, tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    """Return token ids and labels of rows as the proof has them."""
    examples = [
        build_example(tokenizer, messages, 1024)
        for messages in conversations(rows.select(CONVERSATION))
    ]
    return [(example.ids, example.labels) for example in examples]


def without_blanks(tokenizer: Any, labels: Sequence[int]) -> list[int]:
    """Return labels without those of white space behind an end mark, which is never generated."""
    end = tokenizer.eos_token_id
    return [
        IGNORED if before == end and not tokenizer.decode([label]).strip() else label
        for before, label in zip([IGNORED, *labels], labels, strict=False)
    ]
