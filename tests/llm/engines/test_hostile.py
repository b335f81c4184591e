"""What a server sends is data: bounded, counted, told, never run and never fatal for other rows."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.llm.ask import EngineClient
from curate.llm.cache import Cache
from curate.llm.engines.loading import identify_engine
from curate.llm.engines.openai import OpenAIEngine
from curate.llm.engines.parameters import EndpointParams, OpenAIParams
from curate.llm.limits import Limits
from curate.llm.requests import Call, Completion, Request, Sampling, chat, raw
from curate.models.settings import ModelNames
from tests.llm.engines.fakeserver import Act, FakeServer, Plan, question, reply
from tests.llm.engines.hostile import FAILING, ODD, USELESS, content, status, usage
from tests.llm.test_structured import SCHEMA

pytestmark = pytest.mark.system

MOST_TOKENS = 64
SAMPLING = Sampling(max_tokens=MOST_TOKENS, logprobs=True)
HOSTILE = FAILING | USELESS | ODD


def engine(url: str, **given: Any) -> OpenAIEngine:
    endpoint = EndpointParams(url=url, concurrency=4)
    settings = {"timeout": 5.0, "backoff": 0.001, "attempts": 2, "patience": 5.0} | given
    params = OpenAIParams(model="m", endpoints=[endpoint], **settings)
    return OpenAIEngine(params, identify_engine(params, ModelNames()))


def only(row: str, act: Act) -> Plan:
    """Return a server that answers all rows but one."""
    return lambda body, number: act if question(body).startswith(row) else Act()


def rows(count: int) -> list[Request]:
    return [chat(f"q{i}.", sampling=SAMPLING) for i in range(count)]


def check(completion: Completion) -> None:
    """Check what holds for every completion, whatever the server sent."""
    assert 0 <= completion.prompt_tokens < 10**6 and 0 <= completion.completion_tokens < 10**6
    assert completion.cost >= 0 and math.isfinite(completion.cost)
    assert len(completion.text) <= 1_024 + 32 * MOST_TOKENS
    assert len(completion.error) < 1_000
    assert completion.error.isprintable()
    says = bool(completion.error)
    assert completion.finish == "filtered" or says == (completion.finish in ("failed", "unknown"))


@pytest.mark.parametrize("name", HOSTILE)
def test_one_hostile_answer_is_told_and_costs_no_other_row(name: str) -> None:
    timeout = 2.0 if name == "slow drip" else 60.0
    with FakeServer(only("q1.", HOSTILE[name])) as server:
        prices = {"prompt": 1.0, "completion": 1.0}
        client = EngineClient(engine(server.url, timeout=timeout, prices=prices))
        (first,), (second,), (third,) = client.ask(rows(3), stage="s")
    assert [first.text, third.text] == ["answer to q0.", "answer to q2."]
    check(second.completion)
    assert (second.failure in ("failed",)) == (name in FAILING)
    assert second.ok == (name in ODD)
    if second.ok:
        assert second.text == "fine"
    else:
        assert second.reason and client.bill.total().useless == {second.failure: 1}


@pytest.mark.parametrize("name", FAILING)
def test_if_all_fail_the_fault_is_named_and_nothing_of_it_is_kept(
    name: str, tmp_path: Path
) -> None:
    timeout = 0.3 if name == "slow drip" else 60.0
    with (
        FakeServer(lambda body, number: FAILING[name]) as server,
        EngineClient(engine(server.url, timeout=timeout), cache=Cache(tmp_path / "c")) as client,
        pytest.raises(UserError) as caught,
    ):
        client.ask(rows(2), stage="s")
        client.check_answered()
    sentence = str(caught.value)
    assert server.url in sentence and len(sentence) < 1_000 and sentence.isprintable()
    with (
        FakeServer() as server,
        EngineClient(engine(server.url), cache=Cache(tmp_path / "c")) as client,
    ):
        assert [a.ok for (a,) in client.ask(rows(2), stage="s")] == [True, True]


@pytest.mark.parametrize("name", USELESS)
def test_answers_without_use_are_asked_for_again_by_the_next_run(name: str, tmp_path: Path) -> None:
    requests = [chat("q", sampling=SAMPLING, schema=SCHEMA)]
    good, acts = Act(body=content('{"n": 1}')), [USELESS[name]]
    with FakeServer(lambda body, number: acts[-1]) as server:
        client = EngineClient(engine(server.url, structured="none"), cache=Cache(tmp_path / "c"))
        client.ask(requests, stage="s")
        with pytest.raises(UserError, match=r"s: none of 1 answers was of use \(1 \w+\)\. One"):
            client.check_answered()
        client.close()
        acts.append(good)
        again = EngineClient(engine(server.url, structured="none"), cache=Cache(tmp_path / "c"))
        assert again.ask(requests, stage="s")[0][0].value == {"n": 1}
        again.close()


def test_a_usage_that_cannot_be_makes_neither_room_nor_debt() -> None:
    with FakeServer(lambda body, n: Act(body=usage(-(10**9), -(10**9)))) as server:
        client = EngineClient(engine(server.url), limits=Limits(tokens=100))
        client.ask(rows(50), stage="s")
        assert client.stopped is not None and "tokens" in client.stopped
        assert client.bill.total().tokens >= 100 and len(server.bodies) < 50
    with FakeServer(lambda body, n: Act(body=usage(10**18, 10**18))) as server:
        client = EngineClient(engine(server.url), limits=Limits(tokens=10**6))
        assert all(a.ok for (a,) in client.ask(rows(5), stage="s"))
        assert client.bill.total().tokens < 1_000 and client.bill.total().estimated == 5


def test_a_usage_that_can_be_is_taken_as_it_is() -> None:
    with FakeServer() as server:
        (done,) = engine(server.url).complete([Call(rows(1)[0])])
    assert (done.prompt_tokens, done.completion_tokens, done.estimated) == (10, 5, False)


def test_many_rows_that_the_server_never_takes_do_not_stop_the_others() -> None:
    def plan(body: dict[str, Any], number: int) -> Act:
        answered = question(body) in ("q0.", "q49.")
        return Act() if answered else status(400, "the prompt is too long")

    with FakeServer(plan) as server:
        client = EngineClient(engine(server.url, attempts=3))
        answers = client.ask(rows(50), stage="s")
        assert len(server.bodies) == 50
    assert client.stopped is None and [a.ok for (a,) in answers].count(True) == 2
    assert client.faults.unanswered == 48


def test_a_server_that_refuses_everything_is_asked_no_more_than_the_limit_of_failures() -> None:
    with FakeServer(lambda body, n: status(401, "no {key}")) as server:
        client = EngineClient(engine(server.url), limits=Limits(failures=5))
        with pytest.raises(UserError, match="it refuses the key; name the key's variable"):
            client.ask(rows(100), stage="s")
        assert len(server.bodies) < 5 + 4


def test_a_refusing_server_leaves_the_rows_to_another() -> None:
    with FakeServer(lambda body, n: status(403, "no")) as one, FakeServer(delay=0.01) as other:
        endpoints = [EndpointParams(url=server.url, concurrency=2) for server in (one, other)]
        params = OpenAIParams(model="m", endpoints=endpoints, attempts=6, backoff=0.02)
        done = OpenAIEngine(params, {}).complete([Call(row) for row in rows(30)])
        assert [c.finish for c in done] == ["ok"] * 30
        assert len(one.bodies) < 30


def test_a_key_follows_no_redirection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret-0123456789")
    with FakeServer() as other:
        to = status(307, "", Location=f"{other.url}/chat/completions")
        with FakeServer(lambda body, n: to) as server:
            endpoint = EndpointParams(url=server.url, api_key_env="SOME_KEY")
            params = OpenAIParams(model="m", endpoints=[endpoint])
            (done,) = OpenAIEngine(params, {}).complete([Call(rows(1)[0])])
        assert done.finish == "failed" and "redirects" in done.error and other.bodies == []


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with FakeServer() as server:
        assert engine(server.url).complete([Call(rows(1)[0])])[0].finish == "ok"


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["stop", "length", "{0}", "%s", "assistant"])
)  # fmt: skip
names = st.sampled_from(
    ["choices", "message", "content", "text", "refusal", "finish_reason", "usage", "logprobs",
     "prompt_tokens", "completion_tokens", "token_logprobs", "logprob", "error", "tool_calls"]
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5)
)
messages = st.fixed_dictionaries(
    {}, optional={"content": values, "refusal": values, "text": values, "logprobs": values}
)
choices = st.fixed_dictionaries(
    {"message": messages | values},
    optional={"finish_reason": values, "text": values, "logprobs": values},
)
bodies = st.one_of(
    st.fixed_dictionaries({"choices": st.lists(choices, max_size=2)}, optional={"usage": values}),
    values,
).map(json.dumps) | st.binary(max_size=60)  # fmt: skip
headers = st.dictionaries(
    st.sampled_from(["Retry-After", "Retry-After-Ms", "Content-Type", "Content-Encoding", "X-A"]),
    st.sampled_from(["0", "-1", "nan", "inf", "1e999", "Fri, 31 Dec 9999 23:59:59 GMT", "gzip",
                     "zstd", "text/html", "{0}", "", "0.01", "soon"]),
    max_size=2,
)  # fmt: skip
acts = st.builds(
    lambda code, body, headers: Act(status=code, body=body, headers=headers),
    st.just(200) | st.integers(200, 999),
    bodies,
    headers,
)


@pytest.fixture(scope="module")
def hostile() -> Any:
    with FakeServer() as server:
        yield server


@given(act=acts, prompted=st.booleans())
def test_whatever_a_server_sends_there_is_one_completion_or_a_sentence(
    hostile: FakeServer, act: Act, prompted: bool
) -> None:
    hostile.plan = lambda body, number: act
    request = raw("q", sampling=SAMPLING) if prompted else chat("q", sampling=SAMPLING)
    try:
        done = engine(hostile.url, prices={"prompt": 1, "completion": 1}).complete([Call(request)])
    except UserError as error:
        assert act.status in (401, 403, 404, 429) and str(error).isprintable()
        return
    assert len(done) == 1
    check(done[0])


def test_a_good_answer_is_still_one(hostile: FakeServer) -> None:
    hostile.plan = lambda body, number: Act(body=reply(body, "fine"))
    (done,) = engine(hostile.url).complete([Call(rows(1)[0])])
    assert done.text == "fine" and done.logprobs == (-0.25,) and re.match("ok", done.finish)
