"""Greedy set coverage: rows whose parts together are largest in every column, layer after layer.

    parts [C, L]      how well row c covers part i of something, such as a token of an example
    value of a set    the sum over columns of its largest part

The value is monotone and submodular, so adding the row that raises it most reaches at least 1 - 1 / e of
the best set of that size. Once no row raises it, what is covered is forgotten and the rows left cover
anew, one layer after the other: the greedy search of Set-BSR (Gupta et al. 2023, arXiv:2305.14907).
"""

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-5


def cover(
    parts: NDArray[np.float32], covered: NDArray[np.float32] | None = None
) -> NDArray[np.int64]:
    """Return all rows of parts [C, L] in greedy order, one covering layer after the other.

    A rise up to ROUNDING counts as none, and so does such a difference between rows; ties go to the
    earlier row.

    Args:
        parts: of each row.
        covered: what the first layer begins with [L], by what is chosen already; nothing if None.
    """
    left = np.arange(len(parts))
    layers = [left[:0]]
    while len(left):
        layer = _cover_once(parts[left], covered)
        covered = None
        layers.append(left[layer])
        left = np.delete(left, layer)
    return np.concatenate(layers)


def _cover_once(parts: NDArray[np.float32], covered: NDArray[np.float32] | None) -> list[int]:
    chosen: list[int] = []
    if covered is None:
        chosen = [_first_of_best(parts.sum(axis=1))]
        covered = parts[chosen[0]]
    covered = covered.copy()
    useful = np.arange(len(parts))
    while True:
        rises = np.maximum(parts[useful] - covered, 0).sum(axis=1)
        # What raises the value by nothing now will not do so later either.
        useful, rises = useful[rises > ROUNDING], rises[rises > ROUNDING]
        if not len(useful):
            return chosen
        chosen.append(int(useful[_first_of_best(rises)]))
        np.maximum(covered, parts[chosen[-1]], out=covered)


def _first_of_best(values: NDArray[np.float32]) -> int:
    return int((values >= values.max() - ROUNDING).argmax())
