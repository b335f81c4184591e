"""Scorer stage: the selector's own numbers, cut at a value or a share, and moved without the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.errors import UserError
from curate.core.store import Store
from curate.judge.scorer import ScorerStage
from tests.conftest import row, stored_rows
from tests.judge.clearruns import EngineRun, judge_stage
from tests.selectors.lossruns import scored
from tests.selectors.test_scorer import TEXTS, plain_logits, run_of, write_classifier


@pytest.fixture(scope="module")
def cappy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regression as Cappy is: RoBERTa with one output."""
    return write_classifier(tmp_path_factory.mktemp("cappy"), "roberta", num_labels=1)


def test_rows_below_the_cut_go_and_blocks_are_the_selectors(
    store: Store, tiny: Path, cappy: Path
) -> None:
    run = EngineRun(store)
    rows = stored_rows(store, "pool", [row(f"r{i:03}", m) for i, m in enumerate(TEXTS)])
    expected = plain_logits(cappy)[:, 0].tolist()
    stage = {"kind": "scorer", "model": str(cappy), "drop": 0.3}
    verdicts, prepared = judge_stage(run, rows, stage)
    evidence = verdicts.read()
    assert evidence["score"].to_list() == pytest.approx(expected, abs=1e-5)
    worst = sorted(range(len(expected)), key=expected.__getitem__)[:2]
    assert evidence.filter(keep=False)["row_id"].to_list() == [f"r{i:03}" for i in sorted(worst)]
    assert set(evidence.filter(keep=False)["reason"]) == {"low_grade"}
    limit = sorted(expected)[2]
    assert evidence["threshold"].to_list() == pytest.approx([limit] * len(TEXTS), abs=1e-5)

    middle = {**stage, "drop": None, "threshold": sorted(expected)[3] - 1e-4}
    earlier_steps = list(run.executed_steps)
    moved, again = judge_stage(run, rows, middle)
    assert moved.artifact.counts["dropped"] == {"low_grade": 3}
    assert again["ratings"].path == prepared["ratings"].path
    assert run.executed_steps[len(earlier_steps) :] == ["scorer"], "nothing is rated again"

    selecting = run_of(store, tiny)
    scored(selecting, "scorer", model=str(cappy))
    assert "ratings" not in selecting.executed_steps


def test_a_checkpoint_at_fault_is_named_by_the_stage(store: Store, cappy: Path) -> None:
    rows = stored_rows(store, "pool", [row("r", TEXTS[0])])
    stage = {"kind": "scorer", "model": str(cappy), "label": "good", "drop": 0.1}
    with pytest.raises(UserError, match=r"scorer\.label: .* leave it out"):
        judge_stage(EngineRun(store), rows, stage)


def test_there_is_no_common_threshold() -> None:
    with pytest.raises(ValueError, match="give threshold or drop"):
        ScorerStage(model="x")
