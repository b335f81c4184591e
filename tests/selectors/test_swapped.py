"""Hard alternatives: the nearest prompts that ask for something else, by a loop over all rows."""

from __future__ import annotations

import numpy as np
import pytest

from curate.selectors import swapped
from curate.selectors.swapped import NEAREST, hard_alternatives
from tests.selectors.targetruns import unit_vectors


def test_alternatives_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    vectors = unit_vectors((60, 3), 1)
    vectors[7] = 0
    responses, shapes = rng.integers(0, 20, 60), rng.integers(0, 3, 60)
    near = hard_alternatives(vectors, responses, shapes, 4, 0)
    assert (near[7] == -1).all()
    for i in set(range(60)) - {7}:
        cosine = vectors @ vectors[i]
        allowed = [
            j
            for j in np.argsort(-cosine, kind="stable")
            if j != 7
            and cosine[j] <= NEAREST
            and responses[j] != responses[i]
            and shapes[j] == shapes[i]
        ]
        expected = allowed[:4]
        assert near[i][near[i] >= 0].tolist() == expected


def test_a_prompt_that_asks_for_the_same_is_no_alternative() -> None:
    vectors = np.array([[1, 0], [0.96, 0.28], [0.8, 0.6]], dtype=np.float32)
    near = hard_alternatives(vectors, np.arange(3), np.zeros(3, dtype=int), 2, 0)
    assert near.tolist() == [[2, -1], [2, -1], [1, 0]]


def test_candidates_are_a_draw_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swapped, "MOST_CANDIDATES", 10)
    vectors = unit_vectors((50, 8), 2)
    one, again, other = (
        hard_alternatives(vectors, np.arange(50), np.zeros(50, dtype=int), 3, seed)
        for seed in (0, 0, 1)
    )
    assert len(np.unique(one)) <= 10
    assert (one >= 0).all()
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
