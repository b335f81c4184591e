"""Matches of tokens; that the vectors are the encoder's own is tested with Set-BSR."""

from __future__ import annotations

import numpy as np

from curate.models.tokenvectors import best_cosines


def test_recall_is_the_best_match_of_each_token() -> None:
    rng = np.random.default_rng(0)
    example_tokens, states = (rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 5))
    expected = [max(float(x @ z) for z in states) for x in example_tokens]
    np.testing.assert_allclose(best_cosines(example_tokens, states), expected, rtol=1e-5)
    assert best_cosines(example_tokens, states[:0]).tolist() == [0, 0, 0]
