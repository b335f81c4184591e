"""The greedy search for a cover, written out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.text.setcover import ROUNDING

Matrix = NDArray[np.float32]


def plain_cover(parts: Matrix) -> list[int]:
    """As the authors put it: if the best candidate does not improve the cover, start from nothing."""
    rows, tokens = parts.shape
    chosen: list[int] = []
    covered, total = np.full(tokens, -np.inf), -np.inf
    while len(chosen) < rows:
        free = [i for i in range(rows) if i not in chosen]
        values = [float(np.maximum(covered, parts[i]).sum()) for i in free]
        best = max(values)
        if best <= total + ROUNDING:
            covered, total = np.full(tokens, -np.inf), -np.inf
            continue
        first = next(k for k, v in enumerate(values) if v >= best - ROUNDING)
        chosen.append(free[first])
        covered, total = np.maximum(covered, parts[chosen[-1]]), values[first]
    return chosen
