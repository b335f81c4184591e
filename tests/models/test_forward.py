"""A forward pass: what a head gives is the same bits, whatever else the pass gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curate.core.workload import PassHead
from curate.models.chat import TokenizedExample, build_example
from curate.models.forward import forward
from curate.models.lm import BATCH_TOKENS, encode
from curate.models.load import load_tokenizer
from curate.models.weights import load_trunk, shared_model
from tests.models.test_losses import TEXTS

COMBINATIONS: list[tuple[PassHead, ...]] = [
    ("response",), ("response", "vectors"), ("all",), ("all", "vectors"),
]  # fmt: skip


def examples(folder: Path, max_length: int = 600) -> list[TokenizedExample]:
    tokenizer = load_tokenizer(folder)
    return [build_example(tokenizer, messages, max_length) for messages in TEXTS]


def assert_same_bits(model: Any, trunk: Any, rows: list[TokenizedExample]) -> None:
    results = [forward(model, rows, heads, BATCH_TOKENS) for heads in COMBINATIONS]
    responses = results[0].table
    everything = results[2].table
    expected = encode(trunk, [row.ids for row in rows], BATCH_TOKENS)
    for heads, result in zip(COMBINATIONS, results, strict=True):
        assert result.table.select(responses.columns).equals(responses), heads
        if "all" in heads:
            assert result.table.equals(everything), heads
        if "vectors" in heads:
            assert result.vectors is not None
            assert result.vectors.tobytes() == expected.tobytes(), heads


def test_heads_do_not_change_each_others_bits(tiny: Path) -> None:
    assert_same_bits(shared_model(tiny, "float32"), load_trunk(tiny, "float32"), examples(tiny))


@pytest.mark.model
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_heads_of_the_real_model_do_not_change_each_others_bits(smollm: Path, dtype: str) -> None:
    rows = examples(smollm, 60)[3:7]
    assert_same_bits(shared_model(smollm, dtype), load_trunk(smollm, dtype), rows)


def test_several_heads_take_one_pass_of_the_trunk(tiny: Path) -> None:
    trunk, rows = load_trunk(tiny, "float32"), examples(tiny)
    shapes: list[torch.Size] = []
    hook = trunk.register_forward_pre_hook(
        lambda module, args, given: shapes.append(given["input_ids"].shape), with_kwargs=True
    )
    try:
        result = forward(shared_model(tiny, "float32"), rows, ("all", "vectors"), 10_000)
    finally:
        hook.remove()
    read = [shape for shape in shapes if shape[0] > 1]
    assert read == [(len(rows), max(len(row.ids) for row in rows))]
    assert result.vectors is not None
    assert np.isfinite(result.vectors).all()
    assert result.table["all_tokens"].to_list() == [len(row.ids) - 1 for row in rows]
