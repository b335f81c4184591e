"""Blend and cascade against their definitions, on selectors whose order is known."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.core.calls import CallRunner, Table
from curate.core.store import Artifact, Computation, Store
from curate.select.blend import BlendParams
from curate.select.blend import rank as rank_blend
from curate.select.blend import score as score_blend
from curate.select.cascade import CascadeParams
from curate.select.cascade import rank as rank_cascade
from curate.select.cascade import score as score_cascade
from curate.select.random import RandomParams
from curate.select.random import rank as rank_random
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
    params = RandomParams.model_validate({"budget": {"rows": 1}})
    return table["row_id"][rank_random(table, params, seed)].to_list()


def test_a_blend_of_one_method_with_itself_is_that_method(run: PartRun) -> None:
    params = BlendParams.model_validate(
        {"budget": {"rows": 3}, "parts": [{"method": "random"}, {"method": "random", "weight": 4}]}
    )
    scores = score_blend(run, params).read()
    ids = [f"r{i:02}" for i in range(COUNT)]
    assert scores["row_id"][rank_blend(scores, params, 7)].to_list() == order_of(run, ids, 7)
    best = scores.sort("score", descending=True)["score"].to_list()
    assert best == pytest.approx([1 - i / (COUNT - 1) for i in range(COUNT)])


def test_blended_ranks_are_weighted_means(run: PartRun) -> None:
    heights = np.random.default_rng(0).random((COUNT, 2))
    scores = pl.DataFrame(
        {"row_id": [f"r{i:02}" for i in range(COUNT)],
         "heights": pl.Series(heights, dtype=pl.Array(pl.Float64, 2))}
    )  # fmt: skip
    params = BlendParams.model_validate(
        {"budget": {"rows": 3}, "parts": [{"method": "random", "weight": 3}, {"method": "random"}]}
    )
    expected = sorted(range(COUNT), key=lambda i: -(3 * heights[i][0] + heights[i][1]))
    assert rank_blend(scores, params, 0).tolist() == expected
    mixed = scores.sample(fraction=1, shuffle=True, seed=1)
    assert mixed["row_id"][rank_blend(mixed, params, 0)].to_list() == [f"r{i:02}" for i in expected]


def test_a_cascade_ranks_what_is_left_and_then_what_was_cut(run: PartRun) -> None:
    params = CascadeParams.model_validate(
        {"budget": {"rows": 3}, "parts": [{"method": "random", "keep": 0.5}, {"method": "random"}]}
    )
    scores = score_cascade(run, params).read()
    ids = [f"r{i:02}" for i in range(COUNT)]
    first = order_of(run, ids, 7)
    left = sorted(first[: COUNT // 2])
    expected = order_of(run, left, 7) + first[COUNT // 2 :]
    assert scores["row_id"][rank_cascade(scores, params, 7)].to_list() == expected
    assert scores["row_id"].to_list() == ids


@pytest.mark.parametrize(
    ("kind", "parts", "said"),
    [
        (BlendParams, [{"method": "random"}], "at least 2"),
        (BlendParams, [{"method": "nope"}, {"method": "random"}], "part 0: unknown key"),
        (BlendParams, [{"method": "random", "weight": 0}, {"method": "random"}], "above 0"),
        (BlendParams, [{"method": "random", "hue": 1}, {"method": "random"}], r"part 0 \(random\): hue"),
        (CascadeParams, [{"method": "random"}, {"method": "random"}], "part 0 needs keep"),
        (CascadeParams, [{"method": "random", "keep": 2}, {"method": "random"}], "part 0 needs keep"),
        (CascadeParams, [{"method": "random", "keep": 0.5}] * 2, "the last part"),
    ],
)  # fmt: skip
def test_parts_that_make_no_sense_are_refused(
    kind: type[Any], parts: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        kind.model_validate({"budget": {"rows": 1}, "parts": parts})


def test_parts_that_need_a_target_need_one_in_the_recipe() -> None:
    from curate.config.recipe import Config

    given = {
        "method": "blend",
        "budget": {"rows": 1},
        "parts": [{"method": "rds"}, {"method": "random"}],
    }
    with pytest.raises(ValueError, match="needs `target:`"):
        Config.model_validate({"name": "x", "pool": "x.jsonl", "select": given})
