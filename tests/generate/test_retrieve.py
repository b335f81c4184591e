"""Retrieval against brute force: cosines in blocks, the mean of cosines, BM25, and both together."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.generate.novelty import words_of
from curate.generate.retrieve import Bm25, Retriever, embed_blocks, fuse
from curate.models.embed import unit
from curate.models.neighbours.nearest import nearest
from tests.generate.generations import by_words


def vectors(seed: int, rows: int, width: int = 8) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32))


@pytest.mark.parametrize("size", [1, 7, 64, 200, 1_000])
def test_blocks_give_what_brute_force_gives(size: int) -> None:
    pool, queries = vectors(0, 200), vectors(1, 5)
    blocks = (pool[i : i + size] for i in range(0, len(pool), size))
    numbers, products = nearest(queries, blocks, 10)
    whole = np.round((queries @ pool.T).astype(np.float64), 6)
    expected = np.lexsort((np.tile(np.arange(200), (5, 1)), -whole))[:, :10]
    assert numbers.tolist() == expected.tolist()
    assert products.tolist() == np.take_along_axis(whole, expected, axis=1).tolist()


def test_ties_go_to_the_earlier_row_and_few_rows_are_all_there() -> None:
    pool = np.tile(vectors(0, 1), (5, 1))
    numbers, _ = nearest(pool[:1], [pool[:2], pool[2:]], 3)
    assert numbers.tolist() == [[0, 1, 2]]
    numbers, products = nearest(pool[:1], [pool[:2]], 3)
    assert numbers.tolist() == [[0, 1]]
    assert products == pytest.approx(1.0)
    numbers, _ = nearest(pool[:2], [], 3)
    assert numbers.shape == (2, 0)


def test_the_mean_of_cosines_is_not_the_cosine_to_the_mean() -> None:
    shots = np.eye(2, dtype=np.float32)
    between = unit(np.ones((1, 2), dtype=np.float32))
    _, mean = nearest(shots.mean(axis=0, keepdims=True), [between], 1)
    assert mean.item() == pytest.approx(math.sqrt(0.5), abs=1e-6)
    assert (unit(shots.mean(axis=0, keepdims=True)) @ between.T).item() == pytest.approx(1.0)
    # And it ranks as what it is called.
    pool, shots = vectors(2, 50), vectors(3, 4)
    numbers, _ = nearest(shots.mean(axis=0, keepdims=True), [pool], 50)
    means = np.round((shots @ pool.T).mean(axis=0).astype(np.float64), 6)
    assert means[numbers[0]].tolist() == sorted(means, reverse=True)


def test_texts_are_embedded_in_blocks() -> None:
    seen: list[int] = []

    def embed(texts: list[str]) -> np.ndarray:
        seen.append(len(texts))
        return by_words(texts)

    parts = list(embed_blocks((f"text {i}" for i in range(7)), embed, size=3))  # type: ignore[arg-type]
    assert seen == [3, 3, 1]
    assert np.concatenate(parts).tolist() == by_words([f"text {i}" for i in range(7)]).tolist()


TEXTS = st.lists(
    st.lists(
        st.sampled_from(["sea", "moon", "tide", "ebb", "sand", "gull"]), min_size=1, max_size=12
    ),
    min_size=1,
    max_size=9,
)


@given(TEXTS, st.lists(st.sampled_from(["sea", "moon", "tide", "kite"]), min_size=1, max_size=5))
def test_bm25_is_the_formula(texts: list[list[str]], query: list[str]) -> None:
    (hits,) = Bm25([" ".join(words) for words in texts]).find([" ".join(query)], 100)
    mean = sum(map(len, texts)) / len(texts)
    expected = []
    for words in texts:
        score = 0.0
        for word, times in Counter(query).items():
            holders = sum(word in other for other in texts)
            count = words.count(word)
            if count:
                idf = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
                score += times * idf * count / (count + 1.2 * (0.25 + 0.75 * len(words) / mean))
        expected.append(round(score, 6))
    assert [score for _, score in hits] == pytest.approx(
        sorted((s for s in expected if s > 0), reverse=True), abs=2e-6
    )
    assert all(score == pytest.approx(expected[i], abs=2e-6) for i, score in hits)


def test_bm25_of_no_shared_word() -> None:
    assert Bm25(["the sea", "the moon"]).find(["kite", "Sea!"], 5)[0] == []
    assert [n for n, _ in Bm25(["the sea", "the moon"]).find(["kite", "Sea!"], 5)[1]] == [0]


def test_reciprocal_ranks() -> None:
    scores = dict(fuse([[3, 1, 2], [1, 4]]))
    assert scores == {
        1: pytest.approx(1 / 62 + 1 / 61),
        3: pytest.approx(1 / 61),
        4: pytest.approx(1 / 62),
        2: pytest.approx(1 / 63),
    }
    assert [number for number, _ in fuse([[3, 1, 2], [1, 4]])] == [1, 3, 4, 2]
    # Ties go to the earlier text.
    assert [number for number, _ in fuse([[7], [5]])] == [5, 7]


def test_a_retriever_finds_the_passage_that_holds_the_answer() -> None:
    texts = [
        "The moon pulls at the sea, and so the tide comes in.",
        "Bees dance to tell where flowers are.",
        "Bread rises by yeast.",
    ]
    retriever = Retriever(texts, by_words)
    hits = retriever.find(["tide and moon", "why do bees dance", "bread"], 2)
    assert [query_hits[0].number for query_hits in hits] == [0, 1, 2]
    assert all(len(query_hits) == 2 for query_hits in hits)
    for query, query_hits in zip(
        ["tide and moon", "why do bees dance", "bread"], hits, strict=True
    ):
        cosines = by_words(texts) @ by_words([query])[0]
        assert [h.cosine for h in query_hits] == pytest.approx(
            [cosines[h.number] for h in query_hits]
        )
    assert retriever.find([], 2) == []
    assert words_of(texts[0])
