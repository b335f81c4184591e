"""Selections compared: every number against a count by hand, whatever the order of the pool."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.store import Store
from curate.pipeline.curation import run_curation
from curate.selectors.comparison import (
    KEPT,
    LISTED,
    align,
    jaccard,
    overlap,
    rank_correlation,
    rank_scored,
    rows_in_one_selection,
    write_comparison,
)
from tests.conftest import stored_table
from tests.selectors.poolruns import make_run, sample_pool

Ranking = tuple[list[str], int]


def ranking(ids: list[str], chosen: int) -> pl.DataFrame:
    """Return a ranking whose best rows are chosen."""
    at = range(len(ids))
    return pl.DataFrame(
        {
            "row_id": ids,
            "rank": [i + 1 for i in at],
            "selected": [i < chosen for i in at],
            "reason": ["within_budget" if i < chosen else "beyond_budget" for i in at],
        }
    )


@st.composite
def rankings(draw: st.DrawFn) -> dict[str, Ranking]:
    """Return up to four rankings of some of up to twelve rows, and how many each chooses."""
    ids = [f"r{i:02}" for i in range(draw(st.integers(1, 12)))]
    orders = {}
    for k in range(draw(st.integers(2, 4))):
        order = draw(st.permutations(ids))[: draw(st.integers(1, len(ids)))]
        orders[f"m{k}"] = (order, draw(st.integers(1, len(order))))
    return orders


@given(rankings())
def test_overlaps_are_those_of_sets(orders: dict[str, Ranking]) -> None:
    tables = {name: ranking(*one) for name, one in orders.items()}
    _, places, chosen = align(tables)
    overlaps = overlap(list(tables), places, chosen)
    assert overlaps.height == len(orders) * (len(orders) - 1) // 2
    for line in overlaps.to_dicts():
        (one, n), (other, m) = orders[line["one"]], orders[line["other"]]
        own, theirs = set(one[:n]), set(other[:m])
        assert (line["rows"], line["other_rows"]) == (len(own), len(theirs))
        assert line["shared"] == len(own & theirs)
        assert line["jaccard"] == pytest.approx(len(own & theirs) / len(own | theirs))
        both = sorted(set(one) & set(other))
        assert line["ranked"] == len(both)
        if len(both) < 2:
            assert line["correlation"] is None
        else:
            expected = spearmanr([one.index(i) for i in both], [other.index(i) for i in both])
            assert line["correlation"] == pytest.approx(expected.statistic)


@given(rankings())
def test_the_other_way_round_says_the_same(orders: dict[str, Ranking]) -> None:
    there = {name: ranking(*one) for name, one in orders.items()}
    back = dict(reversed(there.items()))
    overlaps = [overlap(list(t), *align(t)[1:]) for t in (there, back)]
    numbers = ["shared", "jaccard", "by_chance", "ranked", "correlation"]
    pairs = [
        {
            frozenset((line["one"], line["other"])): [line[n] for n in numbers]
            for line in f.to_dicts()
        }
        for f in overlaps
    ]
    assert pairs[0] == pairs[1]


@given(rankings())
def test_rows_of_one_selection_only_are_found(orders: dict[str, Ranking]) -> None:
    tables = {name: ranking(*one) for name, one in orders.items()}
    table = rows_in_one_selection(list(tables), *align(tables))
    lines = {(line["name"], line["row_id"]): line for line in table.to_dicts()}
    assert len(lines) == table.height
    for name, (order, n) in orders.items():
        others = {other: one for other, one in orders.items() if other != name}
        alone = set(order[:n]) - {i for o, m in others.values() for i in o[:m]}
        assert {row for owner, row in lines if owner == name} == alone
        for row in alone:
            line = lines[name, row]
            places = {k: o.index(row) + 1 for k, (o, _) in others.items() if row in o}
            assert line["rank"] == order.index(row) + 1
            assert line["elsewhere_rank"] == min(places.values(), default=None)
            assert places.get(line["elsewhere"]) == line["elsewhere_rank"]


def test_the_same_order_correlates_fully_and_the_reverse_inversely() -> None:
    places = np.array([5, 1, 9, 7])
    assert rank_correlation(places, places * 10) == 1
    assert rank_correlation(places, -places) == -1
    assert rank_correlation(places[:1], places[:1]) is None


def test_two_random_draws_share_as_much_as_by_chance() -> None:
    rng, ids = random.Random(0), [f"r{i}" for i in range(200)]
    lines = []
    for _ in range(200):
        tables = {name: ranking(rng.sample(ids, 200), n) for name, n in (("a", 40), ("b", 80))}
        lines.append(overlap(["a", "b"], *align(tables)[1:]).row(0, named=True))
    mean = sum(line["shared"] for line in lines) / len(lines)
    assert lines[0]["by_chance"] == jaccard(40 * 80 / 200, 40, 80)
    assert mean == pytest.approx(40 * 80 / 200, rel=0.03)


def ranked(store: Store, orders: Mapping[str, Ranking]) -> dict[str, Table]:
    return {name: stored_table(store, name, ranking(*one)) for name, one in orders.items()}


def compared(store: Store, rows: list[dict[str, Any]]) -> dict[str, pl.DataFrame]:
    run = make_run(store, rows, dropped=["r0000"])
    ids = sorted(row["row_id"] for row in rows if row["row_id"] != "r0000")
    orders: dict[str, Ranking] = {"own": (ids, 30), "bm25": (ids[::-1], 40)}
    artifact = run(write_comparison, run.rows, run.kept, run.tokens, ranked(store, orders))
    return {file: pl.read_parquet(artifact.file(file)) for file in sorted(artifact.files)}


def test_rows_and_tokens_add_up_and_the_mix_is_that_of_the_selections(store: Store) -> None:
    rows = sample_pool(60)
    tables = compared(store, rows)
    counts = tables["selections.parquet"]
    assert counts.select("name", "rows").rows() == [("own", 30), ("bm25", 40)]
    mix = tables["mix.parquet"]
    totals = mix.group_by("name", maintain_order=True).agg(pl.sum("rows", "tokens")).rows()
    assert totals[1:] == counts.select("name", "rows", "tokens").rows()
    lengths = {r["row_id"]: sum(len(m["content"]) for m in r["messages"]) for r in rows}
    assert totals[0] == (KEPT, 59, sum(lengths.values()) - lengths["r0000"])
    own = sorted(r["row_id"] for r in rows if r["row_id"] != "r0000")[:30]
    groups = Counter((r["source"], r["origin"]) for r in rows if r["row_id"] in own)
    mix_lines = mix.filter(name="own").select("source", "origin", "rows").iter_rows()
    assert {(source, origin): count for source, origin, count in mix_lines} == groups


def test_the_best_of_the_rows_alone_are_listed_in_order(store: Store) -> None:
    tables = compared(store, sample_pool(60))
    counts = dict(tables["selections.parquet"].select("name", "alone").iter_rows())
    assert counts == {"own": 19, "bm25": 29}
    alone = tables["alone.parquet"]
    assert alone["name"].to_list() == ["own"] * 19 + ["bm25"] * LISTED
    assert alone.filter(name="bm25")["rank"].to_list() == list(range(1, LISTED + 1))


def test_the_order_of_the_pool_changes_nothing(store: Store) -> None:
    rows = sample_pool(60)
    there, back = compared(store, rows), compared(store, rows[::-1])
    for name, table in there.items():
        assert table.equals(back[name]), name


def test_rows_without_a_score_have_no_rank_to_be_compared() -> None:
    """By their ids, in which they come last, any two methods agree about them."""
    ids = [f"r{i}" for i in range(6)]
    there = ranking(ids, 1).with_columns(reason=pl.Series(["kept"] * 3 + ["unscored"] * 3))
    back = ranking([*ids[2::-1], *ids[3:]], 1).with_columns(
        reason=pl.Series(["kept"] * 3 + ["unscored"] * 3)
    )
    tables = {"a": rank_scored(there), "b": rank_scored(back)}
    line = overlap(["a", "b"], *align(tables)[1:]).row(0, named=True)
    assert (line["ranked"], line["correlation"]) == (3, -1.0)


def test_the_comparison_of_a_run_leaves_unscored_rows_out(tmp_path: Path) -> None:
    words = ["red fox runs", "blue fox sleeps", "red hen", "zzz qqq", "www vvv", "kkk jjj"]
    lines = [json.dumps({"prompt": w, "completion": "x" * (9 - i)}) for i, w in enumerate(words)]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    (tmp_path / "target.jsonl").write_text(json.dumps({"prompt": "red fox", "completion": "ok"}))
    config = Config.model_validate(
        {
            "name": "compared",
            "pool": str(tmp_path / "pool.jsonl"),
            "target": str(tmp_path / "target.jsonl"),
            "select": {"method": "bm25", "budget": 2, "compare": "prompt"},
            "compare": ["random"],
            "store": str(tmp_path / "store"),
        }
    )
    folder = run_curation(config, tmp_path / "run").folder
    line = pl.read_parquet(folder / "evidence/comparison-overlap.parquet").row(0, named=True)
    assert line["ranked"] == 3
    page = (folder / "report/index.html").read_text()
    assert "over all 3 rows that both could score" in page
