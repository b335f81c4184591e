"""The nearest rows of each row: exact for small sets, from the cells of an inverted file for large ones.

Exact cosines are the same on every machine (core.fixedpoint). What faiss finds is not: it adds up in
float32, in an order that depends on its threads and on the processor. So it runs on one thread, and what
it computes with stands in the key of every step that uses it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from curate.core.fixedpoint import cosines_of_pairs
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    import faiss
else:
    faiss = lazy_module("faiss")

EXACT_ROWS = 65_536
BLOCK_COSINES = 4_194_304
# Twice what a cosine of unit vectors errs in float32, and more.
ROUNDING = 1e-5
CELLS_PER_ROOT = 4
CELLS_VISITED = 16
SAMPLE_PER_CELL = 64


def nearest_rows(
    vectors: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return numbers and cosines [N, count] of each row's nearest ones, -1 where none was found.

    Args:
        vectors: unit or zero vectors [N, d].
        count: of rows, the row itself among them; N at most.
    """
    if len(vectors) > EXACT_ROWS:
        return _search_cells(vectors, count)
    rows = np.empty((len(vectors), count), dtype=np.int64)
    values = np.empty((len(vectors), count), dtype=np.float32)
    size = max(BLOCK_COSINES // max(len(vectors), 1), 1)
    for at in range(0, len(vectors), size):
        part = slice(at, at + size)
        rows[part], values[part] = _nearest(vectors[part], vectors, count)
    return rows, values


def search_identity(rows: int) -> dict[str, str]:
    """Return what a search among so many rows computes with, as far as it can change the result."""
    return {} if rows <= EXACT_ROWS else {"kernels": faiss_kernels()}


def faiss_kernels() -> str:
    """Return the vector units that faiss was built or has chosen to use here."""
    libraries = threadpoolctl.threadpool_info()
    blas = {
        str(one.get("architecture")) for one in libraries
        if one["user_api"] == "blas" and "faiss" in one["filepath"]
    }  # fmt: skip
    return " ".join([*sorted(blas), *faiss.get_compile_options().split()])


@contextmanager
def one_faiss_thread() -> Iterator[None]:
    """Let faiss, and the BLAS library that it brings, run on this thread alone."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _nearest(
    one: NDArray[np.float32], other: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return numbers and cosines [n, count] of the rows of `other` nearest to each of `one`.

    Nearest first; of equally near ones the first. Products in float32 propose somewhat more rows, exact
    ones decide.
    """
    rough = one @ other.T
    edge = np.partition(rough, -count, axis=1)[:, -count, None] - np.float32(ROUNDING)
    row, column = np.divmod(np.flatnonzero(rough >= edge), len(other))
    cosine = cosines_of_pairs(one, row, other, column)
    order = np.lexsort((column, -cosine, row))
    sizes = np.bincount(row, minlength=len(one))
    place = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = order[place < count].reshape(len(one), count)
    return column[chosen], cosine[chosen]


def _search_cells(
    vectors: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    cells = int(CELLS_PER_ROOT * len(vectors) ** 0.5)
    with one_faiss_thread():
        index = faiss.index_factory(
            vectors.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT
        )
        cut = faiss.extract_index_ivf(index)
        cut.cp.max_points_per_centroid = SAMPLE_PER_CELL
        index.train(vectors)
        index.add(vectors)
        cut.nprobe = CELLS_VISITED
        values, rows = index.search(vectors, count)
    return rows, values
