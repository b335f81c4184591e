"""Products of unit vectors are exact: no order of adding, threads or kernel can change a bit."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from curate.core.fixedpoint import cosines, fixed_point, paired_cosines

REPO = Path(__file__).parents[2]
PRODUCTS = """
import hashlib
import numpy as np
from curate.core.fixedpoint import cosines
from curate.models.neighbours.allpairs import find_pairs
from curate.models.neighbours.nearest import nearest
from curate.selectors.kcenter import choose_centres
vectors = np.random.default_rng(0).standard_normal((3000, 96)).astype(np.float32)
vectors /= np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True).astype(np.float32)
one_group = np.zeros(len(vectors), dtype=np.int64)
every = find_pairs(vectors, one_group, 0.3)
some = find_pairs(vectors, one_group, 0.3, exact_rows=1_000)
parts = [cosines(vectors, vectors[:50]), choose_centres(vectors, 200).rows]
parts += nearest(vectors[:50], [vectors], 20)
for pairs in (every, some):
    parts += [np.asarray(part) for part in vars(pairs).values() if part is not None]
print(hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest())
"""


def unit(rows: int, width: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, width))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize("width", [1, 3, 256, 1_024])
def test_products_equal_those_of_fractions(width: int) -> None:
    one, other = unit(3, width, 0), unit(4, width, 1)
    for row, expected in zip(cosines(one, other), fixed_point(one), strict=True):
        for value, column in zip(row, fixed_point(other), strict=True):
            exact = sum(
                (
                    Fraction(float(x)) * Fraction(float(y))
                    for x, y in zip(expected, column, strict=True)
                ),
                start=Fraction(0),
            )
            assert Fraction(float(value)) == exact


def test_products_do_not_depend_on_the_order_of_adding() -> None:
    one, other = unit(20, 384, 2), unit(30, 384, 3)
    order = np.random.default_rng(4).permutation(384)
    assert (cosines(one, other) == cosines(one[:, order], other[:, order])).all()
    assert (paired_cosines(one, other[:20]) == np.diag(cosines(one, other[:20]))).all()


def test_a_cosine_is_off_by_less_than_float32_is() -> None:
    one = unit(50, 256, 5)
    exact = one.astype(np.float64) @ one.T.astype(np.float64)
    assert np.abs(cosines(one, one) - exact).max() < 1e-7


@pytest.mark.system
def test_threads_and_kernels_change_no_bit() -> None:
    plain = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    digests = set()
    for threads, kernel in (
        ("1", {}),
        ("2", {}),
        ("2", {"OPENBLAS_CORETYPE": "Haswell"}),
        ("2", {"OPENBLAS_CORETYPE": "Nehalem"}),
    ):
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", PRODUCTS], env={**plain, **counts, **kernel, "PYTHONPATH": str(REPO)},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1, digests
