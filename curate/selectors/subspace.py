"""GIST: similarities of gradients inside the main directions of the target examples' gradients.

GIST, 2026, arXiv:2602.18584. With unit gradients g_q of M target examples as the rows of G, the k main
right singular vectors P of G span the directions that matter, and

    GIST[i, q] = <g_i P, g_q P> / (|g_i P| |g_q P|)

Nothing has to be passed over again for it: with c_i = G g_i, the stored cosines of row i, and the Gram
matrix K = G G' = U S^2 U',

    g_i P = S^-1 U' c_i        g_q P = (U S)_q

    K = [[1, .5], [.5, 1]]: S^2 = 1.5, .5 and U = [1, 1], [1, -1] over sqrt 2. For k = 1 a row with
    cosines (.6, .6) has g_i P = .85 / sqrt 1.5 = .69; one with (.3, -.3) has 0.

Published: targets of raw length; here of unit length, so that each example counts alike. Ours:
`shrink`. A row that is nearly orthogonal to the target is all noise inside the subspace, and dividing by
its length there gives noise a score: with 9 directions the best of 9 random cosines is .5 in the mean.
So the length that remains outside counts in part,

    <g_i P, g_q P> / (|g_q P| sqrt(|g_i P|^2 + shrink^2 |g_i|^2))

where 0 is GIST, and a large one orders by the projected product alone.
"""

import numpy as np
from numpy.typing import NDArray

# As published: what is added to a singular value before it is divided by.
LEAST = 1e-6


def subspace_similarities(
    similarities: NDArray[np.floating], gram: NDArray[np.floating], directions: int, shrink: float
) -> NDArray[np.float64]:
    """Return GIST's similarities [N, M].

    Args:
        similarities: cosines of rows with target examples [N, M]; NaN for a row without a gradient.
        gram: cosines of the target examples with one another [M, M].
        directions: k, at most M.
        shrink: the share of a row's whole length that is added to its length in the subspace.
    """
    variances, vectors = np.linalg.eigh(gram.astype(np.float64))
    values = np.sqrt(np.maximum(variances[::-1][:directions], 0))
    main = vectors[:, ::-1][:, :directions]
    rows = similarities.astype(np.float64) @ main / (values + LEAST)
    targets = main * values
    lengths = np.sqrt((rows**2).sum(axis=1) + shrink**2)
    scales = np.outer(lengths, np.linalg.norm(targets, axis=1))
    inside: NDArray[np.float64] = rows @ targets.T / np.maximum(scales, np.finfo(np.float64).tiny)
    return inside
