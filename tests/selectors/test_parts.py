"""Blend and cascade against their definitions, on selectors whose order is known."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.core.calls import CallRunner, Table
from curate.core.selector import Selector
from curate.core.store import Artifact, Computation, Store
from curate.selectors.blend import BlendSelector
from curate.selectors.cascade import CascadeSelector
from curate.selectors.random import RandomSelector
from tests.conftest import row, stored_rows, stored_table, turns

COUNT = 12


class PartRun(CallRunner, SimpleNamespace):
    def execute_all(self, computations: Sequence[Computation]) -> list[Artifact]:
        return [self.store.ensure(computation) for computation in computations]

    def with_kept(self, kept: Table) -> PartRun:
        return PartRun(**{**vars(self), "kept": kept})


@pytest.fixture
def run(store: Store) -> PartRun:
    ids = [f"r{i:02}" for i in range(COUNT)]
    rows = [row(i, turns("q", "a" * (n + 1))) for n, i in enumerate(ids)]
    rng = np.random.default_rng(5)
    kept = pl.DataFrame({"row_id": ids, "position": np.arange(COUNT)})
    return PartRun(
        store=store,
        seed=7,
        rows=stored_rows(store, "pool", rows),
        kept=stored_table(store, "kept", kept),
        tokens=stored_table(
            store,
            "tokens",
            pl.DataFrame({"row_id": ids, "tokens": rng.permutation(COUNT) + 1}),
        ),
        target=None,
        evidence={},
    )  # fmt: skip


def order_of(run: PartRun, ids: list[str], seed: int) -> list[str]:
    table = pl.DataFrame({"row_id": ids})
    selector = RandomSelector.model_validate({"budget": {"rows": 1}})
    return table["row_id"][selector.rank(table, seed)].to_list()


def test_a_blend_of_one_method_with_itself_is_that_method(run: PartRun) -> None:
    blend = BlendSelector.model_validate(
        {"budget": {"rows": 3}, "parts": [{"method": "random"}, {"method": "random", "weight": 4}]}
    )
    scores = blend.score_rows(run).read()
    ids = [f"r{i:02}" for i in range(COUNT)]
    assert scores["row_id"][blend.rank(scores, 7)].to_list() == order_of(run, ids, 7)
    best = scores.sort("score", descending=True)["score"].to_list()
    assert best == pytest.approx([1 - i / (COUNT - 1) for i in range(COUNT)])


def test_blended_ranks_are_weighted_means(run: PartRun) -> None:
    heights = np.random.default_rng(0).random((COUNT, 2))
    scores = pl.DataFrame(
        {"row_id": [f"r{i:02}" for i in range(COUNT)],
         "heights": pl.Series(heights, dtype=pl.Array(pl.Float64, 2))}
    )  # fmt: skip
    blend = BlendSelector.model_validate(
        {"budget": {"rows": 3}, "parts": [{"method": "random", "weight": 3}, {"method": "random"}]}
    )
    expected = sorted(range(COUNT), key=lambda i: -(3 * heights[i][0] + heights[i][1]))
    assert blend.rank(scores, 0).tolist() == expected
    mixed = scores.sample(fraction=1, shuffle=True, seed=1)
    assert mixed["row_id"][blend.rank(mixed, 0)].to_list() == [f"r{i:02}" for i in expected]


def test_a_cascade_ranks_what_is_left_and_then_what_was_cut(run: PartRun) -> None:
    cascade = CascadeSelector.model_validate(
        {"budget": {"rows": 3}, "parts": [{"method": "random", "keep": 0.5}, {"method": "random"}]}
    )
    scores = cascade.score_rows(run).read()
    ids = [f"r{i:02}" for i in range(COUNT)]
    first = order_of(run, ids, 7)
    left = sorted(first[: COUNT // 2])
    expected = order_of(run, left, 7) + first[COUNT // 2 :]
    assert scores["row_id"][cascade.rank(scores, 7)].to_list() == expected
    assert scores["row_id"].to_list() == ids


@pytest.mark.parametrize(
    ("selector", "parts", "problem"),
    [
        (BlendSelector, [{"method": "random"}], "at least 2"),
        (BlendSelector, [{"method": "nope"}, {"method": "random"}], "part 0: unknown key"),
        (BlendSelector, [{"method": "random", "weight": 0}, {"method": "random"}], "above 0"),
        (BlendSelector, [{"method": "random", "hue": 1}] * 2, r"part 0 \(random\): hue"),
        (CascadeSelector, [{"method": "random"}, {"method": "random"}], "part 0 needs keep"),
        (CascadeSelector, [{"method": "random", "keep": 2}, {"method": "random"}], "part 0 needs keep"),
        (CascadeSelector, [{"method": "random", "keep": 0.5}] * 2, "the last part"),
    ],
)  # fmt: skip
def test_parts_that_make_no_sense_are_refused(
    selector: type[Selector], parts: list[dict[str, Any]], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        selector.model_validate({"budget": {"rows": 1}, "parts": parts})


def test_parts_that_need_a_target_need_one_in_the_recipe() -> None:
    from curate.config.recipe import Config

    given = {
        "method": "blend",
        "budget": {"rows": 1},
        "parts": [{"method": "rds"}, {"method": "random"}],
    }
    with pytest.raises(ValueError, match="needs `target:`"):
        Config.model_validate({"name": "x", "pool": "x.jsonl", "select": given})
