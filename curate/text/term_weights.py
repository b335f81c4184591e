"""Term weights of BM25: counts of words, inverse document frequency, saturation by length."""

import numpy as np
import scipy
from numpy.typing import NDArray

from curate.text.shingles import Shingles


def count_words(words: Shingles, vocabulary: NDArray[np.uint64]) -> "scipy.sparse.csr_array":
    """Return how often each text holds each word of a sorted vocabulary [texts, words]."""
    column = np.searchsorted(vocabulary, words.hashes)
    in_vocabulary = np.zeros(len(column), dtype=np.bool_)
    if len(vocabulary):
        in_vocabulary = vocabulary[np.minimum(column, len(vocabulary) - 1)] == words.hashes
    row = np.repeat(np.arange(len(words.starts) - 1), np.diff(words.starts))
    shape = (len(words.starts) - 1, len(vocabulary))
    ones = np.ones(int(in_vocabulary.sum()))
    # Changing the format adds up what is in the same place.
    return scipy.sparse.coo_array(
        (ones, (row[in_vocabulary], column[in_vocabulary])), shape=shape
    ).tocsr()


def inverse_frequency(word_counts: "scipy.sparse.csr_array") -> NDArray[np.float64]:
    """Return the idf of each word from the counts of words in all rows; always above 0."""
    holders = np.bincount(word_counts.indices, minlength=word_counts.shape[1])
    idf: NDArray[np.float64] = np.log1p((word_counts.shape[0] - holders + 0.5) / (holders + 0.5))
    return idf


def saturate(
    word_counts: "scipy.sparse.csr_array", lengths: NDArray[np.int64], k1: float, b: float
) -> None:
    """Turn counts f of words in rows into f / (f + k1 (1 - b + b length / mean length)), in place."""
    slack = k1 * (1 - b + b * lengths / max(lengths.mean(), 1))
    word_counts.data /= word_counts.data + np.repeat(slack, np.diff(word_counts.indptr))
