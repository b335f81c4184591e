"""The 95 % interval of a mean over trainings and examples, both of which vary.

The variances of the two add up, and so do their degrees of freedom by Satterthwaite's formula. Of one
training alone, the interval knows the examples only, of one example the trainings only.
"""

import math

import numpy as np
import scipy
from numpy.typing import NDArray

CONFIDENCE = 0.95


def paired_error(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Return the standard error of the mean of paired differences, and its degrees of freedom.

    Args:
        differences: [trainings, examples]; both vary.
    """
    trainings, examples = differences.shape
    parts = []
    if trainings > 1:
        parts.append((differences.mean(axis=1).var(ddof=1) / trainings, trainings - 1))
    if examples > 1:
        parts.append((differences.mean(axis=0).var(ddof=1) / examples, examples - 1))
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return 0.0, math.inf
    return math.sqrt(variance), variance**2 / sum(part**2 / count for part, count in parts)


def half_interval(differences: NDArray[np.float64]) -> float:
    """Return half of the interval around the mean of differences; 0 where nothing varies.

    Args:
        differences: [trainings, examples].
    """
    error, freedom = paired_error(differences)
    return float(scipy.special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error if error else 0.0
