"""Projected features of gradients, as the datastore of LESS keeps them: float16, or int8 with a scale.

features-C.npy    float16 or int8 [rows, dim], of unit length before projection, at checkpoint C
scales-C.npy      int8 alone: what a row's unit is
scored.npy        bool [rows]: has a gradient
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.core.store import Artifact


def save_features(out: Path, number: int, features: NDArray[np.float32], precision: str) -> None:
    """Write the features of a block of rows at a checkpoint."""
    if precision == "int8":
        scales = np.abs(features).max(axis=1) / 127
        np.save(out / f"scales-{number}.npy", scales, allow_pickle=False)
        features = np.rint(features / np.where(scales > 0, scales, 1)[:, None])
    np.save(out / f"features-{number}.npy", features.astype(precision), allow_pickle=False)


def feature_similarities(block: Artifact, target: Artifact, count: int) -> NDArray[np.float64]:
    """Return [checkpoints, rows, examples]: products of stored features, NaN for unscored rows."""
    scored = np.load(block.file("scored.npy"), allow_pickle=False)
    products = [read_features(block, n) @ read_features(target, n).T for n in range(count)]
    return np.where(scored[:, None], np.stack(products), np.nan)


def read_features(artifact: Artifact, number: int) -> NDArray[np.float64]:
    """Return the features [n, dim] of a block of rows at a checkpoint."""
    stored = np.load(artifact.file(f"features-{number}.npy"), allow_pickle=False)
    features: NDArray[np.float64] = stored.astype(np.float64)
    if stored.dtype == np.int8:
        features *= np.load(artifact.file(f"scales-{number}.npy"), allow_pickle=False)[:, None]
    return features


def read_row_features(
    blocks: Sequence[Artifact], shares: Sequence[float], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the stored features [n, checkpoints x dim] of rows, by ascending numbers over the blocks.

    At each checkpoint they are of unit length times the root of its share, so that a product of two rows
    is the weighted mean of their cosines.
    """
    parts, start = [], 0
    for block in blocks:
        first, last = np.searchsorted(rows, [start, start + block.counts["rows_in"]])
        own = rows[first:last] - start
        features = [_unit(read_features(block, n)[own]) * s**0.5 for n, s in enumerate(shares)]
        parts.append(np.concatenate(features, axis=1))
        start += block.counts["rows_in"]
    return np.concatenate(parts)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float64] = vectors / np.where(lengths > 0, lengths, 1)
    return unit
