"""The planner against going down the ranking row by row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.selectors.planner import PlanContext, choose, named_stages
from curate.selectors.random import RandomSelector
from curate.text.pairs import PAIR_SCHEMA

COUNT = 24


def ranking(seed: int = 0, count: int = COUNT) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    ids = rng.permutation([f"r{i:02}" for i in range(count)])
    return pl.DataFrame(
        {
            "row_id": ids,
            "rank": np.arange(1, count + 1),
            "score": np.sort(rng.random(count))[::-1],
            "nearest_id": ["t0"] * count,
            "tokens": rng.integers(1, 40, count),
        }
    )


def plan_context(
    ranked: pl.DataFrame, seed: int = 0, pairs: pl.DataFrame | None = None
) -> PlanContext:
    rng = np.random.default_rng([seed, 1])
    ids = ranked["row_id"].sort()
    rows = pl.DataFrame({"row_id": ids, "source": rng.choice(["a", "b", "c"], len(ids))})
    rows = rows.with_columns(origin=pl.col("source") + "/x")
    fuzzy = pl.DataFrame({"row_id": ids, "score": rng.random(len(ids)), "keep": True})
    return PlanContext(rows.lazy(), {"fuzzy": fuzzy.lazy()}, pairs)


def plan(**given: Any) -> RandomSelector:
    return RandomSelector.model_validate({"budget": {"rows": 6}, **given})


def chosen(table: pl.DataFrame) -> list[str]:
    return table.filter("selected")["row_id"].to_list()


def source_of(context: PlanContext) -> dict[str, str]:
    return dict(context.rows.select("row_id", "source").collect().iter_rows())


@given(seed=st.integers(0, 200), rows=st.integers(1, COUNT))
def test_without_conditions_the_best_rows_are_selected(seed: int, rows: int) -> None:
    ranked = ranking(seed)
    plan_table = choose(ranked, plan(budget={"rows": rows}), plan_context(ranked))
    assert chosen(plan_table) == ranked["row_id"].to_list()[:rows]
    assert plan_table.drop("selected", "reason").equals(ranked)
    assert plan_table["reason"].to_list() == ["within_budget"] * rows + ["beyond_budget"] * (
        COUNT - rows
    )


@given(seed=st.integers(0, 200), limit=st.floats(0.05, 1.0), tokens=st.integers(5, 40))
def test_a_filter_leaves_the_best_rows_that_meet_it(seed: int, limit: float, tokens: int) -> None:
    ranked = ranking(seed)
    context = plan_context(ranked, seed)
    scores = dict(context.evidence["fuzzy"].select("row_id", "score").collect().iter_rows())
    sources = source_of(context)
    meets = [
        row["row_id"]
        for row in ranked.to_dicts()
        if scores[row["row_id"]] < limit
        and row["tokens"] <= tokens
        and sources[row["row_id"]] != "c"
    ]
    params = plan(filter=f"fuzzy.score < {limit!r} AND tokens <= {tokens} AND source != 'c'")
    assert named_stages(params) == ["fuzzy"]
    if not meets:
        with pytest.raises(UserError, match="no row meets"):
            choose(ranked, params, context)
        return
    plan_table = choose(ranked, params, context)
    assert chosen(plan_table) == meets[:6]
    out = plan_table.filter(reason="filtered_out")["row_id"].to_list()
    assert set(out) == set(ranked["row_id"]) - set(meets)


def test_conditions_may_count_turns_and_characters() -> None:
    ranked = ranking(count=4)
    texts = [["a", "b"], ["a", "é", "c", "d"], ["", "x" * 9], ["a", "b", "c", "dd"]]
    turns = [[{"role": "user", "content": text} for text in part] for part in texts]
    rows = pl.DataFrame({"row_id": [f"r{i:02}" for i in range(4)], "messages": turns}).lazy()
    params = plan(filter="turns > 2 AND characters < 5 OR characters = 9")
    assert named_stages(params) == []
    assert sorted(chosen(choose(ranked, params, PlanContext(rows)))) == ["r01", "r02"]
    with pytest.raises(UserError, match="'turns' is read from the rows, which the store has lost"):
        choose(ranked, params, PlanContext(rows.drop("messages")))


@given(seed=st.integers(0, 200), most=st.floats(0.0, 1.0), rows=st.integers(1, COUNT))
def test_a_cap_is_kept_row_by_row(seed: int, most: float, rows: int) -> None:
    ranked = ranking(seed)
    context = plan_context(ranked, seed)
    sources, taken = source_of(context), {"a": 0, "b": 0, "c": 0}
    expected: list[str] = []
    for row_id in ranked["row_id"]:
        group = sources[row_id]
        if taken[group] + 1 <= most * rows + 1e-6 and len(expected) < rows:
            taken[group] += 1
            expected.append(row_id)
    if not expected:
        return
    plan_table = choose(
        ranked, plan(budget={"rows": rows}, shares=[{"by": "source", "most": most}]), context
    )
    assert chosen(plan_table) == expected
    last = plan_table.filter("selected")["rank"].max()
    passed = plan_table.filter(~pl.col("selected") & (pl.col("rank") < last))
    assert set(passed["reason"]) <= {"over_share"}
    below = plan_table.filter(pl.col("rank") > last)
    spent = len(expected) == rows
    assert set(below["reason"]) <= {"beyond_budget" if spent else "over_share"}


def test_a_budget_that_likeness_leaves_unspent_is_no_reason() -> None:
    ranked = ranking(0, 3)
    low, high = sorted(ranked["row_id"][i] for i in (1, 2))
    alike = pl.DataFrame(
        {"row_id": [low], "other_id": [high], "similarity": [0.9], "same": [False]}, PAIR_SCHEMA
    )
    for rows, reason in ((3, "too_similar"), (2, "beyond_budget")):
        params = plan(diversity={"most": 0.8}, budget={"rows": rows})
        table = choose(ranked, params, plan_context(ranked, pairs=alike))
        assert table["reason"].to_list() == ["within_budget", "within_budget", reason]


@given(seed=st.integers(0, 200), least=st.floats(0.0, 0.5), rows=st.integers(1, COUNT))
def test_a_quota_is_met_as_far_as_there_are_rows(seed: int, least: float, rows: int) -> None:
    ranked = ranking(seed)
    context = plan_context(ranked, seed)
    sources = source_of(context)
    if {"b", "c"} - set(sources.values()):
        return
    shares = [{"by": "source", "least": {"b": least, "c": least}}]
    plan_table = choose(ranked, plan(budget={"rows": rows}, shares=shares), context)
    picked = chosen(plan_table)
    assert len(picked) == rows
    for group in "bc":
        members = [i for i in ranked["row_id"] if sources[i] == group]
        needed = min(math.floor(least * rows + 1e-6), len(members))
        group_ids = [i for i in picked if sources[i] == group]
        assert len(group_ids) >= needed
        # Within a group it is always the best rows that go in.
        assert group_ids == members[: len(group_ids)]


@given(seed=st.integers(0, 300), tokens=st.integers(1, 500), most=st.floats(0.2, 1.0))
def test_caps_of_a_token_budget_count_tokens(seed: int, tokens: int, most: float) -> None:
    ranked = ranking(seed)
    context = plan_context(ranked, seed)
    params = plan(budget={"tokens": tokens}, shares=[{"by": "source", "most": most}])
    sources = source_of(context)
    shortest = min(ranked["tokens"].to_list())
    if shortest > tokens or (most < 1 and shortest > most * tokens):
        with pytest.raises(UserError, match=r"the caps leave no row|no row fits into"):
            choose(ranked, params, context)
        return
    plan_table = choose(ranked, params, context).filter("selected")
    spent = {g: 0 for g in "abc"}
    for row_id, cost in plan_table.select("row_id", "tokens").iter_rows():
        spent[sources[row_id]] += cost
    assert plan_table["tokens"].sum() <= tokens
    if most < 1:
        assert all(value <= most * tokens + 1e-6 for value in spent.values())


def long_ranking(seed: int, count: int = 200) -> pl.DataFrame:
    """Return a ranking of which a few rows hold most of the tokens, the best one above all."""
    lengths = np.random.default_rng(seed).lognormal(3.5, 1.5, count).clip(3).astype(np.int64)
    lengths[0] = 11_426
    return ranking(seed, count).with_columns(tokens=lengths)


@given(seed=st.integers(0, 300), budget=st.integers(600, 5_000))
def test_a_token_budget_is_met_in_a_heavy_tailed_pool(seed: int, budget: int) -> None:
    ranked = long_ranking(seed)
    plan_table = choose(ranked, plan(budget={"tokens": budget}), plan_context(ranked))
    spent = plan_table.filter("selected")["tokens"].sum()
    assert 0.98 * budget <= spent <= budget
    assert plan_table["reason"][0] == "passed_over"
    last = plan_table.filter("selected")["rank"].max()
    above = plan_table.filter(~pl.col("selected") & (pl.col("rank") < last))
    assert set(above["reason"]) == {"passed_over"}
    assert set(plan_table.filter(pl.col("rank") > last)["reason"]) <= {"beyond_budget"}


@given(seed=st.integers(0, 300), budget=st.integers(600, 5_000))
def test_a_long_row_ends_no_cap_and_no_quota(seed: int, budget: int) -> None:
    ranked = long_ranking(seed)
    context = plan_context(ranked, seed)
    sources = source_of(context)
    shares = [{"by": "source", "most": {"a": 0.5, "b": 0.5}, "least": {"c": 0.3}}]
    plan_table = choose(ranked, plan(budget={"tokens": budget}, shares=shares), context)
    picked = plan_table.filter("selected")
    assert 0.98 * budget <= picked["tokens"].sum() <= budget
    spent = {group: 0 for group in "abc"}
    for row_id, cost in picked.select("row_id", "tokens").iter_rows():
        spent[sources[row_id]] += cost
    assert max(spent["a"], spent["b"]) <= 0.5 * budget
    # The shortest row of c that is left does not fit into what is left of the quota.
    left = [t for i, t in ranked.select("row_id", "tokens").iter_rows() if sources[i] == "c"]
    assert spent["c"] >= 0.3 * budget - max(left)


def test_a_row_longer_than_the_budget_stands_in_nobodys_way() -> None:
    ranked = ranking(0, 3).with_columns(tokens=pl.Series([900, 50, 40]))
    ids = ranked["row_id"].to_list()
    pair = {"row_id": min(ids[:2]), "other_id": max(ids[:2]), "similarity": 0.99, "same": False}
    context = plan_context(ranked, pairs=pl.DataFrame([pair], schema=PAIR_SCHEMA))
    plan_table = choose(ranked, plan(budget={"tokens": 95}, diversity={"most": 0.9}), context)
    assert chosen(plan_table) == ids[1:]
    assert plan_table["reason"].to_list() == ["passed_over", "within_budget", "within_budget"]


def test_a_budget_below_the_shortest_row_says_so() -> None:
    ranked = ranking(0, 3).with_columns(tokens=pl.Series([900, 50, 40]))
    with pytest.raises(UserError, match=r"no row fits into 39 tokens.*has 40"):
        choose(ranked, plan(budget={"tokens": 39}), plan_context(ranked))


@given(seed=st.integers(0, 500), most=st.sampled_from([0.7, 0.8, 0.9]))
def test_diversity_passes_over_rows_like_a_higher_one(seed: int, most: float) -> None:
    ranked = ranking(seed)
    rng = np.random.default_rng([seed, 2])
    ids = ranked["row_id"].sort().to_list()
    near: dict[tuple[str, str], float] = {}
    for _ in range(40):
        a, b = sorted(rng.choice(COUNT, 2, replace=False))
        near[ids[a], ids[b]] = float(rng.choice([0.65, 0.75, 0.85, 0.95]))
    pairs = pl.DataFrame(
        {"row_id": [a for a, _ in near], "other_id": [b for _, b in near],
         "similarity": list(near.values()), "same": [False] * len(near)}, schema=PAIR_SCHEMA,
    )  # fmt: skip
    expected: list[str] = []
    for row_id in ranked["row_id"]:
        like = [near.get((min(row_id, i), max(row_id, i)), 0.0) for i in expected]
        if max(like, default=0.0) < most:
            expected.append(row_id)
    plan_table = choose(ranked, plan(diversity={"most": most}), plan_context(ranked, pairs=pairs))
    assert chosen(plan_table) == expected[:6]


def test_conditions_come_together() -> None:
    """Filter first, then quota before rank, and the budget is met exactly."""
    ranked = ranking(3)
    context = plan_context(ranked, 3)
    params = plan(
        filter="tokens > 5",
        shares=[{"by": "source", "most": {"a": 0.5}, "least": {"c": 0.3}}],
        budget={"rows": 10},
    )
    plan_table = choose(ranked, params, context)
    sources = source_of(context)
    picked = plan_table.filter("selected")
    assert picked.height == 10
    assert min(picked["tokens"].to_list()) > 5
    counts = {g: sum(sources[i] == g for i in picked["row_id"]) for g in "abc"}
    assert counts["a"] <= 5
    assert counts["c"] >= 3


def test_a_fraction_is_one_of_all_ranked_rows() -> None:
    ranked = ranking()
    plan_table = choose(
        ranked, plan(budget={"fraction": 0.25}, filter="tokens < 35"), plan_context(ranked)
    )
    assert plan_table["selected"].sum() == 6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"filter": "tokens <"}, "select.filter: 'tokens <'"),
        ({"filter": "tokens"}, "is no condition"),
        ({"filter": "tokens > 1000"}, "no row meets"),
        ({"filter": "fuzzy.nope > 1"}, "select.filter"),
        ({"filter": "nope > 1"}, "nothing is named 'nope'"),
        ({"filter": "read_csv('/etc/passwd') = 1"}, "select.filter"),
        ({"shares": [{"by": "source", "least": {"zz": 0.1}}]}, "no row has the source 'zz'"),
        ({"shares": [{"by": "nope"}]}, "nothing is named 'nope'"),
        ({"shares": [{"by": "source", "most": 0.01}]}, "the caps leave no row"),
    ],
)
def test_conditions_that_cannot_be_met_are_sentences(given: dict[str, Any], message: str) -> None:
    ranked = ranking()
    with pytest.raises(UserError, match=message):
        choose(ranked, plan(**given), plan_context(ranked))


def test_a_share_below_zero_or_quotas_above_one_are_refused() -> None:
    for share in (
        {"by": "source", "most": -0.1},
        {"by": "source", "least": {"a": 0.6, "b": 0.6}},
        {"by": "source", "most": 0.2, "least": {"a": 0.3}},
    ):
        with pytest.raises(ValueError, match="share"):
            plan(shares=[share])
