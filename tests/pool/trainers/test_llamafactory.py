"""recipes/llamafactory.yaml, read by LLaMA-Factory's own loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.rows import Message
from curate.models.load import load_tokenizer
from tests.conftest import frame, row, turns
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


@pytest.mark.model
def test_llama_factory_ranks_preferences(smollm: Path, tmp_path: Path) -> None:
    system: Message = {"role": "system", "content": "Be brief."}
    rows = frame(
        [
            row("s:0", [system, *turns("2 + 2?", "It is 4.")], rejected=turns("", "It is 5.")[1:]),
            row("s:1", turns("a", "b", "c", "d"), rejected=turns("", "e")[1:]),
            row("s:2", turns("a", "b")),
        ]
    )
    seen = loaded(
        "llamafactory", export(rows, ["sharegpt", "sharegpt_preference"], tmp_path), smollm
    )
    assert len(seen["rows"]) == 3
    texts = [[text.replace("<|im_end|>", "").strip() for text in pair] for pair in seen["pairs"]]
    assert texts == [["It is 4.", "It is 5."], ["d", "e"]]
