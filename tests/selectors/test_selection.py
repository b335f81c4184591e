"""The selection: ranks are whole, counts add up, and a smaller budget is a prefix."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.methods import find_method
from curate.core.selector import Selector
from curate.core.store import Store
from curate.core.turntext import conversations
from curate.selectors.planner import PlanContext, choose
from curate.selectors.rds import RdsSelector
from curate.selectors.selection import SelectionResult, rank_by, rank_rows, select_by
from curate.text.pairs import PAIR_SCHEMA
from tests.conftest import row, stored_rows, stored_table, turns
from tests.selectors.poolruns import PoolRun

COUNT = 30


def tables(seed: int = 0, examples: int = 3) -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    cosines = rng.choice(np.array([0.1, 0.4, 0.7], dtype=np.float32), size=(COUNT, examples))
    ids = [f"r{i:02}" for i in rng.permutation(COUNT)]
    scores = pl.DataFrame(
        {
            "row_id": ids,
            "score": cosines.max(axis=1),
            "nearest_id": [f"t{i}" for i in cosines.argmax(axis=1)],
            "similarities": pl.Series(cosines, dtype=pl.Array(pl.Float32, examples)),
        }
    )
    tokens = pl.DataFrame({"row_id": ids, "tokens": rng.integers(1, 50, COUNT)})
    return scores, tokens.sample(fraction=1, shuffle=True, seed=seed)


def selector_of(method: str, **budget: Any) -> Selector:
    return find_method(Selector, method).model_validate({"budget": budget})


def run_of(store: Store, seed: int = 0) -> PoolRun:
    run = PoolRun(store, seed)
    run.rows = stored_rows(
        store, "pool", [row(f"r{i:02}", turns(f"q{i}", "a")) for i in range(COUNT)]
    )
    run.tokens = stored_table(store, "tokens", tables()[1])
    return run


def select(store: Store, selector: Selector, seed: int = 0) -> SelectionResult:
    return select_by(run_of(store, seed), selector, stored_table(store, "scores", tables()[0]))


BUDGETS: list[dict[str, Any]] = [
    {"rows": 1}, {"rows": 7}, {"rows": 99}, {"tokens": 120}, {"fraction": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("method", ["rds", "random"])
@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_ranks_and_counts_of_a_selection_add_up(
    store: Store, method: str, budget: dict[str, Any]
) -> None:
    result = select(store, selector_of(method, **budget))
    ranking, selected = result.ranking.read(), Table(result.selection, "selected").read()
    scores, tokens = tables()
    assert ranking["rank"].to_list() == list(range(1, COUNT + 1))
    assert set(ranking["row_id"]) == set(scores["row_id"])
    if "tokens" not in budget:
        assert ranking["selected"].to_list() == sorted(ranking["selected"], reverse=True)
    chosen = ranking.filter("selected")
    assert selected["row_id"].to_list() == chosen["row_id"].to_list()
    assert conversations(selected) == [turns(f"q{int(i[1:])}", "a") for i in selected["row_id"]]
    assert result.selection.counts == {
        "rows_in": COUNT,
        "rows_out": selected.height,
        "not_selected": COUNT - selected.height,
        "reasons": {
            reason: ranking.filter(reason=reason).height
            for reason in ("beyond_budget", "passed_over")
            if ranking.filter(reason=reason).height
        },
        "tokens": chosen["tokens"].sum(),
        **(
            {"passed_over": ranking.filter(reason="passed_over").height}
            if "tokens" in budget
            else {}
        ),
    }
    tokens_by_id = dict(tokens.iter_rows())
    assert {i: t for i, t in ranking.select("row_id", "tokens").iter_rows()} == tokens_by_id


@pytest.mark.parametrize("method", ["rds", "random"])
@given(small=st.integers(1, COUNT), more=st.integers(0, COUNT), seed=st.integers(0, 50))
def test_a_smaller_budget_selects_a_prefix_of_a_larger(
    method: str, small: int, more: int, seed: int
) -> None:
    scores, tokens = tables(seed)

    def chosen(rows: int) -> list[str]:
        selector = selector_of(method, rows=rows)
        ranked = choose(
            rank_rows(scores, tokens, selector, seed),
            selector,
            PlanContext(pl.LazyFrame()),
        )
        return ranked.filter("selected")["row_id"].to_list()

    assert chosen(small + more)[:small] == chosen(small)


@pytest.mark.parametrize("method", ["rds", "random"])
@given(seed=st.integers(0, 50), tokens_budget=st.integers(1, 900))
def test_the_order_of_rows_does_not_change_what_is_selected(
    method: str, seed: int, tokens_budget: int
) -> None:
    scores, tokens = tables(seed)
    mixed = scores.sample(fraction=1, shuffle=True, seed=seed)
    selector = selector_of(method, tokens=tokens_budget)
    assert rank_rows(mixed, tokens[::-1], selector, 3).equals(
        rank_rows(scores, tokens, selector, 3)
    )


def test_the_key_holds_method_budget_seed_and_selector_version(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> list[str]:
        chosen = [
            selector_of("rds", rows=3),
            selector_of("rds", rows=4),
            selector_of("random", rows=3),
        ]
        return [select(store, c, seed).selection.key for c in chosen for seed in (0, 1)]

    before = keys()
    assert len(set(before)) == 6
    assert keys() == before
    monkeypatch.setattr(RdsSelector, "version", 99)
    assert [a == b for a, b in zip(before, keys(), strict=True)] == [False] * 4 + [True] * 2


def test_a_plan_reads_the_stages_and_pairs_that_it_speaks_of(store: Store) -> None:
    run = run_of(store)
    ids = [f"r{i:02}" for i in range(COUNT)]
    depths = pl.DataFrame({"row_id": ids, "depth": range(COUNT)})
    run.evidence = {
        "judge": stored_table(store, "evidence", depths),
        "rules": stored_table(store, "unread", depths),
    }
    pair = ("r20", "r21", 0.95, False)
    pairs = stored_table(store, "pairs", pl.DataFrame([pair], PAIR_SCHEMA, orient="row"))
    plan = {"filter": "judge.depth >= 20", "diversity": {"most": 0.9}}
    chosen = RdsSelector.model_validate({"budget": {"rows": COUNT}, **plan})
    scores = stored_table(store, "scores", tables()[0])
    selected, compared = (by(run, chosen, scores, pairs) for by in (select_by, rank_by))
    assert sorted(selected.selection.files) == ["ranking.parquet", "selected.parquet"]
    assert selected.ranking.read().equals(compared.ranking.read())
    by_id = dict(selected.ranking.read().select("row_id", "selected").iter_rows())
    assert [by_id[i] for i in ids[:20] + ids[22:]] == [False] * 20 + [True] * 8
    assert by_id["r20"] != by_id["r21"]
    assert run.executed_steps == ["select", "select-compared"]
    run.evidence = {**run.evidence, "rules": stored_table(store, "other", depths.head(1))}
    assert rank_by(run, chosen, scores, pairs).selection.cached, "a stage that no condition names"


def test_nothing_left_to_select_from_is_a_user_error() -> None:
    scores, tokens = tables()
    with pytest.raises(UserError, match="no row is left to select from"):
        rank_rows(scores.head(0), tokens, selector_of("random", rows=1), 0)
