"""Runs with kept rows and target examples: made up, or the bundled pool with its known families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import StoreRunner, Table
from curate.core.ledger import kept_rows
from curate.core.methods import find_method
from curate.core.selector import Selector
from curate.core.store import Store
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from curate.selectors.pool_target import PoolAndTarget
from tests.conftest import Computed, RowsRun, StoreRun, mean, row, stored_rows, stored_table, turns

DATA = Path(__file__).parents[2] / "data"
FAMILY = "appointment_line"


@dataclass
class TargetRun(RowsRun):
    """A run whose rows are there already."""


def keep(run: TargetRun, positions: Sequence[int]) -> None:
    """Keep the rows at these positions alone."""
    ids = run.rows.read(["row_id"])["row_id"]
    table = pl.DataFrame({"row_id": ids.gather(list(positions)), "position": list(positions)})
    run.kept = stored_table(run.store, "kept", table)


def target_run(
    store: Store, pool: dict[str, str], target: Sequence[str], response: str = "fine"
) -> TargetRun:
    """Return a run over rows with these ids and prompts, all with the same response."""
    run = TargetRun(store)
    rows = [row(row_id, turns(prompt, response)) for row_id, prompt in pool.items()]
    run.rows = stored_rows(store, "pool", rows)
    run.kept = kept_rows(StoreRun(store), run.rows, [])
    examples = [row(f"t{i}", turns(prompt, response)) for i, prompt in enumerate(target)]
    run.target = stored_rows(store, "target", examples)
    return run


def bundled_run(store: Store, planted: int | None = None) -> TargetRun:
    """Return a run over the bundled pool, with only so many rows of the target's family if given."""
    run = TargetRun(store)
    run.rows = _ingested(store, "pool", DATA / "pool", 1.0)
    run.target = _ingested(store, "target", DATA / "target.jsonl", 0.0)
    ids = run.rows.read(["row_id"])
    family = ids.join(_truth(), on="row_id", how="left", maintain_order="left")["relevant"]
    family_counts = np.cumsum(family.to_numpy())
    keep(
        run, np.flatnonzero(~family.to_numpy() | (family_counts <= (planted or len(ids)))).tolist()
    )
    return run


def _ingested(store: Store, name: str, path: Path, most: float) -> Table:
    source = "bundled" if name == "pool" else name
    entries = [RowFile(path=str(path), source=source)]
    return row_set(name, entries, seed=0, max_rejected=most).read(StoreRunner(store))


def _truth() -> pl.DataFrame:
    truth = pl.read_ndjson(DATA / "truth.jsonl")
    off_topic = (pl.col("defect") == "off_topic").fill_null(False)
    return truth.select("row_id", relevant=(pl.col("family") == FAMILY) & ~off_topic)


def precision(ids: Sequence[str]) -> float:
    """Return the share of these rows of the bundled pool that are of the target's family."""
    chosen = pl.DataFrame({"row_id": ids}).join(_truth(), on="row_id", how="left")
    return mean(chosen["relevant"])


def selector_of(method: str, **settings: Any) -> Selector:
    """Return a selector with these settings."""
    return find_method(Selector, method).model_validate({"budget": {"rows": 1}, **settings})


def scores_of(run: TargetRun, method: str, **settings: Any) -> pl.DataFrame:
    """Return the scores of a method."""
    return selector_of(method, **settings).score_rows(run).read()


def ranked(run: TargetRun, method: str, seed: int = 0, **settings: Any) -> list[str]:
    """Return the ids of all kept rows, best first."""
    return rank_frame(scores_of(run, method, **settings), method, seed, **settings)


def rank_frame(scores: pl.DataFrame, method: str, seed: int = 0, **settings: Any) -> list[str]:
    """Return the ids of a table of scores, best first."""
    order: NDArray[np.int64] = selector_of(method, **settings).rank(scores, seed)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(scores.height))
    return scores["row_id"].gather(order).to_list()


def stored_vectors(store: Store, vectors: NDArray[np.float32], name: str = "embed") -> Table:
    """Return a block of vectors as embedders store it, or another model."""

    def write(out: Path) -> dict[str, int]:
        np.save(out / "vectors.npy", vectors)
        return {"rows_out": len(vectors)}

    return Table(store.ensure(Computed(name, write, vectors.tolist())), "vectors")


def embedded(
    store: Store,
    vectors: NDArray[np.float32],
    target_embeddings: NDArray[np.float32],
    cuts: Sequence[int] = (),
) -> PoolAndTarget:
    """Return rows r000, ... and target examples t0, ... with these vectors; the rows cut into blocks."""
    ids = [f"r{i:03}" for i in range(len(vectors))]
    table = pl.DataFrame({"row_id": ids, "position": range(len(ids))})
    targets = [row(f"t{i}", turns("q", "a")) for i in range(len(target_embeddings))]
    return PoolAndTarget(
        kept=stored_table(store, "kept", table),
        blocks=tuple(stored_vectors(store, part) for part in np.split(vectors, list(cuts))),
        target=stored_rows(store, "target", targets),
        target_blocks=(stored_vectors(store, target_embeddings),),
    )


def unit_vectors(shape: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """Return random unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=shape)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
