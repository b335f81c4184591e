"""Limits, bill and yield guard."""

from __future__ import annotations

import json

import pytest

from curate.llm.limits import Bill, Limits, LowYield, Usage, YieldGuard, exceeded
from curate.llm.requests import Completion, failed


def test_a_bill_adds_up() -> None:
    bill = Bill()
    bill.stage("a").add(Completion("x", "ok", prompt_tokens=3, completion_tokens=2, cost=0.5))
    bill.stage("a").calls += 1
    bill.stage("b").add(failed("broken", sends=4))
    bill.stage("b").useless["failed"] = 1
    record = bill.to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["stages"]["a"]["prompt_tokens"] == 3
    assert record["stages"]["b"] == {
        **Usage().to_dict(),
        "retried": 3,
        "failed": 1,
        "useless": {"failed": 1},
    }
    total = bill.total()
    assert (total.calls, total.tokens, total.cost, total.retried) == (1, 5, 0.5, 3)
    assert total.useless == {"failed": 1}


@pytest.mark.parametrize(
    ("limits", "name"),
    [(Limits(calls=5), "calls"), (Limits(tokens=30), "tokens"), (Limits(cost=0.25), "cost")],
)
def test_a_limit_is_reached_by_what_was_spent(limits: Limits, name: str) -> None:
    spent = Usage(calls=5, prompt_tokens=20, completion_tokens=10, cost=0.25)
    assert f"{name} is reached" in str(exceeded(limits, spent))
    assert exceeded(limits, Usage(calls=4, prompt_tokens=29, cost=0.2)) is None
    assert exceeded(Limits(), spent) is None


def test_no_yield_stops_with_three_different_samples() -> None:
    guard = YieldGuard("refine", least=0.1, after=10)
    for number in range(5):
        guard.drop("too short", f"short {number}")
    for number in range(4):
        guard.drop("no JSON", f"text {number}")
    with pytest.raises(LowYield) as caught:
        guard.drop("novelty", "the same again")
    message = str(caught.value)
    assert "refine: only 0 of 10" in message and message.count("\n  ") == 3
    assert "too short: 'short 0'" in message and "no JSON: 'text 0'" in message
    assert "novelty: 'the same again'" in message


def test_one_reason_shows_several_samples() -> None:
    guard = YieldGuard("refine", least=0.5, after=4)
    with pytest.raises(LowYield) as caught:
        for number in range(4):
            guard.drop("loop", f"text {number} " + "x" * 500)
    assert str(caught.value).count("loop") == 3
    assert len(str(caught.value)) < 1_200


def test_a_fair_yield_goes_on() -> None:
    guard = YieldGuard("refine", least=0.25, after=4)
    for number in range(20):
        guard.keep()
        for _ in range(3):
            guard.drop("loop", str(number))
    assert (guard.kept, guard.dropped) == (20, 60)


def test_a_least_yield_of_zero_never_stops() -> None:
    guard = YieldGuard("refine", least=0.0, after=1)
    for _ in range(50):
        guard.drop("loop", "x")
