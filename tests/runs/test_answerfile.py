"""`curate cache`: sizes, what goes, and answers in a file that another machine takes in."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import polars as pl
import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.core.bucket import open_store
from curate.core.store import Store
from curate.llm.ask import EngineClient
from curate.llm.cache import Cache
from curate.llm.cachefile import CacheFile
from curate.llm.requests import raw
from curate.llm.sharedcache import SharedCache
from curate.runs.answerfile import answers_path, bucket_line
from tests.generate.scripted import ScriptedEngine, text_of
from tests.llm.test_sharedcache import bucket

__all__ = ["bucket"]
TEXTS = ["one", "two", "three"]
ANSWER = (
    '{"key": "k", "time": 1.5, "completion": {"text": "yes", "finish": "ok"}, "engine": "e", '
    '"model": "m"}'
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the answers to three requests."""
    (tmp_path / "store").mkdir()
    opened = open_store(str(tmp_path / "store"))
    assert ask(Cache(answers_path(opened))) == 3
    return opened


def ask(cache: Cache) -> int:
    """Ask for the answers to three requests; return how many calls that took."""
    engine = ScriptedEngine([("", text_of)])
    with EngineClient(engine, cache=cache) as client:
        answers = client.ask([raw(text) for text in TEXTS], stage="s")
    assert [row[0].text for row in answers] == TEXTS
    return len(engine.calls)


def say(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["cache", *map(str, arguments)])
    return result.exit_code, str(result.exception) if result.exit_code else result.output


def test_answers_are_counted_by_model(store: Store) -> None:
    code, text = say("size", store.address)
    assert code == 0 and [line.split()[-3] for line in text.splitlines()[1:2]] == ["3"]
    assert text.splitlines()[-1].split()[:2] == ["all", "3"] and "MB are in" not in text
    (usage,) = json.loads(say("size", store.address, "--json")[1])
    with CacheFile(answers_path(store)) as file:
        (expected,) = file.usage()
    assert usage == vars(expected) and usage["answers"] == 3


def test_nothing_goes_before_it_is_said_which_and_that_it_may(store: Store) -> None:
    model = json.loads(say("size", store.address, "--json")[1])[0]["model"]
    assert "--days, --model or --engine" in say("prune", store.address, "--delete")[1]
    assert "--delete removes them" in say("prune", store.address, "--model", model)[1]
    assert "0 answers removed" in say("prune", store.address, "--days", "1", "--delete")[1]
    assert ask(Cache(answers_path(store))) == 0
    assert "3 answers removed" in say("prune", store.address, "--model", model, "--delete")[1]
    assert ask(Cache(answers_path(store))) == 3


@pytest.mark.parametrize("option", ["--model", "--engine"])
def test_a_name_that_no_answer_has_is_refused_with_those_there_are(
    store: Store, tmp_path: Path, option: str
) -> None:
    usage = json.loads(say("size", store.address, "--json")[1])[0]
    there = f"no answer is of {option} typo; there are those of: {usage['engine']} {usage['model']}"
    file = tmp_path / "answers.jsonl"
    assert say("export", file, store.address, option, "typo") == (1, there)
    assert not file.exists()
    assert say("prune", store.address, option, "typo", "--days", "0", "--delete") == (1, there)
    assert ask(Cache(answers_path(store))) == 0


def test_a_cache_without_answers_is_not_exported(store: Store, tmp_path: Path) -> None:
    say("prune", store.address, "--days", "0", "--delete")
    assert "there is no answer" in say("export", tmp_path / "answers.jsonl", store.address)[1]
    assert not (tmp_path / "answers.jsonl").exists()


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.parquet"])
def test_another_machine_asks_nothing_of_what_it_takes_in(
    store: Store, tmp_path: Path, name: str
) -> None:
    (tmp_path / "other").mkdir()
    file = tmp_path / name
    assert say("export", file, store.address)[1] == f"3 answers in {file}\n"
    assert say("import", file, tmp_path / "other")[1] == "3 of 3 answers are new here\n"
    assert say("import", file, tmp_path / "other")[1] == "0 of 3 answers are new here\n"
    assert ask(Cache(tmp_path / "other" / "completions.sqlite")) == 0
    assert "is there already" in say("export", file, store.address)[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["other", "store", name])


def test_a_table_has_the_texts_in_columns(store: Store, tmp_path: Path) -> None:
    say("export", tmp_path / "a.parquet", store.address)
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert sorted(table["text"]) == sorted(TEXTS) and set(table["finish"]) == {"ok"}


def test_a_line_is_taken_in_and_a_table_of_other_columns_is_not(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text(ANSWER)
    assert say("import", tmp_path / "a.jsonl", store.address)[1] == "1 of 1 answers are new here\n"
    file = tmp_path / "a.parquet"
    say("export", file, store.address)
    for column in (pl.col("time").cast(pl.String), pl.col("completion").cast(pl.Binary)):
        pl.read_parquet(file).with_columns(column).write_parquet(tmp_path / "b.parquet")
        assert (
            "is no Parquet file of answers"
            in say("import", tmp_path / "b.parquet", store.address)[1]
        )


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.txt", "", "ends in .jsonl or .parquet"),
        ("a.jsonl", "{", "a.jsonl, line 1: it is no answer"),
        ("a.jsonl", '{"key": "k", "time": 1, "completion": {"x": 1}}', "line 1: it is no answer"),
        ("a.jsonl", '{"key": "k", "time": 1, "completion": null}', "line 1: there is no answer in"),
        (
            "a.jsonl",
            '{"key": "k", "time": 1, "completion": {"text": "", "finish": "failed"}}',
            "line 1: there is no answer in",
        ),
        ("a.jsonl", '{"key": "k", "time": 1, "completion": ["x"]}', "line 1: it is no answer"),
        ("a.jsonl", ANSWER.replace('"k"', "1"), "line 1: it is no answer"),
        ("a.jsonl", ANSWER.replace('"m"', "null"), "line 1: it is no answer"),
        ("a.jsonl", ANSWER.replace("1.5", '"monday"'), "line 1: it is no answer"),
        ("a.jsonl", ANSWER.replace('"ok"', '["ok"]'), "line 1: it is no answer"),
        ("a.jsonl", ANSWER.replace('"yes"', "1"), "line 1: it is no answer"),
        ("a.parquet", "PAR1", "is no Parquet file of answers"),
    ],
)
def test_what_is_no_answer_is_named_and_nothing_taken_in(
    store: Store, tmp_path: Path, name: str, text: str, fault: str
) -> None:
    (tmp_path / name).write_text(text)
    code, said = say("import", tmp_path / name, store.address)
    assert code and fault in said
    with CacheFile(answers_path(store)) as file:
        assert sum(one.answers for one in file.usage()) == 3


def test_a_missing_file_and_a_store_without_answers_are_named(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    assert "there is no such file" in say("import", tmp_path / "a.jsonl", tmp_path / "store")[1]
    assert "no answers of language models" in say("size", tmp_path / "store")[1]
    assert "no such store" in say("size", tmp_path / "none")[1]


@pytest.mark.system
def test_in_a_bucket_it_is_about_this_machine(bucket: str, tmp_path: Path) -> None:
    store = open_store(bucket)
    assert ask(SharedCache(answers_path(store), bucket, "m")) == 3
    text = say("size", bucket)[1]
    assert f"MB are in {bucket}; this is the file of this machine" in text
    assert text.endswith(f"{bucket_line(store)}\n")
    assert "3 answers removed" in say("prune", bucket, "--days", "0", "--delete")[1]
    # Not brought back here; a machine of its own still has them from the bucket.
    assert ask(SharedCache(tmp_path / "second.sqlite", bucket, "m")) == 0
    fsspec.filesystem("s3").invalidate_cache()
    assert ask(SharedCache(answers_path(store), bucket, "m")) == 3
