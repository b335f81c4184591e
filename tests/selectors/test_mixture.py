"""Mixtures: shares of sources and origins at every budget, random rows within."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.rows import Message
from curate.core.section import DataTable
from curate.core.selectparams import Budget
from curate.core.store import Store
from curate.pipeline.curation import run_curation
from curate.report.data import gather
from curate.runs.folder import open_run
from curate.selectors.mixture import MixtureSelector, weighted_scores
from curate.selectors.selection import rank_rows
from curate.selectors.source_choice import HARMS, UNTRIED, choices
from tests.conftest import row, stored_table, turns
from tests.report.sections import blocks_of
from tests.selectors.poolruns import check_contract, make_run, ranked, sample_pool, scored

SIZES = {"web": 600, "book": 60, "chat": 6}


def table_of(sizes: dict[str, int]) -> pl.DataFrame:
    """Return a score table whose rows tell their source by their id, in mixed order."""
    ids = [f"{name}-{i:04}" for name, size in sizes.items() for i in range(size)]
    sources = [name for name, size in sizes.items() for _ in range(size)]
    table = pl.DataFrame({"row_id": ids, "source": sources, "origin": sources})
    return table.sample(fraction=1, shuffle=True, seed=3)


def shares(sizes: dict[str, int], weights: dict[str, float], rows: int) -> dict[str, float]:
    """Return the exact shares of a budget: by weight, what a group lacks to those with room."""
    out = dict.fromkeys(sizes, 0.0)
    room = set(sizes)
    left = float(rows)
    while left > 1e-12 and room:
        total = sum(weights[name] for name in room)
        step = min(left, *((sizes[n] - out[n]) * total / weights[n] for n in room))
        for name in room:
            out[name] += step * weights[name] / total
        left -= step
        room = {name for name in room if out[name] < sizes[name] - 1e-9}
    return out


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({}, {"web": 1, "book": 1, "chat": 1}),
        ({"weights": "proportional"}, {"web": 100, "book": 10, "chat": 1}),
        ({"weights": "temperature"}, {"web": 10, "book": 10**0.5, "chat": 1}),
        ({"weights": "temperature", "temperature": 1}, {"web": 100, "book": 10, "chat": 1}),
        ({"weights": {"web": 1, "book": 2.5, "chat": 0.5}}, {"web": 1, "book": 2.5, "chat": 0.5}),
    ],
    ids=str,
)
def test_every_budget_has_the_shares_to_within_one_row(
    settings: dict[str, Any], weights: dict[str, float]
) -> None:
    groups = [i.split("-")[0] for i in ranked(table_of(SIZES), "mixture", **settings)]
    assert Counter(groups) == SIZES
    for rows in [1, 2, 3, 5, 8, 17, 18, 19, 50, 119, 200, 333, 500, 665]:
        counts = Counter(groups[:rows])
        for name, share in shares(SIZES, weights, rows).items():
            assert abs(counts[name] - share) < 1


def test_a_large_temperature_is_nearly_equal() -> None:
    order = ranked(table_of(SIZES), "mixture", weights="temperature", temperature=1e6)
    assert Counter(i.split("-")[0] for i in order[:18]) == {"web": 6, "book": 6, "chat": 6}


def test_groups_that_are_not_named_come_last_in_proportion() -> None:
    table = table_of({"a": 5, "b": 40, "c": 20, "d": 3})
    groups = [i[0] for i in ranked(table, "mixture", weights={"a": 1, "d": 0})]
    assert set(groups[:5]) == {"a"}
    counts = Counter(groups[5:26])
    for name, size in {"b": 40, "c": 20, "d": 3}.items():
        assert abs(counts[name] - size * 21 / 63) < 1


def test_rows_of_a_group_come_in_a_random_order_of_the_seed() -> None:
    table = table_of({"a": 4, "b": 2})
    orders = Counter(
        tuple(i for i in ranked(table, "mixture", seed) if i[0] == "a") for seed in range(480)
    )
    assert len(orders) == 24
    # Chi-square with 23 degrees of freedom, below its 0.1 % point.
    assert sum((n - 20) ** 2 / 20 for n in orders.values()) < 49.7


def test_a_row_without_an_origin_is_of_its_source(store: Store) -> None:
    origins = ["sums", None, "sums", None, "prose"]
    rows = [row(f"r{i}", turns("q", "a"), source="web", origin=o) for i, o in enumerate(origins)]
    table = scored(make_run(store, rows), "mixture", by="origin")
    assert table["origin"].to_list() == ["sums", "web", "sums", "web", "prose"]
    assert set(ranked(table, "mixture", by="origin")[:3]) >= {"r4"}


def test_weights_and_groups_cost_no_step(store: Store) -> None:
    run = make_run(store, sample_pool())
    several: list[dict[str, Any]] = [{}, {"by": "origin"}, {"weights": "proportional"}]
    for settings in several:
        assert len(ranked(scored(run, "mixture", **settings), "mixture", **settings)) == 60
    assert run.executed_steps == ["score-mixture"]


def test_a_weight_for_a_group_that_is_not_there_is_told() -> None:
    with pytest.raises(
        UserError, match="no kept row has the source 'wbe'; there are: book, chat, web"
    ):
        ranked(table_of(SIZES), "mixture", weights={"wbe": 1})


@pytest.mark.parametrize("weights", [{"a": -1}, {"a": 0}, {}, {"a": float("inf")}, "even"])
def test_weights_that_make_no_sense(weights: Any) -> None:
    with pytest.raises(ValidationError, match="weight"):
        MixtureSelector.model_validate({"budget": {"rows": 1}, "weights": weights})


def test_five_thousand_groups_are_no_matter() -> None:
    ids = [f"r{i:05}" for i in range(20_000)]
    groups = np.random.default_rng(0).zipf(1.3, 20_000) % 5_000
    table = pl.DataFrame(
        {"row_id": ids, "source": groups.astype(str), "origin": groups.astype(str)}
    )
    order = ranked(table, "mixture")
    own = dict(table.select("row_id", "source").iter_rows())
    count = table["source"].n_unique()
    assert len({own[i] for i in order[:count]}) == count


def test_what_all_selectors_keep_to(store: Store) -> None:
    check_contract(store, "mixture")
    check_contract(store, "mixture", by="origin", weights="temperature")


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({}, {"web": 1, "book": 1, "chat": 1}),
        ({"weights": "proportional"}, {"web": 40, "book": 40, "chat": 6}),
        ({"weights": "temperature"}, {"web": 40**0.5, "book": 40**0.5, "chat": 6**0.5}),
    ],
    ids=str,
)
def test_a_group_counts_as_no_larger_than_the_cap(
    settings: dict[str, Any], weights: dict[str, float]
) -> None:
    """Examples-proportional mixing with K = 40; what is over the cap comes after all others."""
    groups = [i.split("-")[0] for i in ranked(table_of(SIZES), "mixture", cap=40, **settings)]
    capped = {name: min(size, 40) for name, size in SIZES.items()}
    within = sum(capped.values())
    assert Counter(groups[:within]) == capped
    for budget in range(within):
        counts = Counter(groups[:budget])
        for name, share in shares(capped, weights, budget).items():
            assert abs(counts[name] - share) < 1
    assert Counter(groups) == SIZES
    rest = Counter(groups[within : within + 58])
    assert rest == {"web": 56, "book": 2}


def test_a_cap_above_all_groups_changes_nothing() -> None:
    table = table_of(SIZES)
    assert ranked(table, "mixture", cap=600, seed=3) == ranked(table, "mixture", seed=3)


TOKENS = pl.DataFrame(
    {"row_id": [], "tokens": []}, schema={"row_id": pl.String, "tokens": pl.Int64}
)
EFFECTS: dict[str, list[float | None]] = {
    "web": [0.3, 0.1, 0.5], "book": [0.1, -0.1, 0.3], "chat": [-0.2, -0.3, -0.1],
    "news": [-0.1, -0.3, 0.1],
}  # fmt: skip


def tried(store: Store, effects: dict[str, list[float | None]]) -> Table:
    """Return scores of groups that were tried, but for the group `rest`."""
    run = make_run(store, sample_pool())
    nearest = pl.Series([[0.9]] * 5, dtype=pl.Array(pl.Float32, 1))
    names = ["web", "book", "chat", "news", "rest"]
    lines = {
        "group": names,
        "rows": [40] * 5,
        "embedding_rank": [1, 2, 3, 4, 5],
        "nearest": nearest,
    }
    choice = run(
        choices, stored_table(store, "measures", pl.DataFrame(lines)), "embedding", 4, effects
    )
    listed = stored_table(store, "listed", table_of(dict.fromkeys(names, 40)))
    return Table(run(weighted_scores, listed, choice, "source"), "scores")


def test_shares_are_the_effects_of_trials(store: Store) -> None:
    mixture = MixtureSelector(weights="sources", budget=Budget(rows=1))
    table = tried(store, EFFECTS).read()
    reasons = dict(zip(table["source"], mixture.unscored(table), strict=True))
    assert {name for name, reason in reasons.items() if reason is None} == {"web", "book", "news"}
    assert reasons["chat"] == HARMS and reasons["rest"] == UNTRIED
    scored_rows = table.filter(pl.col("reason").is_null())
    order = scored_rows["source"].gather(mixture.rank(scored_rows, 0)).to_list()
    for rows in range(1, 80):
        counts = Counter(order[:rows])
        for name, share in shares({"web": 40, "book": 40}, {"web": 3, "book": 1}, rows).items():
            assert abs(counts[name] - share) < 1
    # What has no effect above 0 comes after all that has one.
    assert set(order[80:]) == {"news"}


def test_effects_of_other_groups_are_no_weights_and_missing_ones_are_told(store: Store) -> None:
    """A run by sources has origins too, and a plan may ask for them; one by other shares has none."""
    budget = Budget(rows=1)
    by_origin = MixtureSelector(weights="sources", by="origin", budget=budget)
    said = "effects of groups by origin are not stored; run .*select.weights=sources .*select.by=origin"
    with pytest.raises(UserError, match=said):
        rank_rows(tried(store, EFFECTS).read(), TOKENS, by_origin, 0)
    plain = table_of(SIZES).with_columns(
        nearest_id=pl.lit(None, pl.String), score=pl.lit(None, pl.Float64)
    )
    with pytest.raises(UserError, match="effects of groups by source are not stored"):
        rank_rows(plain, TOKENS, MixtureSelector(weights="sources", budget=budget), 0)


def test_a_trial_without_any_help_gives_no_weights(store: Store) -> None:
    with pytest.raises(
        UserError, match=r"select.weights: 1 groups were tried, and none .*trial.top"
    ):
        tried(store, {"web": [-0.1, -0.3, 0.1]})


def test_weights_by_trials_need_a_target_and_cost_what_trials_cost() -> None:
    select = {"method": "mixture", "budget": 3}
    assert not Config.model_validate({"name": "r", "pool": "x", "select": select}).counts_tokens
    recipe = {"name": "r", "pool": "x", "select": {**select, "weights": "sources"}}
    with pytest.raises(ValidationError, match="needs `target:` examples"):
        Config.model_validate(recipe)
    whole = Config.model_validate({**recipe, "target": {"path": "x"}})
    assert whole.counts_tokens
    # A warm-up of 4 x 48 rows and 6 x 2 trials of 48; to learn a row takes five readings.
    assert isinstance(whole.select, MixtureSelector)
    costs = [one.cost(9).read_rows for one, _ in whole.select.members()]
    assert costs == [0, 5 * 48 * (4 + 12)]


@pytest.mark.system
def test_a_run_mixes_by_trials_and_lists_them(tmp_path: Path, tiny: Path) -> None:
    words = {"numbers": "one two three four five six", "colours": "red green blue pink grey black"}
    pool = []
    for name, text in words.items():
        lines = [turns(f"Say {w} again {i}", f"{w} {w}") for w in text.split() for i in range(2)]
        pool.append({"path": write_messages(tmp_path / f"{name}.jsonl", lines), "source": name})
    target = [turns(f"Say {word} once more", f"{word} {word}") for word in ("two", "five", "red")]
    recipe = {
        "name": "mixture",
        "pool": pool,
        "target": {"path": write_messages(tmp_path / "target.jsonl", target)},
        "models": {"base": str(tiny), "dtype": "float32"},
        "select": {"method": "mixture", "weights": "sources", "budget": 8,
                   "trial": {"top": 2, "rows": 12, "seeds": 2}},
        "store": str(tmp_path / "store"),
    }  # fmt: skip
    run_curation(Config.model_validate(recipe), tmp_path / "run")
    groups = open_run(tmp_path / "run").table("evidence/scores-groups").collect()
    effects = dict(groups.select("group", "effect").iter_rows())
    weights = {name: max(effect, 0) for name, effect in effects.items()}
    counts = Counter(pl.read_parquet(tmp_path / "run" / "selected.parquet")["source"])
    for name, share in shares({n: 12 for n in words if weights[n]}, weights, 8).items():
        assert abs(counts[name] - share) < 1
    section = gather(tmp_path / "run").selection_sections[0]
    assert "#Effect of a trial" in blocks_of(section, DataTable)[0].columns


def write_messages(path: Path, rows: Sequence[Sequence[Message]]) -> str:
    path.write_text("".join(json.dumps({"messages": list(one)}) + "\n" for one in rows))
    return str(path)
