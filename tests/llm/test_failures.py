"""The tally of answers: what counts as heard, what is told, what another run may ask again."""

from __future__ import annotations

from typing import Any

import pytest

from curate.llm.failures import Faults
from curate.llm.requests import Call, Completion, chat
from curate.llm.structured import judge
from tests.llm.test_structured import SCHEMA

FREE, FORMED = Call(chat("q")), Call(chat("q", schema=SCHEMA))


def tally(call: Call, *completions: Completion) -> tuple[Faults, str | None]:
    faults = Faults()
    warning = faults.add("s", [call] * len(completions), [judge(call, one) for one in completions])
    return faults, warning


def lost(error: str = "HTTP 500 {0}", finish: Any = "failed", sends: int = 1) -> Completion:
    return Completion("", finish, error=error, sends=sends)


@pytest.mark.parametrize(
    ("call", "text", "finish", "heard"),
    [
        (FREE, "text", "ok", True),
        (FREE, "text", "truncated", True),
        (FREE, "no", "refused", False),
        (FREE, "", "empty", False),
        (FREE, "", "filtered", False),
        (FREE, "text", "unknown", False),
        (FORMED, '{"n": 1}', "ok", True),
        (FORMED, '{"n": "x"}', "ok", True),
        (FORMED, "no JSON", "ok", False),
        (FORMED, '{"n": 1}', "truncated", False),
    ],
)
def test_a_model_is_heard_where_its_answer_says_something(
    call: Call, text: str, finish: Any, heard: bool
) -> None:
    faults, _ = tally(call, Completion(text, finish, error="odd" if finish == "unknown" else ""))
    assert bool(faults.together.heard) == heard == (not faults.sentences(unheard=True))


def test_the_most_frequent_class_is_shown_by_its_first_fault() -> None:
    faults, warning = tally(FREE, lost("one {x}"), lost("two"), lost("odd", "unknown"))
    sentence = "s: none of 3 answers was of use (2 failed, 1 unknown). One of them: one {x}"
    assert faults.sentences() == faults.sentences(unheard=True) == [sentence]
    assert warning == "3 of 3 calls had no answer. One of them: one {x}"


def test_one_answer_is_enough_to_go_on_and_the_lost_ones_are_told() -> None:
    faults, warning = tally(FREE, lost(), Completion("text", "ok"))
    assert faults.sentences() == [] and faults.unanswered == 1
    assert warning == "1 of 2 calls had no answer. One of them: HTTP 500 {0}"


def test_what_was_never_sent_is_not_asked_for_again() -> None:
    faults, warning = tally(FREE, lost("the prompt does not fit", sends=0))
    assert faults.unanswered == 0 and warning is not None and faults.sentences(unheard=True)


def test_what_a_limit_kept_back_is_no_fault() -> None:
    faults, warning = tally(FREE, Completion("", "unsent", sends=0))
    assert faults.sentences() == [] and warning is None and faults.together.sample() == ""


def test_each_question_is_judged_by_its_own_answers() -> None:
    faults, _ = tally(FREE, Completion("text", "ok"))
    faults.add("t", [FORMED], [judge(FORMED, lost("HTTP 400"))])
    faults.add("u", [FREE], [judge(FREE, Completion("text", "truncated"))])
    unheard = "t: none of 1 answers was of use (1 failed). One of them: HTTP 400"
    assert faults.sentences(unheard=True) == [unheard]
    cut = (
        "u: none of 1 answers was of use (1 truncated). One of them: the answer was cut at 0 tokens"
    )
    assert faults.sentences() == [unheard, cut]


@pytest.mark.parametrize("finish", ["refused", "filtered"])
def test_a_refusal_is_told_and_not_asked_for_again(finish: Any) -> None:
    faults, _ = tally(FREE, lost("HTTP 400", finish), Completion("text", "ok"))
    assert (faults.withheld, faults.unanswered) == (1, 0)
