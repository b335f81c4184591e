"""Calls in batches on a server of this machine: every call is answered, and none is paid for twice."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.keyed import EngineSource
from curate.llm.ask import EngineClient
from curate.llm.asking import open_client
from curate.llm.cache import Cache
from curate.llm.engines.loading import identify_engine
from curate.llm.engines.openai import OpenAIEngine
from curate.llm.engines.parameters import OpenAIParams
from curate.llm.limits import Limits
from curate.llm.requests import Request, Sampling, chat, raw
from curate.models.settings import ModelNames
from tests.commandline import curate
from tests.generate.serverruns import POOL, good_act, recipe_of, said_by
from tests.llm.engines.fakebatches import FakeBatches, bad, batch_server, good, lost, numbered
from tests.llm.engines.test_openai import questions

REPO = Path(__file__).parents[3]
PRICES = {"prompt": 2.0, "completion": 10.0}
LIVE_COST = (10 * 2 + 5 * 10) / 1e6


def params_of(url: str, **given: Any) -> OpenAIParams:
    batch = {"poll": 0.01} | given.pop("batch", {})
    settings = {"backoff": 0.01, "timeout": 30.0, "attempts": 3, "prices": PRICES} | given
    return OpenAIParams(model="m", endpoints=[{"url": url}], batch=batch, **settings)


def client_of(server: FakeBatches, folder: Path, **given: Any) -> EngineClient:
    limits = given.pop("limits", None)
    params = params_of(server.url, **given)
    engine = OpenAIEngine(params, identify_engine(params, ModelNames()), folder / "b.sqlite")
    return EngineClient(engine, cache=Cache(folder / "c.sqlite"), limits=limits)


def ask(client: EngineClient, requests: list[Request]) -> list[str | None]:
    """Return the text of each answer, None where there is none."""
    with client:
        answers = client.ask(requests, stage="s")
    return [row[0].text if row[0].ok else row[0].failure for row in answers]


def texts(count: int) -> list[str]:
    return [f"answer to q{i}" for i in range(count)]


def lines_on_record(folder: Path) -> int:
    with sqlite3.connect(folder / "b.sqlite") as database:
        (lines,) = database.execute("SELECT count(*) FROM lines").fetchone()
        (batches,) = database.execute("SELECT count(*) FROM batches").fetchone()
    assert bool(batches) == bool(lines)
    return int(lines)


def sent(server: FakeBatches) -> Counter[str]:
    """Return how often each question stood in a batch."""
    lines = [line for batch in server.batches.values() for line in server.lines(batch)]
    return Counter(line["body"]["messages"][-1]["content"] for line in lines)


def test_answers_come_in_order_at_half_the_price_and_are_stored(tmp_path: Path) -> None:
    with batch_server() as server:
        client = client_of(server, tmp_path)
        assert client.estimate(questions(2)).most_cost == pytest.approx(
            client.engine.cost(1, 0) * client.estimate(questions(2)).prompt_tokens
            + client.engine.cost(0, 512)
        )
        assert ask(client, questions(40)) == texts(40)
        spent = client.bill.total()
        assert spent.cost == pytest.approx(40 * LIVE_COST / 2)
        assert (spent.calls, spent.failed, spent.retried) == (40, 0, 0)
        assert len(server.batches) == 1 and server.live == 0
        assert lines_on_record(tmp_path) == 0
        assert ask(client_of(server, tmp_path), questions(40)) == texts(40)
        assert len(server.batches) == 1


def test_an_answer_is_the_same_alone_and_in_a_batch(tmp_path: Path) -> None:
    with batch_server() as server:
        ask(client_of(server, tmp_path), questions(5))
        params = OpenAIParams(model="m", endpoints=[{"url": server.url}])
        live = OpenAIEngine(params, identify_engine(params, ModelNames()))
        assert ask(EngineClient(live, cache=Cache(tmp_path / "c.sqlite")), questions(8)) == texts(8)
        assert server.live == 3
        assert ask(client_of(server, tmp_path), questions(9)) == texts(9)
        assert sum(sent(server).values()) == 6
        body = server.lines(server.batches["batch_0"])[0]["body"]
    assert set(body) == {"model", "messages", "max_tokens", "temperature", "top_p", "seed"}


def test_batches_keep_to_the_limits_of_a_file(tmp_path: Path) -> None:
    with batch_server() as server:
        requests = [*questions(25), *(raw(f"r{i}") for i in range(3))]
        answers = ask(client_of(server, tmp_path, batch={"requests": 10}), requests)
        assert answers == [*texts(25), *(f"answer to r{i}" for i in range(3))]
        sizes = [len(server.lines(batch)) for batch in server.batches.values()]
        assert sizes == [10, 10, 5, 3]
        most = 3.5 * len(server.files["file-0"]) / 10 / 1e6
        more = [chat(f"q{i}") for i in range(100, 110)]
        ask(client_of(server, tmp_path, batch={"megabytes": most}), more)
        sizes = [len(server.lines(batch)) for batch in list(server.batches.values())[4:]]
    assert sizes == [3, 3, 3, 1]


def test_calls_without_an_answer_are_sent_again_together(tmp_path: Path) -> None:
    faults = [bad(500), bad(429), lost("batch_expired"), None, lost("server_error")]

    def plan(body: dict[str, Any], before: int) -> Any:
        number = numbered(body)
        return faults[number % 5] if number < 10 and not before else good(body)

    with batch_server() as server:
        server.plan = plan
        server.ends = lambda number: "expired" if number == 0 else "completed"
        client = client_of(server, tmp_path)
        assert ask(client, questions(20)) == texts(20)
        assert [len(server.lines(batch)) for batch in server.batches.values()] == [20, 10]
        spent = client.bill.total()
    assert (spent.calls, spent.retried, spent.failed) == (30, 10, 0)
    assert spent.cost == pytest.approx(20 * LIVE_COST / 2)
    assert lines_on_record(tmp_path) == 0


def test_what_never_comes_is_told_and_asked_again_by_the_next_run(tmp_path: Path) -> None:
    policy = {"error": {"code": "content_filter", "message": "no"}}
    answers = {1: lost("batch_expired"), 2: bad(400), 3: bad(400, policy)}
    with batch_server() as server:
        server.plan = lambda body, before: answers.get(numbered(body)) or good(body)
        client = client_of(server, tmp_path)
        first = ask(client, questions(5))
        assert first == [texts(1)[0], "failed", "failed", "filtered", "answer to q4"]
        assert client.faults.unanswered == 2
        assert sent(server) == {"q0": 1, "q1": 3, "q2": 1, "q3": 1, "q4": 1}
        server.plan = lambda body, before: good(body)
        second = ask(client_of(server, tmp_path), questions(5))
        # A refusal by a policy is the answer, as when it comes alone.
        assert second == [*texts(3), "filtered", "answer to q4"]


def test_a_batch_that_somebody_cancels_is_not_sent_again(tmp_path: Path) -> None:
    with batch_server() as server:
        server.plan = lambda body, before: good(body) if numbered(body) < 3 else None
        server.ends = lambda number: "cancelled"
        assert ask(client_of(server, tmp_path), questions(5)) == [*texts(3), "failed", "failed"]
        assert len(server.batches) == 1


def test_a_batch_that_is_refused_as_a_whole_ends_the_run_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.llm.engines.fakebatches.MOST_REQUESTS", 4)
    with batch_server() as server:
        with pytest.raises(UserError, match=r"batch_0 was refused as a whole.*too large"):
            ask(client_of(server, tmp_path), questions(5))
        assert lines_on_record(tmp_path) == 0
        assert ask(client_of(server, tmp_path, batch={"requests": 4}), questions(5)) == texts(5)


def test_a_server_without_batch_endpoints_is_named(tmp_path: Path) -> None:
    with batch_server() as server:
        server.absent = True
        with pytest.raises(UserError, match=r"HTTP 404.*has it batch endpoints at all\? \(engine"):
            ask(client_of(server, tmp_path), questions(1))


def test_requests_that_fail_for_a_moment_are_sent_again_and_no_batch_twice(tmp_path: Path) -> None:
    with batch_server() as server:
        # The batch is there although its sender is told of a fault: it is found by its name.
        server.faults.update({"/v1/files": 1, "/v1/batches": 2})
        assert ask(client_of(server, tmp_path), questions(5)) == texts(5)
        assert len(server.batches) == 1


def test_limits_hold_before_a_batch_is_sent(tmp_path: Path) -> None:
    with batch_server() as server:
        client = client_of(server, tmp_path, limits=Limits(calls=7))
        answers = ask(client, questions(10))
        assert Counter(answers)["unsent"] == 3 and sum(sent(server).values()) == 7
        assert "calls is reached" in str(client.stopped)


def test_useless_answers_are_drawn_anew_in_a_batch(tmp_path: Path) -> None:
    schema: dict[str, JSON] = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
    }
    with batch_server() as server:
        server.plan = lambda body, before: good(
            body, '{"n": 1}' if body["seed"] % 2 else "no JSON at all"
        )
        client = client_of(server, tmp_path, structured="json_schema")
        requests = [chat(f"q{i}", schema=schema, sampling=Sampling(seed=i)) for i in range(12)]
        with client:
            answers = client.ask(requests, stage="s")
        assert len(server.batches) > 1
        assert all(row[0].value == {"n": 1} or row[0].draws == 3 for row in answers)


def test_only_one_endpoint_goes_with_batches_and_a_word_is_enough() -> None:
    engine = {"model": "m", "endpoints": [{"url": "http://h/v1"}]}
    assert OpenAIParams(**engine, batch=True).batch == OpenAIParams(**engine, batch={}).batch
    assert OpenAIParams(**engine, batch=False).batch is None
    two = [{"url": "http://h/v1"}, {"url": "http://i/v1"}]
    with pytest.raises(ValueError, match="batch goes with one endpoint"):
        OpenAIParams(model="m", endpoints=two, batch=True)


def test_a_recipe_s_engine_has_its_batches_on_record_beside_the_answers(tmp_path: Path) -> None:
    with batch_server() as server:
        params = params_of(server.url)
        source = EngineSource(
            identify_engine(params, ModelNames()),
            params.model_dump(mode="json"),
            {},
            tmp_path / "completions.sqlite",
        )
        with open_client(source) as client:
            assert client.ask(questions(2), stage="s")[1][0].text == "answer to q1"
    assert (tmp_path / "batches.sqlite").is_file()


RUN = """
import sys
from pathlib import Path
from tests.llm.engines.test_batch import ask, client_of, questions, texts
from tests.llm.engines.fakebatches import FakeBatches
server = FakeBatches()
server.url = sys.argv[1]
count = int(sys.argv[3])
client = client_of(server, Path(sys.argv[2]), batch={"requests": 30})
print(ask(client, questions(count)) == texts(count))
"""


def start_run(server: FakeBatches, folder: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, server.url, str(folder), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO)


def wait_until(run: subprocess.Popen[str] | subprocess.Popen[bytes], reached: Any) -> None:
    while not reached():
        assert run.poll() is None, "the run ended before it was killed"
        time.sleep(0.01)


@pytest.mark.system
def test_a_run_killed_while_it_waits_goes_on_with_its_batches(tmp_path: Path) -> None:
    with batch_server() as server:
        server.held.clear()
        run = start_run(server, tmp_path, 80)
        wait_until(run, lambda: server.polls["batch_2"] >= 3)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert lines_on_record(tmp_path) == 80
        server.held.set()
        # Another list of calls, some of them in those batches: these come, the others wait for theirs.
        assert ask(client_of(server, tmp_path), [*questions(10), chat("q99")])[:10] == texts(10)
        assert lines_on_record(tmp_path) == 70
        assert start_run(server, tmp_path, 80).communicate()[0].strip() == "True"
        assert len(server.batches) == 4 and set(sent(server).values()) == {1}
        assert lines_on_record(tmp_path) == 0


@pytest.mark.system
@pytest.mark.parametrize("lists", [True, False])
def test_a_batch_whose_id_was_never_learned_is_found_by_its_name(
    tmp_path: Path, lists: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with batch_server() as server, caplog.at_level(logging.INFO, "curate"):
        server.held.clear()
        run = start_run(server, tmp_path, 80)
        wait_until(run, lambda: server.polls["batch_2"] >= 1)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        with sqlite3.connect(tmp_path / "b.sqlite") as database:
            database.execute("UPDATE batches SET id = NULL")
        server.held.set()
        server.lists = lists
        assert ask(client_of(server, tmp_path), questions(80)) == texts(80)
        # A server that lists no batches cannot tell, and the calls are sent anew.
        assert set(sent(server).values()) == ({1} if lists else {2})
        assert sum("of an earlier run goes on" in m for m in caplog.messages) == 3 * lists


@pytest.mark.system
def test_a_run_killed_while_answers_arrive_pays_for_none_twice(tmp_path: Path) -> None:
    with batch_server() as server:
        run = start_run(server, tmp_path, 400)
        wait_until(run, lambda: (tmp_path / "b.sqlite").exists() and 0 < answers_in(tmp_path) < 400)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert start_run(server, tmp_path, 400).communicate()[0].strip() == "True"
        assert set(sent(server).values()) == {1}


def answers_in(folder: Path) -> int:
    try:
        with sqlite3.connect(folder / "c.sqlite", timeout=60) as database:
            return int(database.execute("SELECT count(*) FROM completions").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_a_batch_that_the_server_has_no_more_is_sent_anew(tmp_path: Path) -> None:
    with batch_server() as server:
        server.faults["/v1/batches/"] = 10**6
        with pytest.raises(UserError, match=r"HTTP 500.*stay on record"):
            ask(client_of(server, tmp_path), questions(3))
        server.faults.clear()
        assert lines_on_record(tmp_path) == 3
        server.batches = {"batch_x": server.batches["batch_0"]}
        assert ask(client_of(server, tmp_path), questions(3)) == texts(3)
        assert sent(server) == {f"q{i}": 2 for i in range(3)}


def test_what_a_server_says_of_batches_is_data(tmp_path: Path) -> None:
    with batch_server() as server:
        server.plan = lambda body, before: {"response": {"status_code": 200, "body": []}}
        assert ask(client_of(server, tmp_path), questions(2)) == ["failed", "failed"]
        server.ends = lambda number: "on holiday"
        with pytest.raises(UserError, match=r"that is no batch.*on holiday"):
            ask(client_of(server, tmp_path), questions(2))


@pytest.mark.system
def test_a_whole_run_that_is_killed_goes_on_where_it_was(tmp_path: Path, tiny: Path) -> None:
    with batch_server() as server:
        server.plan = lambda body, before: good(body, said_by(good_act(body)))
        recipe = recipe_of("rubric", tmp_path, tiny, server.url)
        recipe["stages"][0]["engine"] |= {
            "batch": {"poll": 0.05}, "structured": "json_schema", "prices": PRICES,
        }  # fmt: skip
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
        command = [sys.executable, "-m", "curate", "run", "r.yaml", "--out", "run"]
        environment = os.environ | {"PYTHONPATH": str(REPO)}
        server.held.clear()
        run = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
        wait_until(run, lambda: server.polls["batch_0"] >= 2)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        server.held.set()
        assert curate("run", "r.yaml", "--out", "run", folder=tmp_path).returncode == 0
        assert len(server.batches) == 1 and set(server.seen.values()) == {1}
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    cost = sum(stage["llm"]["cost"] for stage in manifest["stages"])
    assert cost == pytest.approx(len(POOL) * LIVE_COST / 2, abs=1e-6)
