"""recipes/llamafactory.yaml, read by LLaMA-Factory's own loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.models.load import load_tokenizer
from tests.conftest import turns
from tests.pool.trainers.export_recipes import (
    CONVERSATIONS,
    export,
    loaded,
    proof_labels,
    table,
    without_blanks,
)


@pytest.mark.model
@pytest.mark.parametrize("name", ["alpaca", "sharegpt"])
def test_llama_factory_learns_all_answers(name: str, smollm: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(smollm)
    # It marks no weights, and encodes turn by turn: other tokens where an answer opens with white space.
    rows = table([CONVERSATIONS[0], CONVERSATIONS[1], turns("a", "b c", "d", "e\n", "f", "g")])
    seen = loaded("llamafactory", export(rows, [name], tmp_path), smollm)
    labels = [(ids, without_blanks(tokenizer, labels)) for ids, labels in seen["rows"]]
    assert labels == proof_labels(rows, tokenizer)
    assert (seen["rank"], seen["alpha"], seen["targets"]) == (16, 32, ["all"])
    assert (seen["batch"], seen["epochs"], seen["seed"]) == (8, 2.0, 0)
    assert (seen["rate"], seen["schedule"]) == (5e-4, "linear")
