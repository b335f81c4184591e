"""recipes/mlx.yaml, read by MLX's own loader: the last answers of the proof, and its schedule."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.models.chat import IGNORED
from curate.models.load import load_tokenizer
from tests.pool.trainers.export_recipes import (
    export,
    loaded,
    proof_labels,
    table,
    without_blanks,
)


@pytest.mark.model
def test_mlx_learns_the_last_answers(smollm: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(smollm)
    rows = table()
    seen = loaded("mlx", export(rows, ["messages"], tmp_path), smollm)
    for (ids, offset), (proof_ids, labels) in zip(
        seen["rows"], proof_labels(rows, tokenizer), strict=True
    ):
        assert ids == proof_ids
        learned = without_blanks(tokenizer, [IGNORED] * offset + ids[offset:])
        assert learned[offset:] == labels[offset:]
        assert learned[offset] != IGNORED
