"""recipes/axolotl.yaml, validated and used by Axolotl itself: the labels are those of the proof."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.models.load import load_tokenizer, template_text
from tests.pool.trainers.export_recipes import export, loaded, proof_labels, table


@pytest.mark.model
def test_axolotl_learns_what_the_proof_learns(smollm: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(smollm)
    rows = table()
    folder = export(rows, ["messages"], tmp_path, template=template_text(tokenizer))
    seen = loaded("axolotl", folder, smollm)
    assert [tuple(pair) for pair in seen["rows"]] == proof_labels(rows, tokenizer)
    config = seen["config"]
    assert (config["lora_r"], config["lora_alpha"], config["lora_target_linear"]) == (16, 32, True)
    assert (config["micro_batch_size"], config["num_epochs"], config["seed"]) == (8, 2, 0)
    assert (config["learning_rate"], config["lr_scheduler"]) == (5e-4, "linear")
    assert (config["warmup_ratio"], config["sequence_len"]) == (0.05, 1024)
