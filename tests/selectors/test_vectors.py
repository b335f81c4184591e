"""Vectors of kept rows: in the order of ids, whatever the pool's order and the blocks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from curate.core.errors import UserError
from curate.core.store import Store
from curate.models.embed import embed_texts
from curate.selectors.vectors import PoolBlocks, embed_pool, read_pool_embeddings
from curate.text.compared import Compared
from tests.conftest import row, stored_table, turns
from tests.selectors.poolruns import Matrix, make_run, sample_pool, unit
from tests.selectors.targetruns import stored_vectors


def pool_blocks(store: Store, ids: list[str], *blocks: Matrix) -> PoolBlocks:
    kept = stored_table(store, "kept", pl.DataFrame({"row_id": ids}))
    return PoolBlocks(kept, tuple(stored_vectors(store, block) for block in blocks))


def test_vectors_of_all_blocks_come_in_the_order_of_ids(store: Store) -> None:
    vectors = unit(5, 3, 0)
    blocks = pool_blocks(store, ["d", "a", "e", "b", "c"], vectors[:2], vectors[2:])
    pool = read_pool_embeddings(blocks)
    assert pool.ids.to_list() == list("abcde")
    np.testing.assert_array_equal(pool.vectors, vectors[[1, 3, 4, 0, 2]])


def test_a_vector_that_is_not_finite_stops_the_run(store: Store) -> None:
    vectors = unit(3, 3, 0)
    vectors[1, 2] = np.inf
    with pytest.raises(UserError, match="no finite number"):
        read_pool_embeddings(pool_blocks(store, list("abc"), vectors))


def test_vectors_that_are_missing_stop_the_run(store: Store) -> None:
    with pytest.raises(ValueError, match="4 rows are kept, but 3 vectors are there"):
        read_pool_embeddings(pool_blocks(store, list("abcd"), unit(3, 3, 0)))


@pytest.mark.parametrize("compare", ["example", "prompt", "response"])
def test_what_is_compared_of_the_kept_rows_is_embedded(store: Store, compare: Compared) -> None:
    rows = sample_pool(12)
    run = make_run(store, rows, [rows[3]["row_id"]])
    pool = read_pool_embeddings(embed_pool(run, compare))
    assert len(pool.ids) == 11
    texts = {
        r["row_id"]: "\n".join(
            m["content"]
            for m in r["messages"]
            if compare == "example" or m["role"] == {"prompt": "user"}.get(compare, "assistant")
        )
        for r in rows
    }
    expected = embed_texts([texts[i] for i in pool.ids], "static")
    np.testing.assert_array_equal(pool.vectors, expected)


def test_the_embedding_is_made_once(store: Store) -> None:
    run = make_run(store, [row("a", turns("q", "some words")), row("b", turns("q", "other ones"))])
    for _ in range(2):
        embed_pool(run)
    assert run.executed_steps == ["embed"]


@pytest.mark.system
def test_selectors_load_nothing_heavy() -> None:
    names = ["kcenter", "facility", "deita", "gme", "clusters", "smart", "mixture"]
    code = "import sys\n" + "\n".join(f"import curate.selectors.{name}" for name in names)
    code += "\nassert not {'torch', 'transformers', 'faiss', 'scipy.optimize'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
