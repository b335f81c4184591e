"""A run over a small pool, and what every untargeted selector has to keep to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.keyed import ModelSource
from curate.core.methods import find_method
from curate.core.selector import Selector
from curate.core.store import Store
from tests.conftest import RowsRun, row, stored_rows, stored_table, turns

Matrix = NDArray[np.float32]

# Unit vectors whose products are exact and often equal: the vertices of the 24-cell.
EXACT = np.array(
    [s * np.eye(4)[i] for i in range(4) for s in (1, -1)]
    + [[a, b, c, d] for a in (-0.5, 0.5) for b in (-0.5, 0.5) for c in (-0.5, 0.5) for d in (-0.5, 0.5)],
    dtype=np.float32,
)  # fmt: skip


@dataclass
class PoolRun(RowsRun):
    """What a selector is given: some of a pool's rows are kept."""

    folder: Path | None = None

    @property
    def base(self) -> ModelSource:
        identity = {"tokenizer": "tiny", "chat_template": "tiny", "weights": "tiny"}
        return ModelSource(identity, self.folder or Path())


def unit(count: int, width: int, seed: int) -> Matrix:
    """Return random unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def clumps(sizes: Sequence[int], width: int, spread: float, seed: int) -> Matrix:
    """Return unit vectors in clumps around random directions, clump after clump."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(unit(len(sizes), width, seed), sizes, axis=0)
    vectors = centres + spread * rng.normal(size=centres.shape) / width**0.5
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def make_run(
    store: Store, rows: Sequence[Mapping[str, Any]], dropped: Sequence[str] = (), **more: Any
) -> PoolRun:
    """Return a run over these rows; a row's tokens are its characters."""
    run = PoolRun(store, **more)
    run.rows = stored_rows(store, "pool", rows)
    kept = [(r["row_id"], i) for i, r in enumerate(rows) if r["row_id"] not in dropped]
    table = pl.DataFrame(kept, schema={"row_id": pl.String, "position": pl.Int64}, orient="row")
    run.kept = stored_table(store, "kept", table)
    lengths = {r["row_id"]: sum(len(m["content"]) for m in r["messages"]) for r in rows}
    counts = pl.DataFrame({"row_id": [i for i, _ in kept], "tokens": [lengths[i] for i, _ in kept]})
    run.tokens = stored_table(store, "tokens", counts)
    return run


WORDS = {
    "cooking": "bread butter oven salt pepper soup onion garlic flour sugar",
    "space": "planet star orbit rocket moon telescope galaxy comet gravity probe",
    "music": "guitar violin melody rhythm chord piano concert choir drum song",
    "law": "court judge contract statute appeal lawyer verdict clause evidence trial",
}


def sample_pool(count: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    """Return rows on a few topics, with uneven sources and origins; some have no origin."""
    rng = np.random.default_rng(seed)
    topics = rng.choice(list(WORDS), size=count, p=[0.5, 0.25, 0.15, 0.1])
    rows = []
    for number, topic in enumerate(topics):
        words = rng.choice(WORDS[topic].split(), size=int(rng.integers(3, 9)))
        texts = turns(f"Tell me about {' '.join(words[:-2])}.", " ".join(words[1:]))
        rows.append(
            row(
                f"r{(number * 37) % 1009:04}",
                texts,
                source=str(rng.choice(["web", "book", "chat"], p=[0.7, 0.2, 0.1])),
                origin=None if topic == "law" else str(topic),
            )
        )
    return rows


def selector_of(method: str, **settings: Any) -> Selector:
    """Return a selector with these settings."""
    return find_method(Selector, method).model_validate({"budget": {"rows": 1}, **settings})


def scored(run: PoolRun, method: str, **settings: Any) -> pl.DataFrame:
    """Return the score table of a method."""
    return selector_of(method, **settings).score_rows(run).read()


def ranked(scores: pl.DataFrame, method: str, seed: int = 0, **settings: Any) -> list[str]:
    """Return the row ids in rank order."""
    order = selector_of(method, **settings).rank(scores, seed)
    assert order.dtype == np.int64
    return scores["row_id"].gather(order).to_list()


def check_contract(store: Store, method: str, folder: Path | None = None, **settings: Any) -> None:
    """Check what holds for every untargeted selector, on a pool of which some rows are dropped."""
    rows = sample_pool()
    dropped = [r["row_id"] for r in rows[5:9]]
    left = sorted(r["row_id"] for r in rows if r["row_id"] not in dropped)
    run = make_run(store, rows, dropped, folder=folder)
    table = scored(run, method, **settings)
    assert not find_method(Selector, method).needs_target
    assert {"row_id", "score", "nearest_id"} <= set(table.columns)
    assert sorted(table["row_id"]) == left
    assert table["nearest_id"].null_count() == len(left)
    order = ranked(table, method, **settings)
    assert sorted(order) == left
    assert ranked(table, method, **settings) == order
    mixed = table.sample(fraction=1, shuffle=True, seed=1)
    assert ranked(mixed, method, **settings) == order

    step_names = list(run.executed_steps)
    scored(run, method, **settings, budget={"tokens": 7})
    assert run.executed_steps == step_names, "a budget costs no step"
    other = make_run(store, rows[::-1], dropped, folder=folder)
    assert ranked(scored(other, method, **settings), method, **settings) == order, "pool order"
