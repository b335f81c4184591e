"""Representations: the closed form of the pooling, and no influence of padding or batches."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.core.calls import StoreRunner
from curate.core.keyed import ModelSource
from curate.core.store import Store
from curate.models import lm
from curate.models.blocks import read_block, row_block
from curate.models.chat import render, tokenise
from curate.models.index import vectors
from curate.models.lm import encode, pool_states
from curate.models.load import load_causal, load_tokenizer
from curate.models.weights import load_trunk
from tests.conftest import row, stored_rows, turns

TEXTS = [
    ("Hi", "Hello."),
    ("What is 7 times 8?", "7 times 8 is 56."),
    ("Write a line of Python that sorts xs.", "xs.sort()\n"),
    ("Übersetze: good morning", "Guten Morgen! 😀"),
    ("Count to ten.", "1 2 3 4 5 6 7 8 9 10"),
    ("Tell me about rivers. " * 8, "They flow to the sea. " * 12),
    ("Why?", "Because."),
    ("Name a colour. " * 3, "Red is a colour, and so is blue."),
]


@pytest.mark.parametrize("length", [1, 2, 7])
def test_pooling_is_the_position_weighted_mean_at_unit_length(length: int) -> None:
    """With one-hot states the vector is the weights themselves: 1, 2, ..., L over their norm."""
    states = torch.eye(length, 9).unsqueeze(0)
    pooled = pool_states(states, torch.ones(1, length, dtype=torch.long))[0]
    weights = np.arange(1, length + 1, dtype=np.float64)
    expected = np.zeros(9)
    expected[:length] = weights / np.sqrt((weights**2).sum())
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_pooling_matches_a_plain_sum(length: int) -> None:
    states = np.random.default_rng(length).normal(size=(length, 5))
    mean = sum(2 * i / (length * (length + 1)) * h for i, h in enumerate(states, start=1))
    pooled = pool_states(torch.tensor(states).unsqueeze(0), torch.ones(1, length).long())[0]
    np.testing.assert_allclose(pooled, mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_on_either_side_counts_nothing(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(1, 5, 4, generator=generator).to(dtype)
    junk = 1e4 * torch.ones(1, 3, 4, dtype=dtype)
    alone = pool_states(states, torch.ones(1, 5).long())
    right = pool_states(torch.cat([states, junk], 1), torch.tensor([[1] * 5 + [0] * 3]))
    left = pool_states(torch.cat([junk, states], 1), torch.tensor([[0] * 3 + [1] * 5]))
    assert alone.dtype == torch.float32
    torch.testing.assert_close(right, alone)
    torch.testing.assert_close(left, alone)


def token_rows(count: int, vocabulary: int, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [
        [rng.randrange(vocabulary) for _ in range(rng.choice([1, 2, 5, 20, 60]))]
        for _ in range(count)
    ]


def plain_vectors(model: Any, rows: list[list[int]]) -> NDArray[np.float64]:
    """Return the vectors from the whole model's hidden states: left padding, attention mask."""
    longest = max(map(len, rows))
    ids = torch.tensor([[3] * (longest - len(r)) + r for r in rows])
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
    with torch.inference_mode():
        states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[
            -1
        ]
    vectors = []
    for hidden, row_ids in zip(states.double().numpy(), rows, strict=True):
        own = hidden[longest - len(row_ids) :]
        mean = np.arange(1, len(own) + 1) @ own
        vectors.append(mean / np.linalg.norm(mean))
    return np.array(vectors)


def test_batched_vectors_equal_those_of_single_rows(tiny: Path) -> None:
    model = load_trunk(tiny, "float32")
    rows = token_rows(30, 256)
    single = np.concatenate([encode(model, [r]) for r in rows])
    for limit in (1, 64, 300, 100_000):
        np.testing.assert_allclose(encode(model, rows, limit), single, atol=1e-5)


def test_vectors_equal_those_of_the_whole_model_with_left_padding(tiny: Path) -> None:
    rows = token_rows(20, 256)
    expected = plain_vectors(load_causal(tiny, "float32").eval(), rows)
    got = encode(load_trunk(tiny, "float32"), rows)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert got.dtype == np.float32


def test_vectors_follow_their_rows_in_any_order(tiny: Path) -> None:
    model = load_trunk(tiny, "float32")
    rows = token_rows(12, 256)
    order = random.Random(1).sample(range(12), 12)
    np.testing.assert_allclose(
        encode(model, [rows[i] for i in order]), encode(model, rows)[order], atol=1e-5
    )


def test_no_rows_give_no_vectors(tiny: Path) -> None:
    assert encode(load_trunk(tiny, "float32"), []).shape == (0, 64)


def test_the_vocabulary_head_is_not_computed(tiny: Path) -> None:
    trunk = load_trunk(tiny, "float32")
    assert not any("lm_head" in name for name, _ in trunk.named_modules())
    output = trunk(input_ids=torch.tensor([[1, 2]]), use_cache=False)
    assert "logits" not in output
    assert output.last_hidden_state.shape == (1, 2, 64)


def test_a_block_encodes_its_rows_cut_to_the_limit(tiny: Path, store: Store) -> None:
    rows = [row(f"r{i}", turns(q, a)) for i, (q, a) in enumerate(TEXTS)]
    pool = stored_rows(store, "pool", rows)
    positions = [1, 2, 5, 7]
    model = ModelSource({"dtype": "float32"}, tiny)
    block = StoreRunner(store)(vectors, row_block(pool, positions), model, 50, lm.BATCH_TOKENS)
    tokenizer = load_tokenizer(tiny)
    ids = [
        tokenizer(render(tokenizer, rows[i]["messages"]), add_special_tokens=False).input_ids[:50]
        for i in positions
    ]
    assert max(map(len, ids)) == 50
    expected = plain_vectors(load_causal(tiny, "float32").eval(), ids)
    np.testing.assert_allclose(block.array(), expected, atol=1e-5)
    assert block.artifact.counts == {"rows_in": 4, "rows_out": 4, "tokens": sum(map(len, ids))}


@given(st.sets(st.integers(0, 29), min_size=1))
def test_a_block_reads_the_rows_at_its_positions(
    tmp_path_factory: pytest.TempPathFactory, positions: set[int]
) -> None:
    store = Store(tmp_path_factory.getbasetemp() / "read-block")
    rows = [row(f"r{i}", turns(f"q{i}", f"a{i}")) for i in range(30)]
    table = stored_rows(store, "pool", rows)
    ordered = sorted(positions)
    assert read_block(table, np.array(ordered)) == [turns(f"q{i}", f"a{i}") for i in ordered]


@pytest.mark.model
def test_the_real_models_vectors_do_not_depend_on_batches_or_padding(smollm: Path) -> None:
    tokenizer = load_tokenizer(smollm)
    rows = tokenise(tokenizer, [turns(*t) for t in TEXTS[2:6]], 60)
    trunk = load_trunk(smollm, "float32")
    batched = encode(trunk, rows)
    single = np.concatenate([encode(trunk, [r]) for r in rows])
    expected = plain_vectors(load_causal(smollm, "float32").eval(), rows)
    for other in (single, expected):
        np.testing.assert_allclose(batched @ batched.T, other @ other.T, atol=1e-4)
        np.testing.assert_allclose((batched * other).sum(1), 1, atol=1e-4)
