"""Watch sets: planted harm is found, told against base and draws, and changes no other verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.calls import CachedCall, Table
from curate.core.keyed import ModelSource
from curate.core.store import Artifact, Store
from curate.proof import training
from curate.proof.measure import measurement
from curate.proof.statistics import WITHIN
from curate.proof.values import WatchSetValues
from curate.proof.watch_sets import WatchInputs
from tests.conftest import row, stored_rows, turns
from tests.proof.test_proof import Loss, harmful, helpful, indifferent, run_proof

pytestmark = pytest.mark.system

PROMPTS = [f"watched {i}" for i in range(20)]


def watched(
    store: Store, loss: Loss, sets: Mapping[str, Sequence[str]] | None = None, **settings: Any
) -> list[dict[str, Any]]:
    proof, _, _ = run_proof(store, loss, watch=sets or {"general": PROMPTS}, **settings)
    return list(proof["watch"])


def test_a_proof_without_watch_sets_has_no_verdict_on_them(store: Store) -> None:
    assert run_proof(store)[0]["watch"] == []


def test_harm_that_the_selection_does_is_lost_and_more_than_random_rows_do(store: Store) -> None:
    [line] = watched(store, harmful)
    assert (line["source"], line["verdict"]) == ("general", "lost")
    assert line["rise"] == pytest.approx(0.5, abs=0.05)
    assert line["low"] < line["rise"] < line["high"]
    assert line["random"]["verdict"] == "worse"
    assert line["sentence"].startswith("general: lost; loss higher by +0.5")
    assert "margin 0.1; more than after random draws" in line["sentence"]


def test_a_selection_that_helps_on_a_watch_set_keeps_it(store: Store) -> None:
    [line] = watched(store, helpful)
    assert line["verdict"] == "kept"
    assert line["random"]["verdict"] == "better"


def test_harm_that_any_rows_do_is_lost_but_within_the_range_of_random_draws(store: Store) -> None:
    def forget(ids: Sequence[str]) -> float:
        return 1.4 + 0.05 * indifferent(ids) if ids else 1.0

    [line] = watched(store, forget)
    assert line["verdict"] == "lost"
    assert line["random"]["verdict"] == WITHIN


def test_a_rise_near_the_margin_is_not_shown(store: Store) -> None:
    [line] = watched(store, lambda ids: 1.1 if ids else 1.0)
    assert line["verdict"] == "not shown"


def test_every_model_of_the_proof_is_measured_on_watch_sets(store: Store) -> None:
    proof, artifact, run = run_proof(
        store, watch={"general": PROMPTS}, tokens=lambda i: 20 if i < 10 else 10
    )
    effects = pl.read_parquet(artifact.file("watch.parquet"))
    assert effects.height == (1 + 6 + 3 + 3) * len(PROMPTS)
    arms = {"base", "selected", "random_rows", "random_tokens"}
    assert set(effects["arm"]) == arms == set(proof["watch"][0]["rises"])
    assert proof["watch"][0]["rises"]["base"] == 0
    assert len(run.trained) == 6 + 3 + 3, "a watch set trains nothing"
    assert set(effects["source"]) == {"general"}


def test_watch_sets_share_the_level_and_are_judged_by_their_own_margin(store: Store) -> None:
    [alone] = watched(store, harmful)
    first, second = watched(store, harmful, {"general": PROMPTS, "other": PROMPTS[:5]})
    assert (alone["alpha"], first["alpha"]) == (0.05, 0.025)
    assert first["high"] - first["low"] > alone["high"] - alone["low"]
    assert (first["examples"], second["examples"]) == (20, 5)


def test_a_watch_set_without_two_responses_is_not_measured_by_name(store: Store) -> None:
    rows = [row(i, turns(f"watched {i}", "y"), source="general") for i in ("short", "too-long")]
    judged: WatchSetValues = {"source": "general", "margin": 0.1, "metric": "loss"}
    watch = WatchInputs(stored_rows(store, "watch", rows), None, [judged])
    [line] = run_proof(store, watch=watch)[0]["watch"]
    assert line["verdict"] == "not measured"
    assert line["sentence"].startswith("general: not measured; fewer than 2 of its 2 examples have")


def test_watch_sets_change_nothing_of_the_proof_itself(store: Store, tmp_path: Path) -> None:
    plain = run_proof(store)[0]
    beside = run_proof(Store(tmp_path / "other"), watch={"general": PROMPTS})[0]
    for key in ("verdict", "sentence", "comparisons", "spread", "rank"):
        assert plain[key] == beside[key]


def test_the_options_of_the_eval_set_are_not_asked_of_watch_sets(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_options: dict[str, set[bool]] = {}

    def record(
        rows: Table, tuned: Artifact | None, limit: int, model: ModelSource, questions: Table | None
    ) -> CachedCall[Table]:
        has_options.setdefault(rows.artifact.name, set()).add(questions is not None)
        return measurement(rows, tuned, limit, model, questions)

    monkeypatch.setattr(training, "measurement", record)
    run_proof(store, watch={"general": PROMPTS})
    assert has_options == {"eval": {True}, "watch": {False}}
