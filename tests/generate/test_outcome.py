"""What a run says of its generation in a line each, and the books behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.generate.outcome import NOT_STARTED, generated_lines, outcomes_of
from curate.llm.limits import LowYield, YieldGuard

SPENT = {"calls": 10, "cached": 0, "prompt_tokens": 900, "completion_tokens": 100, "cost": 0.5}


def bill(**more: Any) -> dict[str, Any]:
    stages = {"aide.answer": SPENT, "aide.grade": SPENT | {"cached": 20}}
    counted = {"made": 40, "kept": 4, "dropped": {"empty": 3, "refused": 30, "too_long": 3}}
    return {"bill": {"stages": stages}, "methods": {"aide": counted}, "stopped": {}} | more


def test_stages_are_added_up_by_method() -> None:
    (outcome,) = outcomes_of(bill(), ["aide"])
    assert (outcome.calls, outcome.cached, outcome.tokens, outcome.cost) == (20, 20, 2_000, 1.0)
    assert (outcome.share, outcome.calls_a_row, outcome.tokens_a_row) == (0.1, 10, 1_000)
    assert outcome.dropped == (("refused", 30), ("empty", 3), ("too_long", 3))
    assert outcome.stopped is None


def test_a_method_that_a_limit_kept_from_starting_says_so() -> None:
    stopped = {"aide": "the limit of 20 calls is reached (20); raise limits.calls"}
    aide, craft = outcomes_of(bill(stopped=stopped), ["aide", "craft"])
    assert aide.stopped == stopped["aide"]
    assert (craft.stopped, craft.generated, craft.calls) == (NOT_STARTED, 0, 0)


def test_a_low_yield_is_told_without_its_samples() -> None:
    guard = YieldGuard("aide", least=0.5, after=2)
    guard.drop("refused", "No. => I cannot.")
    with pytest.raises(LowYield) as error:
        guard.drop("refused", "No.")
    (outcome,) = outcomes_of(bill(stopped={"aide": str(error.value)}), ["aide"])
    assert outcome.stopped == "only 0 of 2 candidates were kept, below the least yield of 50.0%"


def test_a_line_for_each_method(tmp_path: Path) -> None:
    assert generated_lines(tmp_path) == []
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated/bill.json").write_text(json.dumps(bill()))
    config = {"generate": {"methods": [{"method": "aide"}]}}
    (tmp_path / "manifest.json").write_text(json.dumps({"config": config}))
    assert generated_lines(tmp_path) == [
        "aide: 4 of 40 candidates kept (most dropped: 30 refused, 3 empty); 2,000 tokens in 20 calls, "
        "20 answers from the store, cost 1"
    ]
