"""Vectors of character n-grams: of texts in any script, for embedders that do not cover it.

A text is the set of its runs of two, three and four characters. Each n-gram adds 1 or -1 to one
coordinate, by its hash, so the cosine of two texts is about |A & B| / sqrt(|A| |B|) of their sets, and
about 0 for one of these vectors and one of an embedder. That knows no language and no meaning: near
copies are near, texts on one subject are nearer than others as far as they share words. A text's
vector depends on the text alone, so vectors of pool, target and eval sets can be compared.

Weighting by idf of the pool would tie all of these to one pool. In clean pools of six languages neither
finds a duplicate at a cosine of 0.9; with idf up to a sixth of the near copies is missed, without none.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.text.shingles import shingle

LENGTHS = (2, 3, 4)
BATCH_TEXTS = 1_024
# Odd, so that multiplication modulo 2^64 loses nothing.
MIX = np.uint64(0xBF58476D1CE4E5B9)


def embed_ngrams(texts: Sequence[str], width: int) -> NDArray[np.float32]:
    """Return vectors [N, width] of texts, the sums of their n-grams' signs; not of length 1."""
    vectors = np.zeros((len(texts), width), dtype=np.float32)
    for start in range(0, len(texts), BATCH_TEXTS):
        batch = pl.Series("text", texts[start : start + BATCH_TEXTS], dtype=pl.String)
        vectors[start : start + BATCH_TEXTS] = _embed_batch(batch, width)
    return vectors


def _embed_batch(texts: pl.Series, width: int) -> NDArray[np.float64]:
    sums = np.zeros(len(texts) * width)
    for length in LENGTHS:
        grams = shingle(texts, "char", length)
        owner = np.repeat(np.arange(len(texts)), np.diff(grams.starts))
        distinct = pl.DataFrame({"owner": owner, "hash": grams.hashes}).unique()
        mixed = distinct["hash"].to_numpy() * MIX
        mixed ^= mixed >> np.uint64(31)
        mixed *= MIX
        place = (mixed >> np.uint64(33)) % np.uint64(width)
        sign = np.where(mixed >> np.uint64(32) & np.uint64(1), 1.0, -1.0)
        at = distinct["owner"].to_numpy() * width + place.astype(np.int64)
        sums += np.bincount(at, weights=sign, minlength=len(sums))
    return sums.reshape(len(texts), width)
