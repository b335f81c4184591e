"""Answers in a bucket: machines with folders of their own, on a real S3 server of this machine."""

from __future__ import annotations

import gzip
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config.recipe import Config
from curate.core import remotefolder
from curate.core.bucket import BucketStore
from curate.core.errors import UserError
from curate.llm import sharedcache
from curate.llm.ask import EngineClient
from curate.llm.cache import Cache
from curate.llm.requests import Completion, raw
from curate.llm.segments import SharedAnswer, read_segment, shared_bytes, write_segment
from curate.llm.sharedcache import SharedCache
from curate.pipeline.curation import run_curation
from curate.runs.housekeeping import store_usage
from tests.generate.scripted import ScriptedEngine, text_of
from tests.generate.serverruns import good_act, recipe_of
from tests.llm.engines.fakeserver import Act, FakeServer
from tests.llm.test_cache import completions
from tests.s3server import faults_between, use_s3

pytestmark = pytest.mark.system
REPO = Path(__file__).parents[2]
IDENTITY = {"engine": "scripted", "model": "m"}
KEY = "sk-Very-secret-0123456789-abcdefGHIJKLMN"
Caches = Callable[..., SharedCache]


@pytest.fixture
def bucket(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    use_s3(monkeypatch, s3)
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remotefolder, "PAUSES", (0.01, 0.01))
    fsspec.filesystem("s3").clear_instance_cache()
    name = f"answers-{uuid4()}"
    fsspec.filesystem("s3").mkdir(name)
    yield f"s3://{name}/curate"
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture
def caches(bucket: str, tmp_path: Path) -> Caches:
    """Machines by their names: files of completions on one bucket."""
    return lambda machine, engine="m": SharedCache(tmp_path / machine / "c.sqlite", bucket, engine)


def segments(bucket: str) -> list[str]:
    filesystem, root = fsspec.core.url_to_fs(bucket)
    filesystem.invalidate_cache()
    return sorted(filesystem.find(f"{root}/completions"))


def ask(cache: Cache, texts: str, rules: Any = (("", text_of),)) -> tuple[list[str], int]:
    """Return what an engine answers through a cache, and how many calls it was sent."""
    engine = ScriptedEngine(list(rules))
    with EngineClient(engine, cache=cache) as client:
        answers = client.ask([raw(text) for text in texts], stage="s")
    return [row[0].text for row in answers], len(engine.calls)


def test_a_second_machine_makes_no_request(caches: Caches, bucket: str, tmp_path: Path) -> None:
    assert ask(caches("one"), "abc") == (["a", "b", "c"], 3)
    assert ask(caches("two"), "cab", rules=[]) == (["c", "a", "b"], 0)
    assert ask(caches("two"), "abcd") == (["a", "b", "c", "d"], 1)
    assert ask(caches("one"), "d", rules=[]) == (["d"], 0)
    assert len(segments(bucket)) == 2, "what was taken in is not put there again"
    store = BucketStore(bucket, tmp_path / "nobody")
    assert store_usage(store).answers == shared_bytes(bucket) > 0
    assert store.entries() == []


def test_engines_have_segments_of_their_own(caches: Caches, bucket: str) -> None:
    ask(caches("one", "m"), "a")
    ask(caches("one", "n"), "b")
    first, second = (path.split("/")[-2] for path in segments(bucket))
    assert (first, second) == ("m", "n")
    assert ask(caches("two", "n"), "b", rules=[])[1] == 0
    assert ask(caches("two", "n"), "a")[1] == 1, "the segments of m are not read for n"


STORED_ANSWERS = st.none() | st.just({"text": "\u2028 é", "finish": "ok", "logprobs": None})


@given(
    st.lists(st.builds(SharedAnswer, st.text("abc", min_size=1), st.floats(1, 2e9), STORED_ANSWERS))
)
def test_a_segment_is_read_as_it_was_put(
    tmp_path_factory: pytest.TempPathFactory, answers: list[SharedAnswer]
) -> None:
    path = write_segment(answers, tmp_path_factory.mktemp("segment"))
    assert read_segment(path) == answers


@given(completion=completions)
def test_a_completion_comes_back_on_another_machine_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, completion: Completion
) -> None:
    folder = tmp_path_factory.mktemp("machines")
    one = SharedCache(folder / "one" / "c.sqlite", f"memory://{folder.name}", "m")
    assert one.keep("k", completion, IDENTITY) == completion
    one.close()
    two = SharedCache(folder / "two" / "c.sqlite", f"memory://{folder.name}", "m")
    assert two.find(["k", "other"]) == {"k": completion}
    two.close()


def test_a_log_probability_that_is_none_stays_none(caches: Caches) -> None:
    one = caches("one")
    one.keep("k", Completion("a", "ok", logprobs=(-1.0, math.nan)), IDENTITY)
    one.close()
    first, second = caches("two").find(["k"])["k"].logprobs or ()
    assert first == -1.0 and math.isnan(second)


def test_what_was_of_no_use_is_asked_anew_on_every_machine(caches: Caches) -> None:
    one, two, three = caches("one"), caches("two"), caches("three")
    for key in "ab":
        one.keep(key, Completion(key, "ok"), IDENTITY)
    one._share()
    assert set(two.find("ab")) == {"a", "b"}
    two.remove("a")
    two.close()
    assert set(three.find("ab")) == {"b"}, "the answer and its removal come at once"
    three.keep("a", Completion("better", "ok"), IDENTITY)
    three.close()
    one._looked = -math.inf
    assert one.find(["a", "b", "c"])["a"].text == "better"
    one.close()
    assert {key: c.text for key, c in caches("four").find("ab").items()} == {
        "a": "better",
        "b": "b",
    }


def test_two_machines_that_ask_at_once_keep_their_own_answers(caches: Caches) -> None:
    one, two = caches("one"), caches("two")
    assert one.find("k") == two.find("k") == {}
    for cache, text in ((one, "one"), (two, "two")):
        cache.keep("k", Completion(text, "ok"), IDENTITY)
        cache.close()
    texts = [caches(name).find(["k", "else"])["k"].text for name in ("one", "two", "three")]
    assert texts[:2] == ["one", "two"]
    assert texts[2] in texts[:2]


def test_answers_are_put_there_while_a_step_is_at_work(
    caches: Caches, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharedcache, "SHARE_SECONDS", 0.05)
    one = caches("one")
    one.keep("k", Completion("a", "ok"), IDENTITY)
    for _ in range(200):
        if segments(bucket):
            break
        one._closing.wait(0.05)
    assert set(caches("two").find("k")) == {"k"}
    one.close()


# --- faults -------------------------------------------------------------------------------------


@pytest.fixture
def flaky(bucket: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | int]]:
    """The faults of the next requests."""
    with faults_between(s3, monkeypatch) as faults:
        yield faults


@pytest.mark.parametrize("fault", [503, "cut", "half"])
@pytest.mark.parametrize("at", range(3))
def test_a_fault_of_a_moment_is_got_over(
    caches: Caches, flaky: list[str | int], fault: str | int, at: int
) -> None:
    passing: list[Any] = [None] * at
    flaky[:] = [*passing, fault]
    assert ask(caches("one"), "ab")[1] == 2
    flaky[:] = [*passing, fault]
    assert ask(caches("two"), "ab", rules=[]) == (["a", "b"], 0)


def test_a_bucket_that_cannot_be_read_ends_before_anything_is_paid_for(
    caches: Caches, flaky: list[str | int]
) -> None:
    flaky += [503] * 200
    engine = ScriptedEngine([("", text_of)])
    with pytest.raises(UserError, match=r"^store: s3://answers-.*: cannot be reached"):
        EngineClient(engine, cache=caches("one")).ask([raw("a")], stage="s")
    assert engine.calls == []


def test_what_cannot_be_put_waits_for_the_next_run(
    caches: Caches, flaky: list[str | int], caplog: pytest.LogCaptureFixture
) -> None:
    one = caches("one")
    assert one.find("k") == {}
    flaky += [503] * 200
    one.keep("k", Completion("a", "ok"), IDENTITY)
    one.close()
    assert caplog.messages[-1].endswith("wait on this machine")
    flaky.clear()
    assert caches("two").find("k") == {}
    caches("one").close()
    assert set(caches("three").find("k")) == {"k"}


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[::-1]]
)
def test_a_damaged_segment_is_passed_over_and_its_answers_are_asked_for(
    caches: Caches, bucket: str, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    ask(caches("one"), "ab")
    filesystem = fsspec.filesystem("s3")
    [path] = segments(bucket)
    filesystem.pipe_file(path, damage(filesystem.cat_file(path)))
    assert ask(caches("two"), "ab") == (["a", "b"], 2)
    assert "answers in the bucket cannot be read" in caplog.text


WRITER = """
import sys
from pathlib import Path
from curate.llm import sharedcache
from curate.llm.requests import Completion
path, bucket, count, sharedcache.SHARE_SECONDS = sys.argv[1], sys.argv[2], 10**6, float(sys.argv[3])
cache = sharedcache.SharedCache(Path(path), bucket, "m")
for i in range(count):
    cache.keep(f"k{i}", Completion(f"a{i}", "ok"), {"engine": "e", "model": "m"})
    print(f"k{i}", flush=True)
"""


@pytest.mark.parametrize("seconds", [1000.0, 0.01])
def test_a_killed_process_leaves_its_answers_to_the_next_run_which_shares_them(
    caches: Caches, bucket: str, tmp_path: Path, seconds: float
) -> None:
    """Whether it was killed before it put any answer into the bucket or in the midst of putting."""
    path = tmp_path / "one" / "c.sqlite"
    command = [sys.executable, "-c", WRITER, str(path), bucket, str(seconds)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO)
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(300)]
    os.kill(writer.pid, signal.SIGKILL)
    lines += writer.stdout.read().splitlines(keepends=True)
    writer.wait()
    keys = [line.strip() for line in lines if line.endswith("\n")]
    one = caches("one")
    assert set(keys) <= set(one.find(keys))
    one.close()
    stored = caches("two").find(keys)
    assert {key: stored[key].text for key in keys} == {key: f"a{key[1:]}" for key in keys}
    before = segments(bucket)
    caches("one").close()
    assert segments(bucket) == before, "all is there"


# --- whole runs ---------------------------------------------------------------------------------


def test_what_one_machine_was_not_answered_another_asks_for_and_nothing_else(
    bucket: str, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does any object of the bucket have the key of the server, which repeats it."""
    monkeypatch.setenv("TEST_KEY", KEY)
    answered: list[str] = []
    broken = [True]

    def plan(body: dict[str, Any], number: int) -> Act:
        if broken and len(answered) == 4:
            return Act(status=500)
        answered.append(json.dumps(body))
        return good_act(body, f" {KEY}")

    with FakeServer(plan) as server:
        recipe = recipe_of("clear", tmp_path, tiny, server.url, api_key_env="TEST_KEY")
        config = Config.model_validate({**recipe, "store": bucket})
        with pytest.raises(UserError):
            run_curation(config, tmp_path / "first")
        assert len(answered) == 4
        broken.clear()
        monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "other"))
        run_curation(config, tmp_path / "second")
        assert len(answered) == len(set(answered)) > 10, "nothing is answered twice"
        sent = len(server.bodies)
        monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "third"))
        run_curation(config, tmp_path / "third-run")
        assert len(server.bodies) == sent
    filesystem, root = fsspec.core.url_to_fs(bucket)
    objects = {path: filesystem.cat_file(path) for path in filesystem.find(root)}
    texts = [gzip.decompress(data) if p.endswith(".gz") else data for p, data in objects.items()]
    assert not any(KEY.encode() in text for text in texts)
    assert any(b"[key]" in text for text in texts)
