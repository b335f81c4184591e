"""Groups of near copies: against the similarity of all pairs of small texts."""

from itertools import combinations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from curate.text.nearcopies import NGRAM, copies, group_numbers, near_copies

WORDS = [f"w{i}" for i in range(12)]
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=30).map(" ".join)


def grams(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + NGRAM]) for i in range(max(len(words) - NGRAM + 1, 1))}


@given(st.lists(TEXT, max_size=12))
def test_no_pair_is_less_similar_than_the_limit(texts: list[str]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    for pair in near_copies(series, 0.7).tolist():
        one, other = grams(texts[pair >> 32]), grams(texts[pair & 0xFFFFFFFF])
        assert len(one & other) / len(one | other) >= 0.7


def test_all_planted_near_copies_are_pairs() -> None:
    rng = np.random.default_rng(0)
    originals = [" ".join(f"w{n}" for n in rng.integers(0, 5000, 60)) for _ in range(200)]
    changed = [f"{text} more" for text in originals]
    pairs = near_copies(pl.Series([*originals, *changed]), 0.7)
    assert {(p >> 32, p & 0xFFFFFFFF) for p in pairs.tolist()} >= {(i, i + 200) for i in range(200)}


def test_equal_texts_are_linked_to_the_first() -> None:
    pairs = copies(pl.Series(["Name a river.", "else", "name  a\nriver.", "NAME A RIVER."]))
    assert pairs.tolist() == [2, 3]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_groups_are_the_closure_of_pairs(links: list[tuple[int, int]]) -> None:
    packed = np.array([min(p) << 32 | max(p) for p in links if p[0] != p[1]], dtype=np.uint64)
    labels = group_numbers(10, packed)
    reach = [{i} for i in range(10)]
    for _ in range(10):
        for one, other in links:
            reach[one] |= reach[other]
            reach[other] |= reach[one]
    for i, j in combinations(range(10), 2):
        assert (labels[i] == labels[j]) == (j in reach[i])


def test_there_may_be_no_text() -> None:
    assert not len(near_copies(pl.Series([], dtype=pl.String), 0.7))
