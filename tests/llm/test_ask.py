"""Asking: order, cache, retries, limits and the bill, on an engine whose answers are written down."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.core.meter import metered
from curate.llm.ask import EngineClient, manifest_of
from curate.llm.cache import Cache
from curate.llm.limits import Limits
from curate.llm.progress import Progress
from curate.llm.requests import Call, Completion, Sampling, chat, raw
from curate.llm.structured import Retries
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.llm.test_structured import SCHEMA

ECHO = [("", lambda call: f"{text_of(call)} {call.sample}")]


def client_and_engine(
    rules: Any = ECHO, path: Path | None = None, **given: Any
) -> tuple[EngineClient, ScriptedEngine]:
    engine = ScriptedEngine(rules)
    return EngineClient(engine, cache=Cache(path) if path else None, **given), engine


def draws(text: str, n: int = 1, seed: int = 0) -> Any:
    return raw(text, sampling=Sampling(n=n, seed=seed))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 4)), max_size=8))
def test_answers_come_in_the_order_of_requests_and_samples(
    draws_by_text: list[tuple[str, int]],
) -> None:
    client, engine = client_and_engine()
    answers = client.ask([draws(text, n) for text, n in draws_by_text], stage="s")
    assert [[a.text for a in row] for row in answers] == [
        [f"{text} {k}" for k in range(n)] for text, n in draws_by_text
    ]
    # Requests that are alike to the seed are sent once.
    assert len(engine.calls) == len({(text, k) for text, n in draws_by_text for k in range(n)})


@given(first=st.integers(1, 5), more=st.integers(0, 5))
def test_asking_for_more_extends(
    tmp_path_factory: pytest.TempPathFactory, first: int, more: int
) -> None:
    path = tmp_path_factory.mktemp("cache") / "c.sqlite"
    client, engine = client_and_engine(path=path)
    before = client.ask([draws("a", first)], stage="s")[0]
    client.close()
    again, engine = client_and_engine(path=path)
    after = again.ask([draws("a", first + more)], stage="s")[0]
    again.close()
    assert [a.text for a in after[:first]] == [a.text for a in before]
    assert [call.sample for call in engine.calls] == list(range(first, first + more))
    assert [a.cached for a in after] == [True] * first + [False] * more
    assert again.bill.total().cached == first and again.bill.total().calls == more


def test_a_second_run_pays_nothing_and_is_the_same(tmp_path: Path) -> None:
    requests = [chat(f"Q{i}", schema=SCHEMA, sampling=Sampling(n=2)) for i in range(5)]
    rules = [("Q3", Reply("", "refused")), ("", ["no", '{"n": 1}'])]
    first, engine = client_and_engine(rules, tmp_path / "c.sqlite")
    one = first.ask(requests, stage="s")
    first.close()
    second, engine = client_and_engine([], tmp_path / "c.sqlite")
    two = second.ask(requests, stage="s")
    second.close()
    assert [[replace(a, cached=True) for a in row] for row in one] == two
    assert engine.calls == [] and second.bill.total().cost == 0


def test_every_class_of_failure_comes_back_in_its_slot() -> None:
    rules = [
        ("good", '{"n": 1}'),
        ("words", "no json"),
        ("wrong", '{"n": "x"}'),
        ("cut", Reply('{"n": 1', "truncated")),
        ("loop", Reply("aaaa", "repetition")),
        ("declined", Reply("I can't", "refused")),
        ("hidden", Reply("", "filtered")),
        ("blank", Reply(" ", "empty")),
        ("broken", Reply("", "failed", error="the connection broke", sends=6)),
    ]
    client, engine = client_and_engine(rules)
    names = ["good", "words", "wrong", "cut", "loop", "declined", "hidden", "blank", "broken"]
    answers = [a for (a,) in client.ask([chat(n, schema=SCHEMA) for n in names], stage="s")]
    failures = [None, "invalid_json", "schema_violation", "truncated", "repetition", "refused",
                "filtered", "empty", "failed"]  # fmt: skip
    assert [a.failure for a in answers] == failures
    assert [a.draws for a in answers] == [1, 3, 3, 2, 3, 1, 1, 3, 1]
    assert all(a.reason for a in answers[1:]) and answers[8].reason == "the connection broke"
    spent = client.bill.total()
    assert spent.calls == len(engine.calls) == 18
    assert spent.retried == 9 + 5 and spent.failed == 1
    assert spent.useless == {failure: 1 for failure in failures[1:]}
    # Useless answers are asked for again all at once.
    assert engine.batches == [9, 5, 4]


def test_an_answer_that_mends_itself_is_used() -> None:
    client, _ = client_and_engine([("Q", ["no", '{"n": "x"}', '{"n": 7}'])])
    answer = client.ask([chat("Q", schema=SCHEMA)], stage="s")[0][0]
    assert answer.ok and answer.value == {"n": 7} and answer.draws == 3


def test_a_cut_answer_is_given_room_once() -> None:
    def cut(call: Call) -> Reply:
        room = call.sampling.max_tokens
        return Reply('{"n": 1}') if room >= 20 else Reply('{"n": 1}', "truncated")

    client, engine = client_and_engine([("", cut)])
    short = chat("a", schema=SCHEMA, sampling=Sampling(max_tokens=10))
    shorter = chat("b", schema=SCHEMA, sampling=Sampling(max_tokens=5))
    (one,), (two,) = client.ask([short, shorter], stage="s")
    assert one.value == {"n": 1} and two.failure == "truncated" and two.value is None
    assert [call.sampling.max_tokens for call in engine.calls] == [10, 5, 20, 10]


@pytest.mark.parametrize(
    ("limits", "sent", "name"),
    [
        (Limits(calls=3), 3, "calls"),
        # Each call has 2 tokens and costs 0.5: the one that crosses the limit is still made.
        (Limits(tokens=5), 3, "tokens"),
        (Limits(cost=1.5), 3, "cost"),
        (Limits(calls=0), 0, "calls"),
    ],
)
def test_a_limit_ends_a_run_with_what_there_is(limits: Limits, sent: int, name: str) -> None:
    client, engine = client_and_engine([("", Reply("x", prompt_tokens=1, cost=0.5))], limits=limits)
    answers = client.ask([draws(f"q{i}") for i in range(6)], stage="s")
    assert [a[0].failure for a in answers] == [None] * sent + ["unsent"] * (6 - sent)
    assert client.stopped is not None and name in client.stopped
    assert len(engine.calls) == client.bill.total().calls == sent
    assert client.ask([draws("more")], stage="t")[0][0].failure == "unsent"
    assert len(engine.calls) == sent


def test_stored_answers_come_after_a_limit_too(tmp_path: Path) -> None:
    client, _ = client_and_engine(path=tmp_path / "c.sqlite", limits=Limits(calls=2))
    first = client.ask([draws(f"q{i}") for i in range(3)], stage="s")
    again = client.ask([draws(f"q{i}") for i in range(3)], stage="s")
    client.close()
    assert [a[0].ok for a in first] == [a[0].ok for a in again] == [True, True, False]


def test_a_limit_during_retries_keeps_the_first_failure() -> None:
    client, _ = client_and_engine([("", "no")], limits=Limits(calls=1))
    answer = client.ask([chat("a", schema=SCHEMA)], stage="s")[0][0]
    assert answer.failure == "invalid_json" and answer.draws == 1


def test_calls_in_a_row_without_an_answer_stop_the_run() -> None:
    broken = Reply("", "failed", error="no connection", sends=6)
    client, _ = client_and_engine([("bad", broken), ("", "x")], limits=Limits(failures=3))
    texts = ["bad 1", "bad 2", "good", "bad 3", "bad 4", "bad 5", "bad 6"]
    answers = client.ask([draws(text) for text in texts], stage="s")
    assert [a[0].failure for a in answers] == ["failed"] * 2 + [None] + ["failed"] * 3 + ["unsent"]
    assert client.stopped == "3 calls in a row had no answer; the last one: no connection"


def test_rejected_calls_do_not_stop_a_run_in_which_one_was_answered() -> None:
    def rejected(call: Call) -> Reply:
        return Reply("", "failed", error="HTTP 400", rejected=True)

    one, _ = client_and_engine([("bad", rejected), ("", "x")], limits=Limits(failures=3))
    answers = one.ask(
        [draws(f"{text} {i}") for i, text in enumerate(["good", *["bad"] * 5, "fine"])], stage="s"
    )
    assert answers[-1][0].ok and one.stopped is None
    one, _ = client_and_engine([("bad", rejected), ("", "x")], limits=Limits(failures=3))
    one.ask([draws(f"bad {i}") for i in range(6)], stage="s")
    assert one.stopped == "3 calls in a row had no answer; the last one: HTTP 400"


def test_useless_answers_are_forgotten_if_none_was_of_use(tmp_path: Path) -> None:
    requests = [chat("Q", schema=SCHEMA)]
    first, _ = client_and_engine([("", "no")], tmp_path / "c.sqlite")
    first.ask(requests, stage="s")
    with pytest.raises(UserError, match=r"s: none of 1 answers was of use \(1 invalid_json\)"):
        first.check_answered()
    first.close()
    second, engine = client_and_engine([("", '{"n": 1}')], tmp_path / "c.sqlite")
    assert second.ask(requests, stage="s")[0][0].ok and len(engine.calls) == 1
    second.check_answered()
    second.close()


def test_an_estimate_counts_what_would_be_sent(tmp_path: Path) -> None:
    client, engine = client_and_engine(path=tmp_path / "c.sqlite")
    requests = [raw("one two three", sampling=Sampling(n=2, max_tokens=10)), draws("four")]
    estimate = client.estimate(requests)
    assert (estimate.calls, estimate.cached, estimate.prompt_tokens) == (3, 0, 7)
    assert estimate.most_completion_tokens == 20 + 256 and estimate.exact
    assert estimate.most_cost == (7 + 276) / 1000
    assert engine.calls == []
    client.ask(requests[1:], stage="s")
    assert client.estimate(requests).calls == 2 and client.estimate(requests).cached == 1
    client.close()


def test_what_a_killed_engine_had_told_is_kept(tmp_path: Path) -> None:
    rules = [("q3", RuntimeError("killed")), *ECHO]
    client, engine = client_and_engine(rules, tmp_path / "c.sqlite")
    with pytest.raises(RuntimeError):
        client.ask([draws(f"q{i}") for i in range(6)], stage="s")
    client.close()
    again, engine = client_and_engine(path=tmp_path / "c.sqlite")
    again.ask([draws(f"q{i}") for i in range(6)], stage="s")
    again.close()
    assert [text_of(call) for call in engine.calls] == ["q3", "q4", "q5"]


def test_a_bad_schema_is_refused_before_anything_is_sent() -> None:
    client, engine = client_and_engine()
    with pytest.raises(UserError, match="not a JSON schema"):
        client.ask([draws("a"), chat("b", schema={"type": 7})], stage="s")
    assert engine.calls == []


def test_the_manifest_is_plain() -> None:
    client, _ = client_and_engine(limits=Limits(calls=1), retries=Retries(invalid=0))
    client.ask([draws("a"), draws("b")], stage="aide.topics")
    manifest = manifest_of(client)
    assert manifest["engine"] == {"engine": "scripted", "model": "scripted"}
    assert manifest["stopped"] == client.stopped is not None
    assert manifest["bill"]["stages"]["aide.topics"]["calls"] == 1


def test_progress_counts_calls_on_the_meter_of_the_step(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "curate")
    with metered(["generate"]) as meter, Progress("aide") as progress:
        progress.expect(3, stored=2)
        progress.add(Completion("a", "ok", completion_tokens=5))
        progress.add(Completion("", "failed"))
        assert (meter.done, meter.total, meter.unit) == (2, 3, "calls")
        assert meter.note.endswith(" tokens/s, 1 failed")
    (line,) = caplog.messages
    assert line.startswith("aide: 2/3 calls, ")
    assert line.endswith(" tokens/s, 1 failed, 2 stored")
