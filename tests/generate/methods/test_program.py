"""Program: every row is what it was to be, wordings by an engine, lineage, and the bill."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.estimate.recipe import estimate
from curate.generate.candidates import RejectReason
from curate.generate.generation import Generation, SeedExample
from curate.generate.methods.program import ProgramGenerator
from curate.generate.programs.question import occurrences
from curate.generate.programs.tasks import TASKS
from curate.llm.engines.absent import AbsentEngine
from curate.llm.requests import Call
from curate.models.load import find_model, load_tokenizer, prepare
from curate.pipeline.curation import run_curation
from curate.runs.folder import open_run
from curate.testing import FakeRun, check_generator
from tests.conftest import examples, turns
from tests.generate.generations import candidate_records, count_signs, generate, reject_reasons
from tests.generate.scripted import ScriptedEngine, text_of
from tests.generate.stages import check_same, real_engine

POOL = [
    (
        f"Say what thing{i} is{''.join(f' to {name}{i}' for name in 'abcdefgh'[: i % 9])} in words"
        f" of {'abcdefgh'[i % 8] * 5}{i}.",
        f"It is {i}.",
    )
    for i in range(150)
]
ALL = ["dictionary", "subkeys", "long", "arithmetic"]


def made_with(seed: int = 0, **params: Any) -> Generation:
    return generate("program", AbsentEngine(), pool=POOL, target=[], params=params, seed=seed)


@examples(0.1)
@given(st.integers(0, 2**31), st.integers(1_000, 1_600), st.booleans())
def test_each_row_is_what_it_was_to_be(seed: int, tokens: int, template: bool) -> None:
    run = made_with(seed, tasks=ALL, rows=40, tokens=tokens, template=template)
    assert reject_reasons(run.candidates) == [None] * 40
    by_task = {task: [c for c in run.kept if c.notes["task"] == task] for task in ALL}
    assert {task: len(rows) for task, rows in by_task.items()} == dict.fromkeys(ALL, 10)
    for task in ALL[:3]:
        assert sorted(c.notes["decile"] for c in by_task[task]) == list(range(1, 11))
        for candidate in by_task[task]:
            (length,) = count_signs([candidate.messages])
            assert length == candidate.notes["tokens"]
            assert abs(length - tokens) <= 0.05 * tokens
    for candidate in [*by_task["dictionary"], *by_task["subkeys"]]:
        value = regex.search(r"alue (?:of key \d+ )?is (\d+)", candidate.response)
        assert value is not None
        assert regex.findall(r"\d+", candidate.prompt).count(value[1]) == 1
        assert ("following template" in candidate.prompt) == template
    prompts = {f"pool/{i}": prompt for i, (prompt, _) in enumerate(POOL, start=1)}
    answers = dict(POOL)
    for candidate in by_task["long"]:
        gold = prompts[candidate.parents[0]]
        assert candidate.response == answers[gold]
        assert occurrences(gold, candidate.prompt) == 1
        assert all(prompts[parent] in candidate.prompt for parent in candidate.parents)


def test_it_asks_nothing_and_makes_the_same_again() -> None:
    run = made_with(tasks=ALL, rows=12, tokens=500)
    assert run.client.counts() == {"calls": 0, "tokens": 0, "cost": 0}
    again = made_with(tasks=ALL, rows=12, tokens=500)
    assert candidate_records(run.candidates) == candidate_records(again.candidates)
    other = made_with(seed=1, tasks=ALL, rows=12, tokens=500)
    assert {c.row_id for c in run.kept}.isdisjoint(c.row_id for c in other.kept)
    more = made_with(tasks=ALL, rows=20, tokens=500)
    assert candidate_records(more.candidates)[:12] == candidate_records(run.candidates)
    cost = ProgramGenerator(tasks=ALL, rows=12).cost(0, 0)
    assert (cost.calls, cost.rows) == (0, 12)


def test_a_question_that_is_there_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.generate.programs.nested.NODES", (1, 1))
    monkeypatch.setattr("curate.generate.programs.nested.LARGEST_NUMBER", 3)
    run = made_with(tasks=["arithmetic"], rows=20)
    assert len({c.prompt for c in run.kept}) == len(run.kept) == 20
    # Of 36 expressions in three wordings there are not as many.
    run = made_with(tasks=["arithmetic"], rows=150)
    assert set(reject_reasons(run.candidates)) == {None, "not_new"}
    assert len({c.prompt for c in run.kept}) == len(run.kept) > 90


def test_a_pool_that_fills_no_context_is_on_record() -> None:
    run = generate(
        "program", AbsentEngine(), pool=POOL[:12], target=[],
        params={"tasks": ["long"], "rows": 3, "tokens": 4_000},
    )  # fmt: skip
    assert {c.reject_reason for c in run.candidates} == {RejectReason.TOO_SHORT}
    assert all(c.detail.endswith(" of 4,000 tokens") for c in run.candidates)


GOOD = ["Which value has key {key}?", "Say the value of {key} and where it stands."]
BAD = ["Which value is it?", "Say the value of {key} and where it stands."]


def wordings(call: Call) -> str:
    text = text_of(call)
    assert "20 other ways" in text
    if "{key}" in text:
        assert all(f"- {wording}" in text for wording in TASKS["dictionary"].wordings)
        assert "holds {key} once" in text
        return json.dumps({"wordings": [*GOOD, *BAD]})
    return json.dumps({"wordings": ["Compute it."]})


def script() -> ScriptedEngine:
    return ScriptedEngine([(lambda call: True, wordings)])


def test_an_engine_words_each_task_once(tmp_path: Path) -> None:
    params = {"tasks": ["dictionary", "arithmetic"], "rows": 30, "tokens": 500, "wordings": 20}
    run = check_same("program", script, tmp_path, params=params, target=[])
    assert run.client.counts()["calls"] == ProgramGenerator(**params).cost(0, 0).calls == 2
    assert {c.notes["wording"] for c in run.kept if c.notes["task"] == "dictionary"} == set(GOOD)
    assert {c.notes["wording"] for c in run.kept if c.notes["task"] == "arithmetic"} == set(
        TASKS["arithmetic"].wordings
    )
    table = run.tables["wordings"].select("task", "source", "fault").rows()
    assert table[:4] == [
        ("dictionary", "engine", None),
        ("dictionary", "engine", None),
        ("dictionary", "engine", "has the slots [], not ['key']"),
        ("dictionary", "engine", "is there already"),
    ]
    assert table[4:] == [
        ("arithmetic", "engine", "has the slots [], not ['expression']"),
        *[("arithmetic", "built-in", None)] * 3,
    ]


def test_an_engine_that_answers_nothing_leaves_the_built_in_words() -> None:
    engine = ScriptedEngine([(lambda call: True, "no JSON")])
    params = {"tasks": ["arithmetic"], "rows": 5, "wordings": 20}
    run = generate("program", engine, params=params, target=[])
    assert len(run.kept) == 5
    assert run.tables["wordings"]["fault"].to_list() == [
        run.tables["wordings"]["fault"][0], None, None, None,
    ]  # fmt: skip
    assert run.tables["wordings"]["fault"][0].startswith("invalid")


def test_parameters_are_checked() -> None:
    with pytest.raises(ValidationError, match="each task can be named once"):
        ProgramGenerator(tasks=["long", "long"])
    with pytest.raises(ValidationError):
        ProgramGenerator(tokens=100)
    generator = ProgramGenerator(tasks=["arithmetic"])
    assert (generator.asks, generator.counts_tokens, generator.needed()) == (False, False, ())
    generator = ProgramGenerator(tasks=["long"], wordings=1)
    assert (generator.asks, generator.counts_tokens, generator.needed()) == (True, True, ("pool",))


def recipe(tmp_path: Path, **params: Any) -> dict[str, Any]:
    server = {"kind": "openai", "model": "m", "endpoints": [{"url": "http://127.0.0.1:9/v1"}]}
    return {
        "name": "needles",
        "store": str(tmp_path / "store"),
        "generate": {"engine": server, "methods": [{"method": "program", **params}]},
    }


def test_long_needs_a_pool(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="'program' needs rows of a pool"):
        Config.model_validate(recipe(tmp_path, tasks=["long"]))


def test_the_estimate_has_its_rows_and_no_calls(tmp_path: Path) -> None:
    lines = estimate(Config.model_validate(recipe(tmp_path, rows=70)))
    (line,) = [line for line in lines if line.stage == "generate"]
    assert (line.rows, line.tokens, line.does) == (70, 0, "program, no calls")


@pytest.mark.system
def test_a_recipe_needs_no_engine(tmp_path: Path) -> None:
    config = Config.model_validate(recipe(tmp_path, rows=10, tokens=600))
    result = run_curation(config, tmp_path / "run")
    rows = open_run(result.folder).rows("pool")
    assert rows is not None
    metas = [json.loads(meta) for meta in rows.collect()["meta"]]
    assert Counter(meta["task"] for meta in metas) == {"dictionary": 5, "subkeys": 5}
    tokenizer = load_tokenizer(prepare(find_model("smollm2-135m")))
    for meta, messages in zip(metas, rows.collect()["messages"], strict=True):
        plain = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
        length = len(tokenizer.apply_chat_template(plain, tokenize=True, return_dict=False))
        assert length == meta["tokens"]
        assert abs(length - 600) <= 30
    bill = json.loads((result.folder / "generated/bill.json").read_bytes())
    assert bill["engine"] == {"engine": "none"}
    assert bill["bill"]["total"]["calls"] == 0
    assert "Written by programs, whose answers are exact" in result.report.read_text()


@pytest.mark.system
def test_it_keeps_the_contract_of_generators(tmp_path: Path) -> None:
    generator = ProgramGenerator(tasks=["dictionary", "long"], rows=6, tokens=1_000)
    run = check_generator(generator, FakeRun.of(tmp_path, POOL), AbsentEngine)
    assert len(run.kept) == 6


def test_an_absent_engine_says_that_it_is_absent() -> None:
    with pytest.raises(UserError, match="there is no engine: the method says that it asks nothing"):
        generate(
            "answer",
            AbsentEngine(),
            unanswered=[SeedExample("p/1", turns("Why?", "")[:1])],
            target=[],
        )


@pytest.mark.model
def test_the_real_model_words_a_task(smollm: Path) -> None:
    params = {"tasks": ["arithmetic"], "rows": 4, "wordings": 3}
    run = generate("program", real_engine(smollm), params=params, target=[])
    assert run.client.counts()["calls"] >= 1
    assert len(run.kept) == 4
    assert set(run.tables["wordings"]["source"]) <= {"engine", "built-in"}
