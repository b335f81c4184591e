"""The spread of random draws: what can be shown, and where the next run's check finds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.calls import Table
from curate.core.store import Artifact, Store
from curate.proof.spread import (
    describe_spread,
    last_spread,
    power_sentence,
    setting_of,
    spread_sentence,
    write_spread,
)
from curate.proof.statistics import measure_spread
from tests.conftest import StoreRun, row, stored_rows, stored_table, turns

SETTING = setting_of({"rows": 48}, {"weights": "w"}, {"epochs": 1}, None)
LOSSES = [2.5, 2.6, 2.7]


def evals(store: Store, name: str = "e") -> Table:
    return stored_rows(store, "eval", [row(f"{name}0", turns("q", "a"))])


def measured(
    store: Store, losses: list[float] = LOSSES, name: str = "e", **setting: Any
) -> Artifact:
    results = {
        f"random_rows/{n}": stored_table(
            store,
            "results",
            pl.DataFrame({"loss": [loss, 9.0], "exact": [True, False], "response_tokens": [3, 0]}),
        )
        for n, loss in enumerate(losses)
    }
    run, quoted = StoreRun(store), {**SETTING, **setting}
    return run(write_spread, results, evals(store, name), "loss", 0.05, quoted)


def test_it_is_that_of_the_scored_examples_and_says_what_can_be_shown(store: Store) -> None:
    artifact = measured(store)
    spread = last_spread(store.root, SETTING, evals(store).artifact.key)
    assert spread is not None
    assert spread["draws"] == 3
    assert spread["mean"] == pytest.approx(2.6)
    assert spread["sd"] == pytest.approx(0.1)
    assert spread["detectable"] == pytest.approx(0.497, abs=1e-3)
    assert spread["detectable_low"] < spread["detectable"] < spread["detectable_high"]
    assert artifact.counts["sentence"] == spread_sentence(spread)
    assert "a difference above 0.497 can be shown" in spread_sentence(spread)


def test_draws_that_tie_say_that_no_spread_could_be_estimated(store: Store) -> None:
    sentence = measured(store, [2.5, 2.5, 2.5]).counts["sentence"]
    assert sentence.startswith(
        "3 random draws all have a mean loss of 2.500: no spread could be est"
    )
    assert "above 0.000" not in sentence
    spread = last_spread(store.root, SETTING, evals(store).artifact.key)
    assert spread is not None
    assert "no spread could be estimated" in power_sentence(spread, 9, 0.05)


def test_shares_that_tie_are_taken_to_differ_by_one_example(store: Store) -> None:
    spread = describe_spread(measure_spread([0.5] * 9), 0.05, "exact_match", step=0.1)
    assert spread["detectable"] == pytest.approx(spread["factor"] * 0.1)
    words = (
        "no spread could be estimated; taken to differ by one example (0.100), they let a differ"
    )
    assert words in spread_sentence(spread)
    assert "above 0.243 be shown" in power_sentence(spread, 9, 0.05)


def test_another_setting_or_eval_set_has_none(store: Store) -> None:
    measured(store)
    key = evals(store).artifact.key
    assert last_spread(store.root, SETTING, "another") is None
    others: list[dict[str, Any]] = [
        {"budget": {"rows": 49}},
        {"model": {}},
        {"lora": {"epochs": 2}},
    ]
    for other in others:
        assert last_spread(store.root, {**SETTING, **other}, key) is None
    assert last_spread(store.root / "nowhere", SETTING, key) is None


def test_the_newest_counts_and_damaged_ones_are_passed_over(store: Store) -> None:
    old, new = measured(store), measured(store, [1.0, 2.0, 3.0])
    key = evals(store).artifact.key
    os.utime(old.path / "manifest.json", (1, 1))
    newest = last_spread(store.root, SETTING, key)
    assert newest is not None
    assert newest["sd"] == pytest.approx(1.0)
    Path(new.path / "spread.json").write_text("{")
    newest = last_spread(store.root, SETTING, key)
    assert newest is not None
    assert newest["sd"] == pytest.approx(0.1)
