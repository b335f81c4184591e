"""Rows that are marked to keep: what later stages do with them, and with their own new rows."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.ledger import evidence_of
from curate.core.pins import OVERRIDDEN, PINNED, decide, pinned_ids, spare_pinned
from curate.core.reasons import Reason
from curate.core.stage import APPENDED, Stage, StageData, StageResult
from curate.core.store import Store
from curate.core.tables import ParquetFile
from tests.conftest import StoreRun, row, stored, stored_rows, turns

SCORES = {"a": 0.1, "b": 0.2, "c": 0.9}


class LowScoreStage(Stage):
    """Drops rows of a low score."""

    method: Literal["low-score"] = "low-score"
    below: float = 0.5

    def decide(self, data: StageData) -> StageResult:
        low = pl.col("score") < self.below
        return StageResult(
            data.rows.select("row_id", "score").with_columns(
                keep=~low,
                reason=pl.when(low).then(pl.lit(Reason.LOW_GRADE.value)),
                threshold=pl.lit(self.below),
                duplicate_of=pl.lit("z"),
            )
        )


class GuardStage(LowScoreStage):
    """Drops them because no training may read them."""

    keeps_out: ClassVar[str | None] = "eval prompts"


class HandStage(LowScoreStage):
    """Drops them because another person says so."""

    pins: ClassVar[bool] = True


def pins(**pinned: bool) -> pl.LazyFrame:
    return pl.LazyFrame({"row_id": list(pinned), PINNED: list(pinned.values())}).with_columns(
        keep=pl.lit(value=True), duplicate_of=pl.lit(None, dtype=pl.String)
    )


def scored(scores: dict[str, float]) -> pl.LazyFrame:
    return pl.LazyFrame({"row_id": list(scores), "score": list(scores.values())})


def data_of(evidence: dict[str, pl.LazyFrame], prepared: dict[str, ParquetFile]) -> StageData:
    return StageData(scored(SCORES), evidence=evidence, prepared=prepared)


def test_a_pinned_row_stays_with_its_score_and_the_reason_that_it_would_go_for() -> None:
    result = decide(LowScoreStage(), data_of({"manual": pins(b=True, c=True)}, {}))
    columns = ["row_id", "keep", "reason", "score", "duplicate_of", OVERRIDDEN]
    assert result.frame.select(columns).rows() == [
        ("a", False, "low_grade", 0.1, "z", None),
        ("b", True, None, 0.2, "z", "low_grade"),
        ("c", True, None, 0.9, "z", None),
    ]


def test_a_row_that_stays_is_replaced_by_none(tmp_path: Path) -> None:
    data = data_of({"manual": pins(b=True)}, {APPENDED: ParquetFile(tmp_path / "made.parquet")})
    frame = decide(LowScoreStage(), data).frame
    assert dict(frame.select("row_id", "duplicate_of").iter_rows()) == {
        "a": "z",
        "b": None,
        "c": "z",
    }


@pytest.mark.parametrize("stage", [GuardStage(), HandStage()])
def test_what_keeps_eval_prompts_out_and_later_marks_drop_pinned_rows_too(stage: Stage) -> None:
    data = data_of({"manual": pins(a=True, b=True)}, {})
    assert decide(stage, data).frame.equals(stage.decide(data).frame)


def test_the_row_in_the_place_of_a_dropped_one_is_pinned() -> None:
    evidence = pl.LazyFrame(
        {
            "row_id": ["a", "b", "c"],
            "keep": [False, False, True],
            PINNED: [True, False, False],
            "duplicate_of": ["new", "other", None],
        }
    )
    assert pinned_ids([evidence, pins(x=True)]).to_list() == ["new", "x"]


def test_no_row_is_made_of_a_pinned_one(tmp_path: Path) -> None:
    run = StoreRun(Store(tmp_path))
    new_rows = stored_rows(
        run.store,
        "made",
        [row(f"made/{p}", turns("2?", "two"), parents=[p], method="m", hop=1) for p in SCORES],
    )
    evidence = [evidence_of(stored(run.store, "manual", {"evidence": pins(b=True).collect()}))]
    prepared = {APPENDED: new_rows}
    spared = spare_pinned(run, LowScoreStage(), evidence, prepared)[APPENDED]
    assert spared.read()["row_id"].to_list() == ["made/a", "made/c"]
    assert spare_pinned(run, GuardStage(), evidence, prepared) == prepared
    assert spare_pinned(run, LowScoreStage(), [], prepared) == prepared


@given(
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    marked=st.lists(st.booleans(), min_size=8, max_size=8),
    below=st.floats(0, 1),
)
def test_every_pinned_row_survives_and_no_other_verdict_changes(
    scores: list[float], marked: list[bool], below: float
) -> None:
    ids = [f"r{i}" for i in range(len(scores))]
    rows = scored(dict(zip(ids, scores, strict=True)))
    pinned = dict(zip(ids, marked, strict=False))
    stage = LowScoreStage(below=below)
    plain = stage.decide(StageData(rows)).frame
    verdicts = decide(stage, StageData(rows, evidence={"manual": pins(**pinned)})).frame
    kept = {name for name, keep in plain.select("row_id", "keep").iter_rows() if keep}
    assert set(verdicts.filter("keep")["row_id"]) == kept | {n for n, pin in pinned.items() if pin}
    others = ~pl.col("row_id").is_in([n for n, pin in pinned.items() if pin])
    assert verdicts.filter(others).select(plain.columns).equals(plain.filter(others))
    if not any(pinned.values()):
        assert verdicts.columns == plain.columns
