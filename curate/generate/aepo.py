"""AEPO: which two of n answers to have judged, the most typical ones that are unlike each other.

    maximise    1/(2 (n-1)) sum_{y in Y, y' != y} s(y, y')  -  lambda s(y1, y2)        Y = {y1, y2}

s is a similarity, y' runs over all n answers. Without lambda the two most central answers are chosen,
with a large one the two that are least alike.

Published: Jinnai and Honda 2024, "Annotation-Efficient Preference Optimization for Language Model
Alignment", arXiv:2405.13541; the objective is that of the authors' code for k = 2 (CyberAgentAILab/
annotation-efficient-po, `diverse_mbr.py`), lambda 1 its default. Departures: the authors go greedily,
then 20 times take one answer out at random and the best one in, which serves any k and can end at
another pair; of two answers all n (n-1)/2 pairs are compared at once. An answer's similarity to itself
never counts, where their first evaluation counts it.
"""

import numpy as np
from numpy.typing import NDArray


def choose_pair(similarity: NDArray[np.float64], diversity: float) -> tuple[int, int]:
    """Return the places of two answers, ascending; of pairs as good the first.

    Args:
        similarity: [n, n] of the answers, symmetric; n is 2 or more.
        diversity: lambda, the weight of the two being unlike each other.
    """
    size = len(similarity)
    others = np.where(np.eye(size, dtype=np.bool_), 0.0, similarity)
    central = others.sum(axis=1) / (size - 1)
    first, second = np.triu_indices(size, k=1)
    value = (central[first] + central[second]) / 2 - diversity * others[first, second]
    best = int(value.argmax())
    return int(first[best]), int(second[best])
