"""One server: which failures pass, how long to wait, and what is never said."""

from __future__ import annotations

import asyncio
import email.utils
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.llm.engines.endpoint import Endpoint, EndpointError, retry_after
from curate.llm.engines.parameters import EndpointParams, OpenAIParams
from tests.llm.engines.fakeserver import Act, FakeServer

KEY = "sk-very-secret-0123456789"


def params(url: str, **given: Any) -> OpenAIParams:
    endpoint = {"url": url} | given.pop("endpoint", {})
    settings = {"timeout": 5, "backoff": 0.01} | given
    return OpenAIParams(model="m", endpoints=[EndpointParams(**endpoint)], **settings)


def send(server: FakeServer, **given: Any) -> Any:
    async def once() -> Any:
        settings = params(server.url, **given)
        endpoint = Endpoint(settings.endpoints[0], settings)
        async with endpoint.connect() as connection:
            body = {"messages": [{"content": "q"}]}
            return await endpoint.send(connection, "/chat/completions", body)

    return asyncio.run(once())


def test_a_good_answer_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    with FakeServer() as server:
        response = send(server, endpoint={"api_key_env": "SOME_KEY"})
        assert response["choices"][0]["message"]["content"] == "answer to q"
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        send(server)
        assert "authorization" not in server.headers[1]


@pytest.mark.parametrize(
    ("act", "again", "said"),
    [
        (Act(status=500, body="oops"), True, "HTTP 500 oops"),
        (Act(status=503, body=""), True, "HTTP 503"),
        (Act(status=408, body=""), True, "HTTP 408"),
        (Act(status=400, body="too long"), False, "HTTP 400 too long"),
        (Act(status=422, body=""), False, "HTTP 422"),
        (Act(body="<html>"), True, "no JSON object"),
        (Act(body="[1]"), True, "no JSON object"),
        (Act("cut"), True, "the connection broke"),
        (Act("slow", seconds=600), True, r"no answer within 0\.2 s"),
        (Act(status=429, body="", headers={"Retry-After": "900"}), False, "longer than"),
    ],
)
def test_a_failure_says_whether_to_try_again(act: Act, again: bool, said: str) -> None:
    with (
        FakeServer(lambda body, number: act) as server,
        pytest.raises(EndpointError, match=said) as caught,
    ):
        send(server, timeout=0.2 if act.kind == "slow" else 60)
    assert caught.value.again is again


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (Act(status=401, body=f"bad key {KEY}"), r"refuses the key; check the variable SOME_KEY"),
        (Act(status=403, body=""), "refuses the key"),
        (Act(status=404, body="no model m"), "no model m"),
        (Act(status=429, body='{"code": "insufficient_quota"}'), "the account"),
    ],
)
def test_a_refusal_says_what_to_mend_and_is_not_sent_again(
    act: Act, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    with (
        FakeServer(lambda body, number: act) as server,
        pytest.raises(EndpointError, match=said) as caught,
    ):
        send(server, endpoint={"api_key_env": "SOME_KEY"})
    assert caught.value.kind == "refused" and not caught.value.again
    assert KEY not in str(caught.value)


def test_a_server_that_repeats_the_key_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    act = Act(status=400, body=f"key {KEY} may not do this")
    with FakeServer(lambda body, number: act) as server, pytest.raises(EndpointError) as caught:
        send(server, endpoint={"api_key_env": "SOME_KEY"})
    assert "key [key] may not do this" in str(caught.value)


def test_no_server_at_all() -> None:
    with FakeServer() as server:
        url = server.url
    settings = params(url)

    async def once() -> None:
        endpoint = Endpoint(settings.endpoints[0], settings)
        async with endpoint.connect() as connection:
            await endpoint.send(connection, "/x", {})

    with pytest.raises(EndpointError, match="no connection"):
        asyncio.run(once())


def test_a_key_that_is_not_there_is_asked_for_by_the_name_of_its_variable() -> None:
    settings = params("http://h/v1", endpoint={"api_key_env": "NO_SUCH_KEY_HERE"})
    with pytest.raises(UserError, match="NO_SUCH_KEY_HERE, which should hold"):
        Endpoint(settings.endpoints[0], settings)


@pytest.mark.parametrize("url", ["h/v1", "ftp://h", "https://user:pw@h/v1", "https://h/v1?key=abc"])
def test_an_address_with_a_secret_or_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"secrets|address"):
        EndpointParams(url=url)


def test_waits_are_read_in_all_their_forms() -> None:
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after-ms": "250", "retry-after": "7"}) == 0.25
    later = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 28 < (retry_after({"retry-after": later}) or 0) <= 30
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
    assert retry_after({"retry-after": "-3"}) == 0
    assert retry_after({"retry-after": "nan"}) is None
    assert retry_after({"retry-after-ms": "nan", "retry-after": "7"}) == 7
    assert retry_after({"retry-after": "1e999"}) == math.inf
    assert (retry_after({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}) or 0) > 1e9
    assert retry_after({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}) in (None, 0)


@pytest.mark.parametrize("key", ["a b", "sk-ü", "sk-a\r\nX-Evil: 1", "sk-\x00abc"])
def test_what_is_no_key_is_refused_by_the_name_of_its_variable(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"SOME_KEY": key})
    settings = params("http://h/v1", endpoint={"api_key_env": "SOME_KEY"})
    with pytest.raises(UserError, match="variable SOME_KEY, which should hold") as caught:
        Endpoint(settings.endpoints[0], settings)
    assert key not in str(caught.value)


def test_a_line_break_behind_a_key_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", f"{KEY}\n")
    with FakeServer() as server:
        send(server, endpoint={"api_key_env": "SOME_KEY"})
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"


@given(sends=st.integers(1, 30) | st.integers(1_000, 10**9))
def test_back_off_doubles_up_to_its_limit_with_half_by_chance(sends: int) -> None:
    settings = params("http://h/v1", backoff=0.5, most_backoff=20)
    endpoint = Endpoint(settings.endpoints[0], settings)
    longest = min(0.5 * 2 ** min(sends - 1, 40), 20)
    assert longest / 2 <= endpoint.delay(sends) <= longest
