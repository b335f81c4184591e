"""Confidence: who is dropped, by which threshold, and what is told of the scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.core.stage import StageData, StageResult
from curate.core.store import Store
from curate.judge.confidence import ConfidenceStage, find_cut
from curate.judge.signals import ORIENTATION
from curate.runs.folder import open_run
from curate.runs.rethreshold import rethreshold
from tests.conftest import frame, mean, row, stored_table, turns
from tests.report.realrun import finish, shared_recipe, write_inputs

LABELS = {"labels": {"path": "labels.jsonl"}}
ROWS = 200


def judged(
    folder: Path, signals: dict[str, Any], correct: Any = None, **params: Any
) -> StageResult:
    """Return the verdicts on rows with these signals; rows whose label is None have none."""
    count = len(next(iter(signals.values())))
    ids = [f"r{i:04}" for i in range(count)]
    signal_columns = dict.fromkeys(ORIENTATION, [None] * count) | signals
    columns = {name: pl.Series(signal_columns[name], dtype=pl.Float64) for name in ORIENTATION}
    store = Store(folder / "store")
    table = pl.DataFrame({"row_id": ids, **columns})
    prepared = {"signals": stored_table(store, "signals", table)}
    if correct is not None:
        labels = pl.DataFrame({"row_id": ids, "correct": pl.Series(correct, dtype=pl.Boolean)})
        prepared["labels"] = stored_table(store, "labels", labels.drop_nulls())
        params = {**LABELS, **params}
    rows = frame([row(name, turns("q", "a")) for name in ids]).lazy()
    return ConfidenceStage(**params).decide(StageData(rows, prepared=prepared))


def noisy(seed: int = 0, rows: int = ROWS) -> tuple[dict[str, Any], list[bool]]:
    rng = np.random.default_rng(seed)
    right = rng.random(rows) < 0.8
    return {
        "mean_logprob": (rng.normal(size=rows) + 1.5 * right).tolist(),
        "entropy": (rng.normal(size=rows) - 1.5 * right).tolist(),
        "min_logprob": rng.normal(size=rows).tolist(),
        "agreement": [None if i % 3 else float(rng.random()) for i in range(rows)],
    }, right.tolist()


# --- thresholds ---------------------------------------------------------------------------------


def test_without_a_threshold_rows_are_only_scored(tmp_path: Path) -> None:
    result = judged(tmp_path, noisy()[0])
    assert result.frame["keep"].all()
    assert result.frame["threshold"].null_count() == ROWS
    assert result.frame["score"].is_between(0, 1).all()
    assert not result.tables


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.floats(0, 0.99))
def test_the_lowest_share_goes_and_equal_rows_stay_together(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], share: float
) -> None:
    folder = tmp_path_factory.mktemp("share")
    evidence = judged(folder, {"mean_logprob": values}, drop=share).frame
    gone = evidence.filter(~pl.col("keep"))
    assert gone.height <= share * len(values) + 1e-9
    kept = [v for v, keep in zip(values, evidence["keep"], strict=True) if keep]
    lost = [v for v, keep in zip(values, evidence["keep"], strict=True) if not keep]
    assert not lost or max(lost) < min(kept)
    more = sum(v <= min(kept) for v in values)
    assert more > share * len(values) - 1e-9, "no more rows could go"


def test_a_row_without_any_signal_has_no_score_and_stays(tmp_path: Path) -> None:
    signals = {"mean_logprob": [None, -1.0, -2.0, -3.0]}
    evidence = judged(tmp_path, signals, threshold=0.5).frame
    assert evidence["score"].to_list() == pytest.approx([None, 5 / 6, 0.5, 1 / 6])
    assert evidence["keep"].to_list() == [True, True, True, False]
    assert evidence["reason"].to_list() == [None, None, None, "low_confidence"]


def test_a_precision_is_reached_by_the_lowest_threshold_that_can(tmp_path: Path) -> None:
    signals, right = noisy()
    evidence = judged(tmp_path, signals, right, precision=0.9).frame.with_columns(
        correct=pl.Series(right)
    )
    threshold = evidence["threshold"][0]
    assert mean(evidence.filter("keep")["correct"]) >= 0.9
    for lower in evidence.filter(pl.col("score") < threshold)["score"]:
        assert mean(evidence.filter(pl.col("score") >= lower)["correct"]) < 0.9


def test_a_precision_out_of_reach_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no threshold keeps rows of which 1 are correct; the best"
    ):
        judged(tmp_path, {"mean_logprob": [0.0] * 40}, [i % 2 == 0 for i in range(40)], precision=1)


@pytest.mark.parametrize(
    ("given_params", "message"),
    [
        ({"drop": 0.1, "threshold": 0.5}, "threshold or drop"),
        ({"precision": 0.9, "threshold": 0.5, **LABELS}, "one of threshold, drop and precision"),
        ({"precision": 0.9}, "give labels too"),
        ({"calibration": "isotonic"}, "give labels too"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    given_params: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        ConfidenceStage(**given_params)


# --- labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("calibration", ["logistic", "isotonic"])
def test_with_labels_the_score_is_a_probability_that_beats_each_signal(
    tmp_path: Path, calibration: str
) -> None:
    signals, right = noisy(rows=1_000)
    result = judged(tmp_path, signals, right, calibration=calibration)
    quality = {
        line["signal"]: line for line in result.tables["quality"].lazy().collect().to_dicts()
    }
    assert list(quality) == [*ORIENTATION, "mean_rank", "confidence"]
    best = max(quality[name]["auroc"] for name in ("mean_logprob", "entropy", "min_logprob"))
    assert quality["confidence"]["auroc"] > best
    assert quality["confidence"]["ece"] < 0.05
    assert quality["confidence"]["brier"] < 0.8 * 0.2, "better than the share of right rows"
    assert quality["min_logprob"]["auroc"] == pytest.approx(0.5, abs=0.06), "noise"
    assert quality["agreement"]["rows"] == 334
    assert quality["relevance"] == {
        "signal": "relevance", "rows": 0, "wrong": 0, "auroc": None, "low": None, "high": None,
        "ece": None, "brier": None,
    }  # fmt: skip
    bins = result.tables["reliability"].lazy().collect()
    assert bins["rows"].sum() == 1_000


def test_rows_without_a_label_are_scored_as_well(tmp_path: Path) -> None:
    signals, right = noisy(rows=600)
    some = [label if i < 300 else None for i, label in enumerate(right)]
    result = judged(tmp_path, signals, some, drop=0.2)
    rest = result.frame[300:].with_columns(correct=pl.Series(right[300:]))
    assert rest["score"].null_count() == 0
    wrong = ~rest["correct"]
    assert mean(rest.filter(wrong)["score"]) < mean(rest.filter(~wrong)["score"]) - 0.2
    assert result.tables["quality"].lazy().collect()["rows"].max() == 300


def test_signals_that_say_nothing_leave_the_share_of_right_rows(tmp_path: Path) -> None:
    right = [i % 4 != 0 for i in range(80)]
    result = judged(tmp_path, {"mean_logprob": [-1.0] * 80}, right)
    assert result.frame["score"].to_list() == pytest.approx([0.75] * 80, abs=0.06)


# --- a whole run --------------------------------------------------------------------------------


@pytest.mark.system
def test_thresholds_move_without_the_model_and_as_in_a_fresh_run(
    tmp_path: Path, tiny: Path
) -> None:
    write_inputs(tmp_path, rows=30)
    pool = (tmp_path / "pool.jsonl").read_text().splitlines()
    labels = [
        {"source": "web", "position": i, "correct": i % 3 > 0} for i in range(1, len(pool) + 1)
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(x) + "\n" for x in labels))
    own: dict[str, Any] = {"kind": "confidence", "labels": {"path": str(tmp_path / "labels.jsonl")}}
    stages = [{"kind": "exact"}, {**own, "drop": 0.2}]
    run = open_run(finish(shared_recipe(tmp_path, tiny, stages), tmp_path / "run"))
    (tmp_path / "labels.jsonl").unlink()
    before = run.table("evidence/confidence").collect()
    assert 0 < (~before["keep"]).sum() <= 0.2 * before.height
    assert run.has("evidence/confidence-quality") and run.has("evidence/confidence-signals")
    moved = rethreshold(run, "confidence", ["drop=0.4"])
    assert moved.gone > 0 and moved.back == 0
    assert moved.sweep["dropped"].is_sorted()
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(x) + "\n" for x in labels))
    fresh = finish(
        shared_recipe(tmp_path, tiny, [{"kind": "exact"}, {**own, "drop": 0.4}]), tmp_path / "f"
    )
    expected = pl.read_parquet(fresh / "evidence" / "confidence.parquet")
    assert_frame_equal(moved.evidence.select(expected.columns), expected)
    fallen = pl.read_parquet(fresh / "ledger.parquet").filter(stage="confidence")
    assert set(fallen["reason"]) == {"low_confidence"}


def test_a_precision_of_rows_that_were_not_drawn_alike_weighs_their_labels() -> None:
    scores = pl.Series([0.1, 0.2, 0.3, 0.4])
    labels = pl.DataFrame({"correct": [True, False, False, True]})
    params = ConfidenceStage(precision=0.75, **LABELS)
    assert find_cut(scores, labels, params).threshold == 0.4
    weighted = labels.with_columns(weight=pl.Series([9.0, 0.5, 0.5, 1.0]))
    assert find_cut(scores, weighted, params).threshold == 0.1


def test_quality_weighs_labels_and_the_scores_stay_as_they_are(tmp_path: Path) -> None:
    signals, right = noisy()
    plain = judged(tmp_path, signals, right)
    store, ids = Store(tmp_path / "store"), plain.frame["row_id"]
    labels = pl.DataFrame({"row_id": ids, "correct": right})
    weights = pl.Series("weight", [0.5, 1.5] * (ROWS // 2))
    columns = {
        name: pl.Series(signals.get(name, [None] * ROWS), dtype=pl.Float64) for name in ORIENTATION
    }
    prepared = {
        "signals": stored_table(store, "signals", pl.DataFrame({"row_id": ids, **columns})),
        "labels": stored_table(store, "labels", labels.with_columns(weights)),
    }
    rows = frame([row(name, turns("q", "a")) for name in ids]).lazy()
    stage = ConfidenceStage(**LABELS)
    weighted = stage.decide(StageData(rows, prepared=prepared))
    assert weighted.frame["score"].equals(plain.frame["score"])
    tables = [cast(pl.DataFrame, result.tables["reliability"]) for result in (plain, weighted)]
    assert tables[1]["weight"].sum() == pytest.approx(ROWS)
    assert tables[0]["right"].to_list() != tables[1]["right"].to_list()
