"""Sets of n-grams and hashes of runs, against plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.overlap.grams import GramSet, Powers, RunHashes, cover, roll_sizes, touches
from curate.text.shingles import roll
from tests.conftest import examples

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=30).map(
    lambda v: np.array(v, dtype=np.uint64)
)


@examples(5)
@given(HASHES, HASHES)
def test_a_set_finds_its_members_and_no_others(members: np.ndarray, others: np.ndarray) -> None:
    grams = GramSet(members)
    queries = np.concatenate([others, members])
    at, number = grams.find(queries)
    assert at.tolist() == [i for i, gram in enumerate(queries) if gram in members]
    assert grams.grams[number].tolist() == queries[at].tolist()


@examples(5)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 5))
def test_equal_runs_have_equal_hashes_wherever_they_stand(words: list[int], size: int) -> None:
    hashes = RunHashes(np.array(words, dtype=np.uint64) * np.uint64(977) + np.uint64(3), Powers())
    starts = np.arange(max(len(words) - size + 1, 0))
    runs = hashes.of(starts, np.full(len(starts), size)).tolist()
    texts = [tuple(words[i : i + size]) for i in starts]
    assert [[a == b for b in runs] for a in runs] == [[a == b for b in texts] for a in texts]


@examples(5)
@given(HASHES, st.sets(st.integers(1, 6)))
def test_n_grams_of_several_sizes_are_those_of_each_size(
    words: np.ndarray, sizes: set[int]
) -> None:
    for size, rolled in roll_sizes(words, sizes):
        expected, _, _ = roll(words, np.array([len(words)]), size)
        assert rolled.tolist() == expected.tolist()


@examples(5)
@given(st.sets(st.integers(0, 17)), st.integers(1, 3))
def test_cover_and_touches_agree_with_sets(starts: set[int], ngram: int) -> None:
    at = np.array(sorted(starts), dtype=np.int64)
    words = {i + k for i in starts for k in range(ngram)}
    marked = cover(at, ngram, 20)
    assert np.flatnonzero(marked).tolist() == sorted(words)
    every = np.arange(20 - ngram + 1)
    assert touches(marked, every, ngram).tolist() == [
        any(i + k in words for k in range(ngram)) for i in every.tolist()
    ]
