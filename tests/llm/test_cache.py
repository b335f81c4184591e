"""The cache: what comes back, what extends, what several processes see."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.llm.cache import STORED, Cache, key_of
from curate.llm.requests import Call, Completion, Sampling, chat, raw

REPO = Path(__file__).parents[2]
IDENTITY = {"engine": "scripted", "model": "m"}
texts = st.text(st.characters(exclude_categories=["Cs"]))
completions = st.builds(
    Completion,
    text=texts,
    finish=st.sampled_from(sorted(STORED)),
    prompt_tokens=st.integers(0, 10**6),
    completion_tokens=st.integers(0, 10**6),
    logprobs=st.none() | st.lists(st.floats(-100, 0), max_size=4).map(tuple),
    cost=st.floats(0, 1e3),
    estimated=st.booleans(),
    sends=st.integers(1, 6),
)
samplings = st.builds(
    Sampling,
    temperature=st.floats(0, 2),
    top_k=st.integers(0, 50),
    max_tokens=st.integers(1, 500),
    stop=st.lists(texts.filter(bool), max_size=2).map(tuple),
    seed=st.integers(0, 2**31),
)
calls = st.builds(
    Call,
    st.builds(lambda text, s: raw(text, sampling=s), texts, samplings),
    st.integers(0, 5),
    st.integers(0, 2),
)


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    cache = Cache(tmp_path / "deep" / "cache.sqlite")
    yield cache
    cache.close()


@given(call=calls, completion=completions)
def test_what_is_kept_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, call: Call, completion: Completion
) -> None:
    path = tmp_path_factory.mktemp("cache") / "c.sqlite"
    key = key_of(IDENTITY, call)
    cache = Cache(path)
    assert cache.keep(key, completion, IDENTITY) == completion
    cache.close()
    again = Cache(path)
    assert again.find([key, "other"]) == {key: completion}
    again.close()


@given(one=calls, other=calls)
def test_keys_are_equal_exactly_when_contents_are(one: Call, other: Call) -> None:
    same = one.content() == other.content()
    assert (key_of(IDENTITY, one) == key_of(IDENTITY, other)) == same


def test_the_model_is_part_of_the_key() -> None:
    call = Call(chat("a"))
    assert key_of(IDENTITY, call) != key_of({**IDENTITY, "model": "n"}, call)
    assert key_of(IDENTITY, call) == key_of(dict(reversed(IDENTITY.items())), call)


@pytest.mark.parametrize("finish", ["failed", "unsent", "empty", "unknown"])
def test_what_the_transport_did_is_not_kept(cache: Cache, finish: Any) -> None:
    cache.keep("k", Completion("", finish), IDENTITY)
    assert cache.find(["k"]) == {}


@pytest.mark.parametrize("finish", ["refused", "filtered"])
def test_a_refusal_is_an_answer_and_kept(cache: Cache, finish: Any) -> None:
    refusal = Completion("", finish, error="HTTP 400")
    cache.keep("k", refusal, IDENTITY)
    assert cache.find(["k"]) == {"k": refusal}


def test_what_is_removed_is_gone(cache: Cache) -> None:
    for key in "abc":
        cache.keep(key, Completion(key, "ok"), IDENTITY)
    cache.remove(["a", "c", "d"])
    assert list(cache.find(["a", "b", "c"])) == ["b"]


def test_a_log_probability_that_is_none_comes_back_as_none(cache: Cache) -> None:
    cache.keep("k", Completion("a", "ok", logprobs=(-1.0, math.nan)), IDENTITY)
    first, second = cache.find(["k"])["k"].logprobs or ()
    assert first == -1.0 and math.isnan(second)


def test_chances_of_choices_come_back_and_choose_the_key(cache: Cache) -> None:
    cache.keep("k", Completion("a", "ok", choice_logprobs=(math.nan, -2.0)), IDENTITY)
    first, second = cache.find(["k"])["k"].choice_logprobs or ()
    assert math.isnan(first) and second == -2.0
    plain, other = (Call(chat("q", sampling=Sampling(choices=c))) for c in ((), ("1", "2")))
    assert "choices" not in plain.content()["sampling"], "keys of earlier answers stay"
    assert key_of(IDENTITY, plain) != key_of(IDENTITY, other)


def test_the_first_answer_stays_and_everyone_sees_it(cache: Cache) -> None:
    other = Cache(cache.path)
    first, second = Completion("first", "ok"), Completion("second", "ok")
    assert cache.keep("k", first, IDENTITY) == first
    assert other.keep("k", second, IDENTITY) == first
    assert other.find(["k"])["k"] == first
    other.close()


def test_refresh_finds_nothing_and_replaces(cache: Cache) -> None:
    cache.keep("k", Completion("old", "ok"), IDENTITY)
    fresh = Cache(cache.path, refresh=True)
    assert fresh.find(["k"]) == {}
    fresh.keep("k", Completion("new", "ok"), IDENTITY)
    fresh.close()
    assert cache.find(["k"])["k"].text == "new"


def test_many_keys_are_found_at_once(cache: Cache) -> None:
    keys = [f"k{i}" for i in range(1_203)]
    for key in keys:
        cache.keep(key, Completion(key, "ok"), IDENTITY)
    assert {key: completion.text for key, completion in cache.find(keys).items()} == {
        k: k for k in keys
    }


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_text("not a database, but a text that is long enough to look like a page\n" * 20)
    with pytest.raises(UserError, match=r"cache\.sqlite cannot be opened"):
        Cache(path)


WRITER = """
import sys
from pathlib import Path
from curate.llm.cache import Cache
from curate.llm.requests import Completion
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
cache = Cache(Path(path))
for i in range(count):
    stored = cache.keep(f"k{i}", Completion(name, "ok"), {"engine": "e", "model": "m"})
    print(f"k{i} {stored.text}", flush=True)
"""


def start_writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO)


@pytest.mark.system
def test_processes_write_the_same_keys_and_agree(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    writers = [start_writer(path, name, 200) for name in ("one", "two", "three")]
    outputs = [writer.communicate(timeout=1_800)[0].splitlines() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert outputs[0] == outputs[1] == outputs[2]
    cache = Cache(path)
    completions = cache.find([f"k{i}" for i in range(200)])
    cache.close()
    assert [f"k{i} {completions[f'k{i}'].text}" for i in range(200)] == outputs[0]


def test_a_killed_process_leaves_all_that_it_was_told_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    writer = start_writer(path, "one", 10**6)
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(50)]
    os.kill(writer.pid, signal.SIGKILL)
    lines += writer.stdout.read().splitlines(keepends=True)
    writer.wait()
    keys = [line.split()[0] for line in lines if line.endswith("\n")]
    cache = Cache(path)
    assert set(keys) <= set(cache.find(keys))
    cache.keep("after", Completion("x", "ok"), IDENTITY)
    cache.close()
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
