"""MinHash signatures and the pairs of rows that locality-sensitive hashing proposes.

Broder 1997 (doi:10.1109/SEQUEN.1997.666900): the share of equal signature values of two sets estimates
their Jaccard similarity s. A signature is cut into b bands of r values; rows with an equal band are a
candidate pair, which happens with probability 1 - (1 - s^r)^b (Leskovec et al., Mining of Massive
Datasets, section 3.4).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.text.pairs import repeated
from curate.text.shingles import Shingles

PERMUTATIONS = 256
SEED = 1
# Candidates of a pair at the lowest similarity of interest are found with this probability at least.
RECALL = 0.98
# n-grams at a time: as many 32-bit values as a core's fast cache holds.
BLOCK = 65_536
# In a bucket of more rows than this, each row is compared with as many rows that follow it.
BUCKET = 128
# Pairs that are gathered before repeats are removed.
BUFFER = 8_000_000
# Odd, so that multiplication modulo 2^64 loses nothing.
MIX = np.uint64(0xBF58476D1CE4E5B9)


def choose_bands(similarity: float, permutations: int = PERMUTATIONS) -> tuple[int, int]:
    """Return bands and rows per band: the most selective ones with RECALL at this similarity."""
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1 - (1 - similarity**rows) ** bands >= RECALL:
            return bands, rows
    return permutations, 1


def signatures(shingles: Shingles, permutations: int = PERMUTATIONS) -> NDArray[np.uint32]:
    """Return MinHash signatures [N, permutations].

    Hash functions are h -> a * h + b modulo 2^32 with odd a, on mixed 32-bit values: numpy's minimum
    over segments of such a block is faster here than the compiled kernels with a Python boundary
    (tests/benchmarks/bench_dedup.py).
    """
    rng = np.random.default_rng(SEED)
    factors = rng.integers(0, 2**31, permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    shifts = rng.integers(0, 2**32, permutations, dtype=np.uint32)
    mixed = mix(shingles.hashes)
    count = len(shingles.starts) - 1
    # One hash function after the other in memory: they are written, and read again, that way.
    out = np.empty((permutations, count), dtype=np.uint32)
    first = 0
    while first < count:
        block_end = shingles.starts[first] + BLOCK
        last = max(int(np.searchsorted(shingles.starts, block_end, side="right")) - 1, first + 1)
        starts = shingles.starts[first:last]
        values = mixed[starts[0] : shingles.starts[last]]
        scratch = np.empty_like(values)
        for k in range(permutations):
            np.multiply(values, factors[k], out=scratch)
            np.add(scratch, shifts[k], out=scratch)
            np.minimum.reduceat(scratch, starts - starts[0], out=out[k, first:last])
        first = last
    return out.T


def mix(hashes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Return 32 bits in which every bit of the 64 has a part."""
    folded = (hashes ^ (hashes >> np.uint64(31))) * MIX
    return (folded >> np.uint64(32)).astype(np.uint32)


def band_keys(signature: NDArray[np.uint32], bands: int, rows: int) -> NDArray[np.uint64]:
    """Return one 64-bit key for each band [N, bands], and in the last column one for all of it."""
    keys = np.empty((bands + 1, len(signature)), dtype=np.uint64)
    for band in range(bands):
        keys[band] = fold(signature[:, band * rows : (band + 1) * rows])
    keys[bands] = fold(keys[:bands].T)
    return keys.T


def fold(values: NDArray[np.uint32] | NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return one 64-bit value for each row of values [N, k]."""
    key = np.zeros(len(values), dtype=np.uint64)
    for k in range(values.shape[1]):
        key = (key ^ values[:, k]) * MIX
        key ^= key >> np.uint64(29)
    return key


def bucket_pairs(keys: pl.DataFrame) -> NDArray[np.uint64]:
    """Return the pairs of rows with an equal key as first << 32 | second, first < second.

    Args:
        keys: key, other (orders the rows of one bucket, similar ones together) and row.
    """
    places = repeated(keys["key"].to_numpy())
    if not len(places):
        return np.empty(0, dtype=np.uint64)
    shared = keys[places].sort("key", "other", "row")
    key, row = shared["key"].to_numpy(), shared["row"].to_numpy().astype(np.uint64)
    pairs = []
    for step in range(1, BUCKET + 1):
        equal = key[step:] == key[:-step]
        if not equal.any():
            break
        left, right = row[:-step][equal], row[step:][equal]
        pairs.append(np.minimum(left, right) << np.uint64(32) | np.maximum(left, right))
    return np.concatenate(pairs)


def distinct(parts: Iterable[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return the sorted distinct values of all parts, in memory for few more than those."""
    distinct_values, waiting = np.empty(0, dtype=np.uint64), [np.empty(0, dtype=np.uint64)]
    for part in parts:
        waiting.append(part)
        if sum(len(one) for one in waiting) > max(len(distinct_values), BUFFER):
            distinct_values, waiting = _distinct([distinct_values, *waiting]), []
    return _distinct([distinct_values, *waiting])


def _distinct(parts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    # numpy's unique hashes without being asked to, which takes ten times as long on such values.
    values = np.sort(np.concatenate(parts))
    return values[np.append(True, values[1:] != values[:-1])] if len(values) else values
