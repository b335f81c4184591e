"""What decides the next token, and where an answer ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.llm.engines.decoding import DecodingRow, _draw, is_loop, keep_likely
from curate.llm.requests import Call, Sampling, raw

weights = st.lists(st.integers(1, 1_000), min_size=2, max_size=30)


def row(seed: int = 0, **given: float) -> DecodingRow:
    sampling = Sampling(seed=seed, **given)
    return DecodingRow(Call(raw("x", sampling=sampling)), [1], 10)


def test_draws_follow_the_distribution() -> None:
    likely = torch.tensor([0.5, 0.0, 0.3, 0.2], dtype=torch.float64)
    decoding_row = row()
    drawn = [_draw(likely.log(), decoding_row) for _ in range(4_000)]
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    assert np.abs(shares - likely.numpy()).max() < 0.03 and shares[1] == 0


def test_temperature_sharpens_and_zero_takes_the_likeliest() -> None:
    logits = torch.tensor([0.0, 1.0, 0.5])
    assert [_draw(logits, row(seed, temperature=0)) for seed in range(20)] == [1] * 20
    cold = [_draw(logits, row(seed, temperature=0.05)) for seed in range(200)]
    warm = [_draw(logits, row(seed, temperature=5)) for seed in range(200)]
    assert cold.count(1) > 195 and 40 < warm.count(1) < 110


def test_a_row_draws_the_same_again() -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0))
    first, second = row(seed=4), row(seed=4)
    assert [_draw(logits, first) for _ in range(9)] == [_draw(logits, second) for _ in range(9)]


@given(weights=weights, top_k=st.integers(0, 30), top_p=st.floats(0.01, 1))
def test_what_is_likely_is_kept(weights: list[int], top_k: int, top_p: float) -> None:
    given = torch.tensor(weights, dtype=torch.float64)
    given = given / given.sum()
    kept = keep_likely(given, top_k, top_p)
    inside = kept > 0
    count = int(inside.sum())
    assert 1 <= count <= (top_k or len(weights))
    assert given[inside].min() >= given[~inside].max() if count < len(weights) else True
    ranked = given.sort(descending=True).values[: top_k or None]
    ranked = ranked / ranked.sum()
    # As few as hold the mass: without the last one it is not yet reached.
    assert ranked[: count - 1].sum() < top_p + 1e-9
    if count < len(ranked):
        assert ranked[:count].sum() >= top_p - 1e-9


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.999])
def test_a_flat_head_is_not_taken_for_the_whole(top_p: float) -> None:
    flat = torch.full((5_000,), 1 / 5_000, dtype=torch.float64)
    assert abs(int((keep_likely(flat, 0, top_p) > 0).sum()) - 5_000 * top_p) <= 1


@pytest.mark.parametrize(
    ("tokens", "repeats", "loops"),
    [
        ([1, 1, 1], 3, True),
        ([1, 1, 1], 4, False),
        ([9, 1, 2, 1, 2, 1, 2], 3, True),
        ([1, 2, 1, 2, 1, 3], 3, False),
        ([1, 2, 3], 2, False),
        ([], 2, False),
        (list(range(33)) * 3, 3, False),
        (list(range(32)) * 3, 3, True),
    ],
)
def test_a_loop_is_a_pattern_that_comes_again_and_again(
    tokens: list[int], repeats: int, loops: bool
) -> None:
    assert is_loop(tokens, repeats) is loops
