"""The stage ablation in the report and on the terminal: a line for each stage, nothing without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.proof.described import AblationValues, StageBill
from curate.proof.earnings import ablation_lines
from curate.report.build import write_report

MakeRun = Callable[..., Path]
BILL: dict[str, StageBill] = {
    "exact": {"seconds": 2.5, "calls": 0},
    "rubric": {"seconds": 61.0, "calls": 1200},
}


def line(stage: str, **changed: Any) -> Any:
    plain = {
        "stage": stage, "dropped": 12, "new_rows": 0, "back": 7, "unjudged": [], "guards": None,
        "changed": 3, "leaking": 0, "earned": None, "over_random": None, "note": None,
    }  # fmt: skip
    return {**plain, **changed}


def ablation() -> AblationValues:
    earned = {"difference": 0.21, "low": 0.05, "high": 0.37}
    return {
        "metric": "loss",
        "unit": "nats per response token",
        "control": "random_rows",
        "trainings": 3,
        "compared": 1,
        "spread": 0.125,
        "over_random": 0.8,
        "stages": [
            line("exact", earned=earned, over_random=0.59, unjudged=["rubric"]),
            line("rubric", changed=0, note="without it the same rows are selected"),
            line("leaks", guards="eval prompts", changed=0, note="it stays <b>"),
        ],
        "sentence": "A sentence of the ablation.",
    }


def test_every_stage_has_a_line_with_earnings_and_bill(make_run: MakeRun) -> None:
    run = make_run()
    proof = json.loads((run / "proof.json").read_text())
    (run / "proof.json").write_text(json.dumps({**proof, "ablation": ablation()}))
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "ablation": BILL}))
    source = write_report(run).read_text()
    assert "What each stage earned and cost" in source
    assert "1 comparison with a 95 % interval, and no verdict" in source
    for part in (
        "+0.210",
        "+0.0500 to +0.370",
        "+0.590",
        "+0.800",
        "2.5",
        "1,200",
        "it stays &lt;b",
    ):
        assert part in source
    assert "Without exact, rubric judged none of the rows that come back" in source


def test_a_proof_without_an_ablation_says_nothing_of_one(make_run: MakeRun) -> None:
    assert "What each stage earned" not in write_report(make_run()).read_text()


def test_the_terminal_has_a_line_for_each_stage() -> None:
    assert ablation_lines(ablation(), BILL) == [
        "exact: earned +0.210 [+0.050, +0.370]; 2.5 s, 12 rows dropped, of the selection 3 rows changed",
        "rubric: without it the same rows are selected; 61.0 s, 1,200 calls, 12 rows dropped, of the "
        "selection 0 rows changed",
        "leaks: it stays <b>; 12 rows dropped",
    ]
