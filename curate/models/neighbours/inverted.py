"""The inverted file of faiss: the nearest rows among those of the nearest cells, and how many it misses.

It adds up in float32, in an order that depends on its threads and on the processor. So it runs on one
thread, and what it computes with stands in the key of every step that uses it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import threadpoolctl

from curate.core.lazy import lazy_module
from curate.models.neighbours.cells import BLOCK_COSINES, CELLS_PER_ROOT, VISITED
from curate.models.neighbours.topk import Rows, Vectors, top_cosines

if TYPE_CHECKING:
    import faiss
else:
    faiss = lazy_module("faiss")

SAMPLE_PER_CELL = 64
SAMPLED_ROWS = 512


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


def search_inverted(vectors: Vectors, count: int) -> tuple[Rows, Vectors]:
    """Return numbers and cosines [N, count] of each row's nearest ones, -1 where none was found."""
    cells = int(CELLS_PER_ROOT * len(vectors) ** 0.5)
    with one_faiss_thread():
        index = faiss.index_factory(
            vectors.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT
        )
        cut = faiss.extract_index_ivf(index)
        cut.cp.max_points_per_centroid = SAMPLE_PER_CELL
        index.train(vectors)
        index.add(vectors)
        cut.nprobe = VISITED
        values, rows = index.search(vectors, count)
    return rows, values


def measure_recall(vectors: Vectors, rows: Rows) -> float:
    """Return the share of the true nearest rows that are among `rows` [N, k], on a sample of N."""
    drawn = np.random.default_rng(1).permutation(len(vectors))[:SAMPLED_ROWS]
    size, hits = max(BLOCK_COSINES // len(vectors), 1), 0
    for at in range(0, len(drawn), size):
        some = drawn[at : at + size]
        true, _ = top_cosines(vectors[some], vectors, rows.shape[1], rounded=False)
        hits += int((true[:, :, None] == rows[some][:, None]).sum())
    return round(hits / (len(drawn) * int(rows.shape[1])), 4)
