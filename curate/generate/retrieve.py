"""Retrieval of texts: by cosines, by BM25 over the same texts, and by one ranking made of both.

    hits = Retriever(texts, embed).find(["tides at full moon"], 5)

Cosines are searched as curate.models.neighbours does. BM25 is Robertson & Zaragoza 2009 in the form of
curate.selectors.bm25. The two rankings become one by reciprocal ranks, 1 / (60 + rank) summed (Cormack,
Clarke & Buettcher 2009), which needs no common scale of their scores.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.fixedpoint import cosines
from curate.generate.sift import Embed
from curate.models.neighbours.nearest import nearest
from curate.text.shingles import shingle
from curate.text.term_weights import count_words, inverse_frequency, saturate

BLOCK_TEXTS = 4_096
DECIMALS = 6
K1, B = 1.2, 0.75
RANKS = 60
DEPTH = 100


def embed_blocks(
    texts: Iterable[str], embed: Embed, size: int = BLOCK_TEXTS
) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors of texts, so many at a time."""
    held: list[str] = []
    for text in texts:
        held.append(text)
        if len(held) == size:
            yield embed(held)
            held = []
    if held:
        yield embed(held)


class Bm25:
    """The words of texts, ready for queries."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = shingle(pl.Series(texts, dtype=pl.String), "word", 1)
        self._vocabulary = np.unique(words.hashes)
        self._counts = count_words(words, self._vocabulary)
        self._idf = inverse_frequency(self._counts)
        saturate(self._counts, np.diff(words.starts), K1, B)

    def find(self, queries: Sequence[str], most: int) -> list[list[tuple[int, float]]]:
        """Return for each query the texts that share a word with it and their scores, best first."""
        query_words = shingle(pl.Series(queries, dtype=pl.String), "word", 1)
        weighted = count_words(query_words, self._vocabulary).multiply(self._idf[None])
        hits = []
        for row in (weighted.tocsr() @ self._counts.T).toarray():
            scores = np.round(row, DECIMALS)
            order = np.argsort(-scores, kind="stable")[:most]
            hits.append([(int(i), float(scores[i])) for i in order if scores[i] > 0])
        return hits


@dataclass(frozen=True)
class Hit:
    """A text that was found: its number, its cosine to the query, and what it was ranked by."""

    number: int
    cosine: float
    score: float


class Retriever:
    """Texts that are found by their meaning and by their words."""

    def __init__(self, texts: Sequence[str], embed: Embed) -> None:
        self._embed = embed
        self._vectors = np.concatenate(list(embed_blocks(texts, embed)))
        self._words = Bm25(texts)

    def find(self, queries: Sequence[str], most: int) -> list[list[Hit]]:
        """Return the best texts for each query, best first."""
        if not queries:
            return []
        depth = max(DEPTH, 10 * most)
        query_vectors = self._embed(queries)
        near, _ = nearest(query_vectors, self._blocks(), depth)
        by_words = self._words.find(queries, depth)
        ranked_hits = []
        for vector, numbers, hits in zip(query_vectors, near, by_words, strict=True):
            fused = fuse([numbers.tolist(), [number for number, _ in hits]])[:most]
            products = cosines(self._vectors[[n for n, _ in fused]], vector[None])[:, 0]
            scored = zip(fused, products.tolist(), strict=True)
            ranked_hits.append([Hit(n, cosine, score) for (n, score), cosine in scored])
        return ranked_hits

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(self._vectors), BLOCK_TEXTS):
            yield self._vectors[start : start + BLOCK_TEXTS]


def fuse(rankings: Sequence[Sequence[int]]) -> list[tuple[int, float]]:
    """Return what is in any ranking with the sum of its reciprocal ranks, best first."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, number in enumerate(ranking, start=1):
            scores[number] = scores.get(number, 0.0) + 1 / (RANKS + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
