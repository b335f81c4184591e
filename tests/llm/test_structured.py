"""Answers under a schema: every class of failure, and what is asked for again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.llm.requests import Call, Completion, Sampling, chat, raw
from curate.llm.structured import Answer, Retries, check_schema, judge, next_try

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
CALL = Call(chat("Count.", schema=SCHEMA, sampling=Sampling(temperature=0, max_tokens=10)))


def answer(text: str, finish: Any = "ok", call: Call = CALL) -> Answer:
    return judge(call, Completion(text, finish, completion_tokens=4))


def test_a_valid_answer_is_parsed() -> None:
    parsed = answer('{"n": 3}')
    assert parsed.ok and parsed.value == {"n": 3} and parsed.reason == ""


@pytest.mark.parametrize(
    ("text", "failure", "reason"),
    [
        ("n is 3", "invalid_json", "no JSON"),
        ('{"n": NaN}', "invalid_json", "no JSON"),
        ('{"n": "3"}', "schema_violation", r"\$\.n: '3' is not of type 'integer'"),
        ("{}", "schema_violation", "required"),
        ('{"n": 3, "m": 4}', "schema_violation", "Additional properties"),
        ("[3]", "schema_violation", "not of type 'object'"),
        ("[" * 1_000 + "]" * 1_000, "schema_violation", "nested too deep"),
        ("[" * 9_000, "invalid_json", "no JSON"),
        ('{"n": 1e400}', "invalid_json", "no JSON"),
        ('{"n": 1' + "0" * 400 + "}", "invalid_json", "no JSON"),
    ],
)
def test_an_invalid_answer_is_told_with_its_fault(text: str, failure: str, reason: str) -> None:
    parsed = answer(text)
    assert parsed.failure == failure and parsed.value is None
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(parsed.reason)


@pytest.mark.parametrize(
    "finish", ["truncated", "repetition", "refused", "filtered", "empty", "failed", "unsent"]
)
def test_the_finish_is_looked_at_before_the_text(finish: Any) -> None:
    # A cut can fall where the text still parses.
    parsed = answer('{"n": 3}', finish)
    assert parsed.failure == finish and parsed.value is None
    assert judge(Call(raw("x")), Completion("text", finish)).failure == finish


def test_chances_of_choices_are_an_answer_wherever_the_text_ends() -> None:
    chances = (-1.0, -2.0)
    assert judge(Call(raw("x")), Completion("1", "truncated", choice_logprobs=chances)).ok
    assert judge(Call(raw("x")), Completion("", "empty", choice_logprobs=chances)).ok


@pytest.mark.parametrize(
    "said", ["{0}", "{error}", "{", "}", '{"a": {"b": []}}', "%s %(x)d", "{tokens}"]
)
def test_what_a_server_says_is_told_as_it_is(said: str) -> None:
    completion = Completion("", "failed", error=said)
    assert judge(CALL, completion).reason == judge(Call(chat("q")), completion).reason == said


def test_an_answer_far_beyond_its_limit_is_told_as_such() -> None:
    long = judge(CALL, Completion("text", "truncated", completion_tokens=5_000))
    assert (
        long.reason == "the answer was cut at 5,000 tokens, though no more than 10 were asked for"
    )
    assert answer("text", "truncated").reason == "the answer was cut at 4 tokens"


def test_without_a_schema_any_text_will_do() -> None:
    assert answer("n is 3", call=Call(chat("Count."))).ok


def test_an_invalid_answer_is_drawn_anew_with_another_seed_and_then_with_the_reason() -> None:
    first = next_try(CALL, answer("no"), Retries(), longer=False)
    assert first is not None and first.attempt == 1
    assert first.sampling.temperature == 0.7 and first.server_seed != CALL.server_seed
    assert first.request.messages == CALL.request.messages
    second = next_try(first, answer('{"n": "x"}', call=first), Retries(), longer=False)
    assert second is not None and second.attempt == 2
    assert [m["role"] for m in second.request.messages] == ["user", "assistant", "user"]
    assert "'x' is not of type 'integer'" in second.request.messages[-1]["content"]
    assert next_try(second, answer("no", call=second), Retries(), longer=False) is None
    third = next_try(second, answer("no", call=second), Retries(invalid=3), longer=False)
    assert third is not None and len(third.request.messages) == 3
    assert third.request.messages[1]["content"] == "no"


def test_a_warm_model_keeps_its_temperature() -> None:
    warm = replace(CALL, request=chat("x", schema=SCHEMA, sampling=Sampling(temperature=1.2)))
    again = next_try(warm, answer("no", call=warm), Retries(), longer=False)
    assert again is not None and again.sampling.temperature == 1.2


def test_a_raw_prompt_is_drawn_anew_as_it_is() -> None:
    call = Call(raw("Q", schema=SCHEMA), attempt=1)
    again = next_try(call, answer("no", call=call), Retries(), longer=False)
    assert again is not None and again.request.prompt == "Q" and again.request.messages == ()


def test_a_cut_answer_gets_twice_the_tokens_once() -> None:
    cut = answer('{"n": 3', "truncated")
    longer = next_try(CALL, cut, Retries(), longer=False)
    assert longer is not None and longer.sampling.max_tokens == 20 and longer.attempt == 0
    assert next_try(longer, cut, Retries(), longer=True) is None
    assert next_try(CALL, cut, Retries(truncated=False), longer=False) is None


@pytest.mark.parametrize("finish", ["refused", "filtered", "failed", "unsent"])
def test_what_would_come_again_is_not_asked_again(finish: Any) -> None:
    assert next_try(CALL, answer("", finish), Retries(), longer=False) is None


@pytest.mark.parametrize("finish", ["empty", "repetition"])
def test_an_empty_or_looping_answer_is_drawn_anew(finish: Any) -> None:
    assert next_try(CALL, answer("", finish), Retries(), longer=False) is not None


def test_nothing_is_asked_again_without_a_schema() -> None:
    free = Call(chat("x"))
    assert next_try(free, answer("", "truncated", free), Retries(), longer=False) is None


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="not a JSON schema"):
        check_schema({"type": "thing"})
    check_schema(SCHEMA)
