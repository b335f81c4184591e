"""Groups of near copies: texts linked by n-grams that they share, directly or over other texts.

MinHash-LSH proposes pairs, their true Jaccard similarity decides (curate.text.minhash); a group is a
connected component of the pairs.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from curate.text import minhash
from curate.text.jaccard import incidence, jaccard, shared_grams
from curate.text.shingles import plain_texts, shingle

NGRAM = 5
BATCH_TEXTS = 4_096
PAIRS_AT_ONCE = 10_000


def near_copies(texts: pl.Series, similarity: float) -> NDArray[np.uint64]:
    """Return the pairs of texts with this Jaccard similarity of word 5-grams or more.

    Args:
        texts: the texts.
        similarity: the lowest of a pair, 0 to 1.

    Returns:
        text numbers as first << 32 | second [pairs].
    """
    bands, width = minhash.choose_bands(similarity)
    keys = [
        minhash.band_keys(minhash.signatures(shingle(part, "script", NGRAM)), bands, width)
        for part in _batches(texts)
    ]
    pairs = minhash.distinct(_candidates(np.concatenate(keys))) if keys else np.empty(0, np.uint64)
    involved, places = np.unique(_ends(pairs), return_inverse=True)
    parts = (shingle(part, "script", NGRAM) for part in _batches(texts.gather(involved)))
    sets = incidence(parts, len(involved))
    left, right = places.reshape(2, -1)
    shared = [
        shared_grams(sets, left[at : at + PAIRS_AT_ONCE], right[at : at + PAIRS_AT_ONCE])
        for at in range(0, len(pairs), PAIRS_AT_ONCE)
    ]
    counts = np.concatenate([np.empty(0, dtype=np.int64), *shared])
    return pairs[jaccard(sets, left, right, counts) >= similarity]


def copies(texts: pl.Series) -> NDArray[np.uint64]:
    """Return pairs of the first and each other text that is equal but for case and white space."""
    plain = plain_texts(texts).str.replace_all(r"\s+", " ").str.strip_chars()
    rows = plain.to_frame("text").with_row_index("second").cast({"second": pl.UInt64})
    links = rows.select(pl.col("second").first().over("text").alias("first"), "second")
    links = links.filter(pl.col("first") < pl.col("second"))
    first: NDArray[np.uint64] = links["first"].to_numpy()
    second: NDArray[np.uint64] = links["second"].to_numpy()
    return first << np.uint64(32) | second


def group_numbers(size: int, pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return for each of `size` texts the number of the group that pairs link it to [size]."""
    first, second = _ends(pairs)
    links = scipy.sparse.coo_array((np.ones(len(pairs)), (first, second)), shape=(size, size))
    _, labels = scipy.sparse.csgraph.connected_components(links, directed=False)
    numbers: NDArray[np.int64] = labels.astype(np.int64)
    return numbers


def _batches(texts: pl.Series) -> Iterator[pl.Series]:
    for at in range(0, len(texts), BATCH_TEXTS):
        yield texts.slice(at, BATCH_TEXTS)


def _candidates(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    rows = np.arange(len(keys), dtype=np.uint32)
    for band in range(keys.shape[1] - 1):
        following = (band + 1) % (keys.shape[1] - 1)
        yield minhash.bucket_pairs(
            pl.DataFrame({"row": rows, "key": keys[:, band], "other": keys[:, following]})
        )


def _ends(pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    ends = np.stack([pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)])
    return ends.astype(np.int64)
