"""The order in parts: how near each comes to the target, by plain loops; a whole run stores it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.store import Store
from curate.pipeline.curation import run_curation
from curate.report.quantiles import quantiles_section
from curate.runs.folder import open_run
from curate.selectors.coverage import near_limit
from curate.selectors.quantiles import measure_quantiles, quantiles
from curate.selectors.selection import rank_by
from tests.conftest import RowsRun, row, stored, turns
from tests.report.realrun import write_inputs
from tests.report.sections import words_of_block
from tests.selectors.poolruns import make_run, sample_pool, selector_of
from tests.selectors.targetruns import embedded, unit_vectors


def ranking(store: Store, order: Sequence[int], unscored: int) -> Table:
    scored = len(order) - unscored
    table = pl.DataFrame(
        {
            "row_id": [f"r{i:03}" for i in order],
            "rank": range(1, len(order) + 1),
            "selected": [place < 5 for place in range(len(order))],
            "tokens": [float(i) for i in order],
            "reason": ["over_budget"] * scored + ["unscored"] * unscored,
        }
    )
    return Table(stored(store, "ranking", {"ranking": table}), "ranking")


@pytest.mark.parametrize("cuts", [[], [1, 20, 41]])
def test_parts_are_measured_as_in_a_plain_loop(store: Store, cuts: list[int]) -> None:
    vectors, targets = unit_vectors((60, 5), 0), unit_vectors((7, 5), 1)
    order = np.random.default_rng(2).permutation(60)
    data = embedded(store, vectors, targets, cuts)
    table = quantiles(data, ranking(store, list(order), unscored=9), 4).result
    products, limit = vectors @ targets.T, near_limit(targets)
    assert limit is not None
    # 51 rows have a score: 13, 13, 13 and 12 of them.
    parts = [order[:13], order[13:26], order[26:39], order[39:51]]
    assert table["rows"].to_list() == [13, 13, 13, 12]
    assert table.select("first_rank", "last_rank").rows() == [(1, 13), (14, 26), (27, 39), (40, 51)]
    for line, rows in zip(table.to_dicts(), parts, strict=True):
        assert line["similarity"] == pytest.approx(products[rows].max(axis=1).mean(), abs=1e-5)
        best = products[rows].max(axis=0)
        assert line["coverage"] == pytest.approx(best.mean(), abs=1e-5)
        assert line["near"] == int((best.round(6) >= limit).sum())
        assert line["tokens"] == pytest.approx(rows.mean())


@pytest.mark.parametrize("unscored", [51, 60])
def test_parts_of_hardly_any_scored_row_are_not_measured(store: Store, unscored: int) -> None:
    # It stops before it embeds anything.
    assert measure_quantiles(RowsRun(store), ranking(store, range(60), unscored), 5) is None


@pytest.mark.parametrize(("budget", "scored", "parts"), [(1, 12, 5), (12, 9, 0)])
def test_an_order_has_parts_by_the_rows_that_have_a_score(
    store: Store, budget: int, scored: int, parts: int
) -> None:
    blank = [row(f"z{i}", turns("Hello", "")) for i in range(12)]
    run = make_run(store, [*sample_pool(scored), *blank])
    run.target = run.rows
    selector = selector_of("embed", compare="response", budget=budget)
    chosen = rank_by(run, selector, selector.score_rows(run))
    table = measure_quantiles(run, chosen.ranking, 5)
    assert (0 if table is None else table.read().height) == parts


@pytest.mark.system
@pytest.mark.parametrize(
    ("select", "is_there"),
    [({"method": "embed", "combine": "global_max"}, True), ({"method": "random"}, False)],
)
def test_a_run_stores_the_parts_of_an_order_and_a_plain_draw_has_none(
    tmp_path: Path, select: dict[str, str], is_there: bool
) -> None:
    write_inputs(tmp_path)
    config = {
        "name": "parts",
        "pool": str(tmp_path / "pool.jsonl"),
        "target": str(tmp_path / "target.jsonl"),
        "select": {**select, "budget": 12},
        "store": str(tmp_path / "store"),
    }
    run = open_run(run_curation(Config.model_validate(config), tmp_path / "run").folder)
    section = quantiles_section(run, "static")
    assert run.has("evidence/quantiles") == is_there == (section is not None)
    if section is not None:
        parts = run.table("evidence/quantiles").collect()
        assert parts["part"].to_list() == [1, 2, 3, 4, 5]
        # The method ranks by this very similarity.
        assert parts["similarity"].is_sorted(descending=True)
        assert "This does not say whether nearer rows train a better model" in words_of_block(
            section
        )
