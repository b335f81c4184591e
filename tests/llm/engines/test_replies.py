"""OpenAI's protocol: bodies of requests, and replies of every kind."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.llm.engines.endpoint import EndpointError
from curate.llm.engines.parameters import EndpointParams, OpenAIParams
from curate.llm.engines.replies import body_of, read_reply
from curate.llm.requests import Call, Completion, Sampling, chat, raw
from tests.llm.engines.fakeserver import reply
from tests.llm.test_structured import SCHEMA


def params(**given: Any) -> OpenAIParams:
    return OpenAIParams(model="m", endpoints=[EndpointParams(url="http://h/v1")], **given)


def read(body: Any, call: Call | None = None) -> Completion:
    parsed = json.loads(body) if isinstance(body, str) else body
    return read_reply(parsed, call or Call(chat("q")), lambda text: len(text), 99)


def test_a_chat_call_says_all_of_its_sampling() -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, top_k=7, max_tokens=12, stop=("x",), seed=3)
    call = Call(chat("q", sampling=sampling), 2)
    path, body = body_of(call, params(), "none")
    assert path == "/chat/completions"
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "q"}],
        "max_tokens": 12,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "stop": ["x"],
        "seed": call.server_seed,
    }


def test_names_and_extras_are_configurable() -> None:
    settings = params(max_tokens_field="max_completion_tokens", send_seed=False, extra={"a": 1})
    _, body = body_of(Call(chat("q", sampling=Sampling(logprobs=True))), settings, "none")
    assert body["max_completion_tokens"] == 256 and body["a"] == 1 and body["logprobs"] is True
    assert "max_tokens" not in body and "seed" not in body


def test_a_raw_prompt_goes_to_the_older_protocol() -> None:
    settings = params(max_tokens_field="max_completion_tokens")
    call = Call(raw("Once", sampling=Sampling(logprobs=True, temperature=0)))
    path, body = body_of(call, settings, "none")
    assert path == "/completions" and body["prompt"] == "Once" and body["max_tokens"] == 256
    assert body["logprobs"] == 1 and "max_completion_tokens" not in body and "seed" not in body
    completion = read(reply({"prompt": "Once"}), call)
    assert completion.text == "answer to Once" and completion.logprobs == (-0.5, -1.5)


def test_a_schema_is_asked_for_as_the_server_can() -> None:
    call = Call(chat("q", schema=SCHEMA))
    _, body = body_of(call, params(), "json_schema")
    json_schema = body["response_format"]["json_schema"]
    assert json_schema["schema"] == SCHEMA and json_schema["strict"] is True
    assert body["messages"][-1]["content"] == "q"
    _, body = body_of(call, params(), "json_object")
    assert body["response_format"] == {"type": "json_object"}
    assert json.dumps(SCHEMA).replace(" ", "") in body["messages"][-1]["content"]
    _, body = body_of(call, params(), "none")
    assert "response_format" not in body and "JSON" in body["messages"][-1]["content"]
    assert call.request.messages[-1]["content"] == "q"
    _, body = body_of(Call(raw("q", schema=SCHEMA)), params(), "none")
    assert body["prompt"].endswith("\n\nq") and "JSON" in body["prompt"]


def test_an_opening_is_sent_as_the_server_wants_it() -> None:
    call = Call(chat("q", prefix="Sure"))
    with pytest.raises(UserError, match=r"engine\.prefix"):
        body_of(call, params(), "none")
    _, body = body_of(call, params(prefix="plain"), "none")
    assert body["messages"][-1] == {"role": "assistant", "content": "Sure"}
    _, body = body_of(call, params(prefix="continue"), "none")
    assert body["continue_final_message"] is True and body["add_generation_prompt"] is False


@pytest.mark.parametrize(
    ("reason", "finish", "expected"),
    [
        ("text", "stop", "ok"),
        ("text", "length", "truncated"),
        ("text", "content_filter", "filtered"),
        ("text", "repetition", "repetition"),
        (" \n", "stop", "empty"),
        ("", "length", "truncated"),
    ],
)
def test_every_finish_has_its_name(reason: str, finish: str, expected: str) -> None:
    body = {"messages": [{"content": "q"}]}
    completion = read(reply(body, reason, finish))
    assert completion.finish == expected
    assert (completion.prompt_tokens, completion.completion_tokens) == (10, 5)


def test_a_refusal_is_told_as_one() -> None:
    completion = read(reply({"messages": [{"content": "q"}]}, "", refusal="I cannot"))
    assert completion.finish == "refused" and completion.text == "I cannot"


def test_no_content_is_an_empty_answer() -> None:
    choice = {"message": {"content": None}, "finish_reason": "stop"}
    assert read({"choices": [choice]}).finish == "empty"


def test_counts_that_are_not_told_are_estimated() -> None:
    completion = read(reply({"messages": [{"content": "q"}]}, "four", usage=False))
    assert completion.estimated
    assert (completion.prompt_tokens, completion.completion_tokens) == (99, 4)


def test_log_probabilities_are_read_where_they_are_told() -> None:
    call = Call(chat("q", sampling=Sampling(logprobs=True)))
    _, body = body_of(call, params(), "none")
    assert read(reply(body), call).logprobs == (-0.25,)
    assert read(reply(body | {"logprobs": False}), call).logprobs is None


CHOICES = Sampling(max_tokens=1, choices=("1", "2", "3"))
TOPS = [("1", -1.0), (" 1", -2.0), ("3", -0.5), ("x", -3.0)]


@pytest.mark.parametrize("form", ["chat", "raw"])
def test_chances_of_choices_are_read_from_the_likeliest_tokens(form: str) -> None:
    call = Call(chat("q", sampling=CHOICES) if form == "chat" else raw("q", sampling=CHOICES))
    _, body = body_of(call, params(), "none")
    answer = json.loads(reply(body))
    if form == "chat":
        assert body["logprobs"] is True and body["top_logprobs"] == 20
        tops = [{"token": token, "logprob": logprob} for token, logprob in TOPS]
        logprobs: Any = {"content": [{"token": "3", "logprob": -0.5, "top_logprobs": tops}]}
    else:
        assert body["logprobs"] == 20
        logprobs = {"token_logprobs": [-0.5], "top_logprobs": [dict(TOPS)]}
    answer["choices"][0]["logprobs"] = logprobs
    one, two, three = read(answer, call).choice_logprobs or ()
    assert one == pytest.approx(math.log(math.exp(-1) + math.exp(-2)))
    assert math.isnan(two) and three == pytest.approx(-0.5)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {"content": None},
        {"content": [{"top_logprobs": 7}]},
        {"content": [{"top_logprobs": [7, {"token": 3, "logprob": -1}, {"token": "1"}]}]},
        {"top_logprobs": [{"1": "x"}]},
    ],
)
def test_chances_that_are_none_are_not_there(logprobs: Any) -> None:
    answer = json.loads(reply({"messages": [{"content": "q"}]}))
    answer["choices"][0]["logprobs"] = logprobs
    assert read(answer, Call(chat("q", sampling=CHOICES))).choice_logprobs is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]},
        {"choices": {"0": {"message": {"content": "a"}, "finish_reason": "stop"}}},
        {"choices": "text"},
        {"choices": [{"message": [], "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": {"a": 1}}, "finish_reason": "stop"}]},
        {"error": {"message": "overloaded"}},
    ],
)
def test_what_is_no_reply_counts_as_a_failed_try(body: Any) -> None:
    with pytest.raises(EndpointError):
        read(body)


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        (
            {"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "4"}]},
            "4",
            "",
        ),
        (
            {"content": [{"type": "reasoning", "text": "2 + 2"}, {"type": "text", "text": "4"}]},
            "4",
            "",
        ),
        ({"content": [{"text": "4"}]}, "4", ""),
        ({"content": "4", "reasoning_content": "2 + 2"}, "4", "2 + 2"),
        ({"content": "4", "thinking": "2 + 2"}, "4", "2 + 2"),
    ],
)
def test_reasoning_in_parts_or_fields_of_a_message_is_no_answer(
    message: dict[str, Any], text: str, reasoning: str
) -> None:
    parsed = read({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (parsed.text, parsed.reasoning) == (text, reasoning)
