"""A cache as a whole: what its answers take by model, which go, and what others see of that."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.llm.cache import Cache
from curate.llm.cachefile import AnswerChoice, CacheFile, time_days_ago
from curate.llm.requests import Completion
from curate.llm.segments import SharedAnswer
from tests.llm.test_cache import completions, start_writer

names = st.sampled_from(["a", "b", "c"])
times = st.floats(1.7e9, 1.8e9)
choices = st.builds(AnswerChoice, st.none() | names, st.none() | names, st.none() | times)
kept = st.lists(st.tuples(names, names, times, completions), max_size=8)


def fill(path: Path, answers: list[tuple[str, str, float, Completion]]) -> None:
    """Keep answers of engines and models in a file, made at these times."""
    cache = Cache(path)
    for number, (engine, model, _, completion) in enumerate(answers):
        cache.keep(f"k{number}", completion, {"engine": engine, "model": model})
    cache.close()
    with sqlite3.connect(path) as database:
        for number, (_, _, at, _) in enumerate(answers):
            database.execute("UPDATE completions SET made = ? WHERE key = ?", (at, f"k{number}"))


def is_chosen(choice: AnswerChoice, engine: str, model: str, at: float) -> bool:
    return (
        choice.engine in (None, engine)
        and choice.model in (None, model)
        and (choice.until is None or at <= choice.until)
    )


@given(answers=kept, choice=choices)
def test_what_is_chosen_is_counted_written_and_removed_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
    answers: list[tuple[str, str, float, Completion]],
    choice: AnswerChoice,
) -> None:
    path = tmp_path_factory.mktemp("cache") / "c.sqlite"
    fill(path, answers)
    keys = {f"k{i}": is_chosen(choice, *one[:3]) for i, one in enumerate(answers)}
    chosen = sorted(key for key, goes in keys.items() if goes)
    with CacheFile(path) as file:
        usage = file.usage(choice)
        assert sum(one.answers for one in usage) == len(chosen)
        assert len({(one.engine, one.model) for one in usage}) == len(usage)
        assert [one.bytes for one in usage] == sorted((o.bytes for o in usage), reverse=True)
        assert [answer.key for answer in file.answers(choice)] == chosen
        assert file.remove(choice) == len(chosen)
        assert file.usage(choice) == []
    cache = Cache(path)
    assert cache.find(list(keys)) == {
        f"k{i}": one[3] for i, one in enumerate(answers) if not keys[f"k{i}"]
    }
    cache.close()


def test_an_answer_that_is_added_is_found_and_replaces_none(tmp_path: Path) -> None:
    fill(
        tmp_path / "one",
        [("e", "m", 3, Completion("first", "ok")), ("e", "m", 1, Completion("b", "ok"))],
    )
    with CacheFile(tmp_path / "one") as one, CacheFile(tmp_path / "two", new=True) as two:
        answers = list(one.answers())
        assert two.add(answers[:1]) == 1
        changed = SharedAnswer("k0", 0.0, {"text": "second", "finish": "ok"}, "e", "m")
        assert two.add([changed, *answers]) == 1
        assert list(two.answers()) == answers
    cache = Cache(tmp_path / "two")
    assert cache.find(["k0"])["k0"] == Completion("first", "ok")
    cache.close()


@pytest.mark.parametrize("days", [float("nan"), -1.0])
def test_days_that_are_no_number_of_days_choose_nothing(days: float) -> None:
    with pytest.raises(UserError, match="is no number of days"):
        time_days_ago(days)


def test_many_answers_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.llm.cachefile.ANSWERS_A_TIME", 3)
    fill(tmp_path / "c", [("e", "m", 0, Completion(str(i), "ok")) for i in range(10)])
    with CacheFile(tmp_path / "c") as file, CacheFile(tmp_path / "d", new=True) as copy:
        assert copy.add(file.answers()) == 10
        assert list(copy.answers()) == list(file.answers())


def test_bytes_are_given_back(tmp_path: Path) -> None:
    fill(tmp_path / "c", [("e", m, 0, Completion("x" * 50_000, "ok")) for m in "ab" * 10])
    before = (tmp_path / "c").stat().st_size
    with CacheFile(tmp_path / "c") as file:
        (a, b) = file.usage()
        assert a.bytes == b.bytes > 500_000
        file.remove(AnswerChoice(model="a"))
    assert (tmp_path / "c").stat().st_size < 0.6 * before


def test_there_must_be_a_file_and_it_must_be_one_of_answers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no answers of language models on this machine"):
        CacheFile(tmp_path / "c")
    assert not (tmp_path / "c").exists()
    (tmp_path / "c").write_text(
        "not a database, but a text that is long enough to look like a page" * 20
    )
    with pytest.raises(UserError, match="cannot be opened as a cache of answers"):
        CacheFile(tmp_path / "c")


@pytest.mark.system
def test_a_run_goes_on_storing_while_answers_go(tmp_path: Path) -> None:
    path = tmp_path / "c"
    writer = start_writer(path, "one", 10**6)
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(50)]
    with CacheFile(path) as file:
        removed = file.remove(AnswerChoice(model="m"))
    lines += [writer.stdout.readline() for _ in range(500)]
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert removed >= 50 and all(line.endswith(" one\n") for line in lines)
    with CacheFile(path) as file:
        assert sum(one.answers for one in file.usage()) >= 100
