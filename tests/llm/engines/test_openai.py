"""The engine behind servers: a run over failing ones loses nothing, pays once, and keeps its limits."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.llm.ask import EngineClient
from curate.llm.cache import Cache
from curate.llm.engines.loading import identify_engine
from curate.llm.engines.openai import OpenAIEngine
from curate.llm.engines.parameters import EndpointParams, OpenAIParams
from curate.llm.limits import Limits
from curate.llm.requests import Call, Request, Sampling, chat, raw
from curate.models.settings import ModelNames
from tests.llm.engines.fakeserver import Act, FakeServer, Plan, question, reply
from tests.llm.test_structured import SCHEMA

REPO = Path(__file__).parents[3]
KEY = "sk-very-secret-0123456789"
FAULTS = [
    Act(status=429, body="slow down", headers={"Retry-After": "0.02"}),
    Act(status=500, body="oops"),
    Act("cut"),
    Act(body='{"choices": [{"mess'),
    Act("slow", seconds=5),
]


def engine(*urls: str, concurrency: int = 8, **given: Any) -> OpenAIEngine:
    endpoint = given.pop("endpoint", {})
    endpoints = [EndpointParams(url=url, concurrency=concurrency, **endpoint) for url in urls]
    settings = {"timeout": 1.0, "backoff": 0.01, "attempts": 8} | given
    params = OpenAIParams(model="m", endpoints=endpoints, **settings)
    return OpenAIEngine(params, identify_engine(params, ModelNames()))


def failing(share: float, seed: int = 0, faults: list[Act] = FAULTS) -> Plan:
    """Return a plan that fails this share of the requests, every fault equally often."""
    rng = random.Random(seed)

    def plan(body: dict[str, Any], number: int) -> Act:
        return rng.choice(faults) if rng.random() < share else Act()

    return plan


def questions(count: int, **given: Any) -> list[Request]:
    return [chat(f"q{i}", sampling=Sampling(**given)) for i in range(count)]


def calls(requests: list[Request]) -> list[Call]:
    return [Call(request) for request in requests]


def test_answers_come_in_order_from_several_servers() -> None:
    with FakeServer(delay=0.05) as one, FakeServer(delay=0.002) as two:
        done = engine(one.url, two.url, concurrency=4).complete(calls(questions(60)))
        assert [c.text for c in done] == [f"answer to q{i}" for i in range(60)]
        assert one.most_under_way <= 4 and two.most_under_way <= 4
        assert len(one.bodies) + len(two.bodies) == 60
        # The faster one does more.
        assert len(two.bodies) > len(one.bodies) > 0


def test_it_works_inside_a_running_loop() -> None:
    async def inside(url: str) -> list[str]:
        return [done.text for done in engine(url).complete(calls(questions(3)))]

    with FakeServer() as server:
        assert asyncio.run(inside(server.url)) == ["answer to q0", "answer to q1", "answer to q2"]


def test_a_server_that_is_away_leaves_the_work_to_the_other() -> None:
    with FakeServer() as away:
        url = away.url
    with FakeServer(delay=0.005) as here:
        done = engine(url, here.url, concurrency=4).complete(calls(questions(60)))
        assert [c.finish for c in done] == ["ok"] * 60


def test_no_server_at_all_ends_the_run_soon() -> None:
    with FakeServer() as away:
        url = away.url
    with pytest.raises(UserError, match=r"no server can be reached.*no connection"):
        engine(url, attempts=4).complete(calls(questions(500)))


def test_a_call_that_never_succeeds_is_given_up_with_its_reason() -> None:
    act = Act(status=500, body="oops")
    with FakeServer(lambda body, n: act if question(body) == "q1" else Act()) as server:
        done = engine(server.url, attempts=3).complete(calls(questions(3)))
    assert [c.finish for c in done] == ["ok", "failed", "ok"]
    assert done[1].sends == 3 and "HTTP 500 oops (sent 3 times)" in done[1].error


def test_what_the_server_will_never_take_is_sent_once() -> None:
    with FakeServer(lambda body, n: Act(status=400, body="too long")) as server:
        (done,) = engine(server.url).complete(calls(questions(1)))
        assert done.finish == "failed" and len(server.bodies) == 1


def test_a_wish_to_wait_is_obeyed_by_the_whole_server() -> None:
    first = Act(status=429, body="", headers={"Retry-After": "0.4"})
    with FakeServer(lambda body, number: first if number == 0 else Act()) as server:
        engine(server.url, concurrency=1).complete(calls(questions(4)))
        assert server.times[1] - server.times[0] >= 0.4


def test_samples_differ_by_their_seeds_alone() -> None:
    with FakeServer() as server:
        request = chat("q", sampling=Sampling(seed=5))
        engine(server.url).complete([Call(request, k) for k in range(3)])
        assert len({body.pop("seed") for body in server.bodies}) == 3
        assert server.bodies[0] == server.bodies[1] == server.bodies[2]


def test_prices_make_costs() -> None:
    with FakeServer() as server:
        priced_engine = engine(server.url, prices={"prompt": 2.0, "completion": 10.0})
        (done,) = priced_engine.complete(calls(questions(1)))
        assert done.cost == pytest.approx((10 * 2 + 5 * 10) / 1e6)
        client = EngineClient(priced_engine, limits=Limits(cost=3.5 * done.cost))
        client.ask(questions(50), stage="s")
    # What is under way when the limit is reached is finished: at most one call a worker.
    assert 4 <= client.bill.total().calls <= 4 + 8
    assert "cost is reached" in str(client.stopped)


def test_a_limit_on_calls_counts_those_sent_again() -> None:
    with FakeServer(failing(0.3, faults=FAULTS[1:2])) as server:
        client = EngineClient(engine(server.url), limits=Limits(calls=40))
        answers = client.ask(questions(100), stage="s")
        assert len(server.bodies) == client.bill.total().calls == 40
    kinds = Counter(a[0].failure for a in answers)
    assert kinds[None] == sum(server.answered.values())
    assert set(kinds) <= {None, "unsent", "failed"} and kinds["unsent"] > 0


@pytest.mark.system
def test_rates_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.llm.engines.rates.Rate.__init__.__defaults__", (0.5,))
    with FakeServer() as server:
        limited = engine(server.url, endpoint={"calls_per_minute": 10})
        started = time.monotonic()
        limited.complete(calls(questions(25)))
        # The third ten begin two windows after the first; a busy machine only takes longer.
        assert time.monotonic() - started >= 2 * 0.5


def test_tokens_are_counted_by_a_named_tokenizer(tiny: Path) -> None:
    counting_engine = engine("http://h/v1", tokenizer=str(tiny))
    assert counting_engine.exact and counting_engine.count_tokens("abc") == 3
    guess = engine("http://h/v1")
    assert not guess.exact and guess.count_tokens("x" * 35) == 10
    assert guess.count_prompt(chat("x" * 35)) == 18 and guess.count_prompt(raw("x" * 35)) == 10


def schema_plan(can: str) -> Plan:
    """Return a server that follows schemas, JSON objects alone, or nothing; the rest it passes over."""

    def plan(body: dict[str, Any], number: int) -> Act:
        response_format = body.get("response_format", {}).get("type")
        if can == "refuses" and response_format == "json_schema":
            return Act(status=400, body="response_format is not supported")
        if response_format == "json_schema" and can == "json_schema":
            named = body["response_format"]["json_schema"]["schema"]["properties"]
            value: Any = {"probe_k7": "yes"} if "probe_k7" in named else {"n": 1}
            return Act(body=reply(body, json.dumps(value)))
        if response_format == "json_object" and can in ("json_object", "refuses"):
            return Act(body=reply(body, '{"n": 1}'))
        schema_in_prompt = "schema" in question(body) and "probe" not in question(body)
        return Act(body=reply(body, '{"n": 1}' if schema_in_prompt else "Hello!"))

    return plan


@pytest.mark.parametrize(
    ("can", "support", "probes"),
    [
        ("json_schema", "json_schema", 1),
        ("json_object", "json_object", 2),
        ("refuses", "json_object", 2),
        ("nothing", "none", 2),
    ],
)
def test_what_a_server_can_do_is_found_by_asking(can: str, support: str, probes: int) -> None:
    with FakeServer(schema_plan(can)) as server:
        openai_engine = engine(server.url, concurrency=1)
        client = EngineClient(openai_engine)
        answers = client.ask([chat(f"q{i}", schema=SCHEMA) for i in range(3)], stage="s")
        # "nothing" answers {"n": 1} only because the prompt then tells the schema.
        assert [a[0].value for a in answers] == [{"n": 1}] * 3
        client.ask([chat("more", schema=SCHEMA)], stage="s")
    assert openai_engine.structured == support
    assert len(server.bodies) == probes + 4 == client.bill.total().calls


def test_a_server_that_does_not_answer_the_probe_is_asked_again_later() -> None:
    down = [True]
    plan = schema_plan("json_schema")
    act = Act(status=500, body="")
    with FakeServer(lambda body, n: act if down[0] else plan(body, n)) as server:
        openai_engine = engine(server.url, attempts=2)
        client = EngineClient(openai_engine)
        assert client.ask([chat("q", schema=SCHEMA)], stage="s")[0][0].failure == "failed"
        assert openai_engine.structured is None
        down[0] = False
        assert client.ask([chat("q", schema=SCHEMA)], stage="s")[0][0].ok
        assert openai_engine.structured == "json_schema"


def test_two_hundred_with_prose_is_no_structured_answer() -> None:
    with FakeServer() as server:
        client = EngineClient(engine(server.url, structured="json_schema"))
        answer = client.ask([chat("q", schema=SCHEMA)], stage="s")[0][0]
    assert answer.failure == "invalid_json" and answer.draws == 3


def test_the_key_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    faults = [Act(status=400, body=f"the key {KEY} is odd"), *FAULTS[:4]]
    with FakeServer(failing(0.4, faults=faults)) as server, caplog.at_level(logging.DEBUG):
        openai_engine = engine(server.url, endpoint={"api_key_env": "SOME_KEY"})
        client = EngineClient(openai_engine, cache=Cache(tmp_path / "c.sqlite"))
        answers = client.ask(questions(40), stage="s")
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        texts = [
            repr(openai_engine),
            repr(openai_engine._endpoints),
            repr(answers),
            json.dumps(client.bill.to_dict()),
        ]
        texts += [json.dumps(openai_engine.identity()), caplog.text, repr(vars(client))]
        client.close()
    for text in [*texts, *(p.read_bytes().decode("latin1") for p in tmp_path.iterdir())]:
        assert KEY not in text
    act = Act(status=401, body=KEY)
    with FakeServer(lambda body, n: act) as server, pytest.raises(UserError) as caught:
        engine(server.url, endpoint={"api_key_env": "SOME_KEY"}).complete(calls(questions(2)))
    assert KEY not in repr(caught.value) and caught.value.__cause__ is None


def test_the_key_of_the_cache_has_no_address() -> None:
    one, two = engine("http://one/v1"), engine("http://two/v1")
    assert one.identity() == two.identity() and "one" not in json.dumps(one.identity())
    assert engine("http://one/v1", revision="b").identity() != one.identity()


@pytest.mark.system
def test_two_thousand_calls_on_a_failing_server_lose_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Act("slow", seconds=600)
    faults = [*FAULTS[:4] * 4, slow]
    with (
        FakeServer(failing(0.2, faults=faults), delay=0.001) as server,
        caplog.at_level(logging.DEBUG, "curate"),
    ):
        openai_engine = engine(server.url, concurrency=32, timeout=4)
        client = EngineClient(openai_engine, cache=Cache(tmp_path / "c.sqlite"))
        answers = client.ask(questions(2_000), stage="s")
        client.close()
    assert [a[0].text for a in answers] == [f"answer to q{i}" for i in range(2_000)]
    # On a busy machine a good answer can come after the time-out too; no other is paid for twice.
    late = sum("no answer within" in line for line in caplog.messages) - server.acts[slow]
    assert len(server.answered) == 2_000 and sum(server.answered.values()) <= 2_000 + late
    assert server.most_under_way <= 32 and all(server.acts[fault] > 10 for fault in faults)
    spent = client.bill.total()
    assert spent.calls == len(server.bodies) == 2_000 + spent.retried
    assert 300 < spent.retried < 800 and spent.failed == 0


RUN = """
import sys
from pathlib import Path
from curate.llm.ask import EngineClient
from curate.llm.cache import Cache
from curate.llm.engines.parameters import OpenAIParams
from curate.llm.engines.openai import OpenAIEngine
from curate.llm.requests import chat
params = OpenAIParams(
    model="m", endpoints=[{"url": sys.argv[1]}], timeout=600, backoff=0.01, attempts=8
)
client = EngineClient(OpenAIEngine(params, {"engine": "openai"}), cache=Cache(Path(sys.argv[2])))
answers = client.ask([chat(f"q{i}") for i in range(int(sys.argv[3]))], stage="s")
print(sum(row[0].text == f"answer to q{i}" for i, row in enumerate(answers)))
"""


def start_run(url: str, cache: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, url, str(cache), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO)


def stored(cache: Path) -> int:
    try:
        with sqlite3.connect(cache, timeout=60) as database:
            return int(database.execute("SELECT count(*) FROM completions").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.system
def test_a_killed_run_pays_for_nothing_twice(tmp_path: Path) -> None:
    cache, count = tmp_path / "c.sqlite", 400
    fails, most = failing(0.2, faults=FAULTS[:4]), [0]

    def plan(body: dict[str, Any], number: int) -> Act:
        # However late the kill comes, the run has not ended by then.
        full = sum(server.answered.values()) >= most[0]
        return Act("slow", seconds=600) if full else fails(body, number)

    with FakeServer(plan, delay=0.005) as server:
        for killed_at in (100, 250):
            most[0] = killed_at + 60
            run = start_run(server.url, cache, count)
            while stored(cache) < killed_at:
                assert run.poll() is None, "the run ended before it was killed"
                time.sleep(0.02)
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
        # Two kills lose at most the 8 calls that were under way at each.
        assert 250 <= stored(cache) < count
        assert sum(server.answered.values()) - stored(cache) <= 16
        most[0] = 10**9
        assert start_run(server.url, cache, count).communicate()[0].strip() == str(count)
        assert len(server.answered) == count
        assert sum(server.answered.values()) - count <= 16
        before = len(server.bodies)
        assert start_run(server.url, cache, count).communicate()[0].strip() == str(count)
        assert len(server.bodies) == before
