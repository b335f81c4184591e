"""Prompts without a response in a recipe: generators answer them, and they are rows of nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.estimate.recipe import estimate
from curate.pipeline.curation import run_curation
from curate.pool.rowset import ADVICE
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from tests.generate.scripted import ScriptedEngine, text_of

pytestmark = pytest.mark.usefixtures("no_report")
PROMPTS = [
    {"prompt": "Name the river of Cologne."},
    {"instruction": "Sort the numbers.", "input": "3 1 2"},
    {"messages": [{"role": "user", "content": "What is a quay?"}], "lang": "en"},
]


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    scripted = ScriptedEngine([(lambda call: True, lambda call: f"It is so: {text_of(call)} Yes.")])
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: scripted)
    return scripted


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in PROMPTS))
    return {
        "name": "answers",
        "store": str(tmp_path / "store"),
        "prompts": {"path": str(path), "source": "asks"},
        "generate": {"methods": [{"method": "answer", "max_tokens": 60}]},
        "models": {"embedder": "static"},
    }


def test_answers_to_prompts_are_all_rows_of_a_recipe_without_a_pool(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    result = run_curation(Config.model_validate(recipe), tmp_path / "run")
    assert sorted(result.selected["row_id"].str.split("/").list.first()) == ["answer"] * 3
    assert sorted(result.selected["parents"].explode()) == [
        f"asks/prompts.jsonl:{i}" for i in (1, 2, 3)
    ]
    assert set(result.ledger["row_id"]) == set(result.selected["row_id"])
    prompts = [messages[0]["content"] for messages in result.selected["messages"]]
    assert "Sort the numbers.\n\n3 1 2" in prompts
    row_id = result.selected["row_id"][prompts.index("What is a quay?")]
    assert "from asks/prompts.jsonl:3: What is a quay?" in "\n".join(
        explain_row(open_run(tmp_path / "run"), row_id)
    )


@pytest.fixture
def mixed(recipe: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return a recipe of a pool in which two rows of four lack their response, and one is no row."""
    records = [
        {"prompt": "Name a river.", "completion": "The Elbe."},
        {"prompt": "Name a lake.", "completion": None},
        {"prompt": "Name a sea.", "completion": "The North Sea."},
        {"prompt": "Name a bay.", "completion": ""},
        {"completion": "The Alps."},
    ]
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, records)))
    pool = {"path": str(tmp_path / "pool.jsonl"), "source": "mixed"}
    return {**recipe, "pool": pool, "ingest": {"prompts": True, "max_rejected": 0.3}}


def test_rows_of_a_pool_without_a_response_are_answered_beside_the_prompts(
    mixed: dict[str, Any], tmp_path: Path
) -> None:
    result = run_curation(Config.model_validate(mixed), tmp_path / "run")
    parents = result.selected["parents"].explode().drop_nulls().sort().to_list()
    lacking = [f"mixed/pool.jsonl:{i}" for i in (2, 4)]
    assert parents == [*(f"asks/prompts.jsonl:{i}" for i in (1, 2, 3)), *lacking]
    read = {f"mixed/pool.jsonl:{i}" for i in (1, 3)}
    generated = {row_id for row_id in result.ledger["row_id"] if row_id.startswith("answer/")}
    assert set(result.ledger["row_id"]) == read | generated
    assert len(generated) == 5
    rejects = open_run(tmp_path / "run").table("rejects").collect()
    assert rejects.select("position", "reason").rows() == [(5, "missing_field")]
    row_id = result.selected.filter(pl.col("parents").list.contains(lacking[0]))["row_id"].item()
    assert f"from {lacking[0]}: Name a lake." in "\n".join(
        explain_row(open_run(tmp_path / "run"), row_id)
    )
    lines = {line.stage: line for line in estimate(Config.model_validate(mixed))}
    assert (lines["pool"].rows, lines["prompts"].rows, lines["generate"].rows) == (2, 5, 5)


def test_a_pool_may_be_all_that_lacks_responses(mixed: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text('{"prompt": "Name a lake.", "completion": ""}\n')
    mixed["prompts"] = []
    result = run_curation(Config.model_validate(mixed), tmp_path / "run")
    assert result.selected["parents"].explode().to_list() == ["mixed/pool.jsonl:1"]


def server(model: str) -> dict[str, Any]:
    return {"kind": "openai", "model": model, "endpoints": [{"url": "http://localhost:1/v1"}]}


def test_two_engines_answer_and_a_third_one_judges(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = {
        "small": ScriptedEngine([(lambda call: True, "A short answer.")], name="small"),
        "large": ScriptedEngine([(lambda call: True, "A full answer, at length.")], name="large"),
        "judge": ScriptedEngine(
            [
                ("Which one, A, B or C?", '{"answer": "C"}'),
                (
                    lambda call: "Response A:\nA full" in text_of(call),
                    '{"reason": "it is full", "better": "A"}',
                ),
                (lambda call: True, '{"reason": "it is full", "better": "B"}'),
            ],
            name="judge",
        ),
    }
    monkeypatch.setattr(
        "curate.llm.engines.load_engine", lambda params, models: engines[params.model]
    )
    answer = {
        "method": "answer",
        "samples": 2,
        "engines": [server("small"), server("large")],
        "judge": server("judge"),
    }
    recipe["generate"] = {"engine": server("large"), "methods": [answer]}
    recipe["select"] = {
        "method": "random",
        "filter": "meta.confidence > 0.8 AND meta.engine = 'large'",
        "budget": {"rows": 9},
    }
    result = run_curation(Config.model_validate(recipe), tmp_path / "run")
    assert result.selected["messages"].list.last().struct.field("content").unique().to_list() == [
        "A full answer, at length."
    ]
    notes = [json.loads(meta) for meta in result.selected["meta"]]
    # Both orders prefer it, and the judge is not sure of that: 0.7 + 0.3 / 2.
    assert notes == [{"engine": "large", "confidence": 0.85}] * 3
    bill = json.loads((tmp_path / "run/generated/bill.json").read_text())["bill"]["stages"]
    assert {name: stage["calls"] for name, stage in bill.items()} == {
        "answer.answer (small)": 3,
        "answer.answer (large)": 3,
        "answer.judge (judge)": 18,
    }
    line = next(one for one in estimate(Config.model_validate(recipe)) if one.stage == "generate")
    assert (line.rows, "at most 24 calls" in line.does) == (3, True)


def test_where_an_engine_stands_is_no_part_of_what_its_answers_are_stored_under(
    recipe: dict[str, Any], engine: ScriptedEngine, tmp_path: Path
) -> None:
    def answer(model: str, port: int) -> int:
        endpoint = {"url": f"http://localhost:{port}/v1"}
        engines = [{"kind": "openai", "model": model, "endpoints": [endpoint]}]
        recipe["generate"]["methods"] = [{"method": "answer", "engines": engines}]
        run_curation(Config.model_validate(recipe), tmp_path / "run", overwrite=True)
        return len(engine.calls)

    assert answer("one", 1) == 3
    engine.rules = [(lambda call: True, "Another engine says this.")]
    assert answer("one", 2) == 3
    engine.name = "two"
    assert answer("two", 2) == 6


def test_check_counts_the_answers(recipe: dict[str, Any]) -> None:
    lines = {line.stage: line for line in estimate(Config.model_validate(recipe))}
    assert (lines["pool"].rows, lines["prompts"].rows, lines["generate"].rows) == (0, 3, 3)


def test_check_takes_every_stage_and_selection_without_a_pool(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "target.jsonl").write_text('{"prompt": "Name a river.", "completion": "The Elbe."}')
    recipe |= {
        "target": str(tmp_path / "target.jsonl"),
        "stages": ["exact", "fuzzy", "semantic", "rules"],
        "select": {"method": "embed", "budget": {"rows": 2}},
        "compare": ["perplexity"],
    }
    lines = {line.stage: line.rows for line in estimate(Config.model_validate(recipe))}
    assert (lines["semantic"], lines["select"], lines["coverage"]) == (3, 3, 3)


def test_instructions_without_an_answer_can_be_made_harder(
    recipe: dict[str, Any], engine: ScriptedEngine, tmp_path: Path
) -> None:
    new = "Name the river of Cologne, and say in two sentences where it rises and where it ends."
    engine.rules = [
        (lambda call: call.request.schema is not None, json.dumps({"prompt": new})),
        (lambda call: True, "The Rhine rises in the Alps. It ends in the North Sea."),
    ]
    recipe["generate"]["methods"] = [{"method": "refine", "start": "prompts", "judge": False}]
    result = run_curation(Config.model_validate(recipe), tmp_path / "run")
    assert result.selected["method"].to_list() == ["refine"]
    assert result.selected["messages"][0][0]["content"] == new


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompts": []}, "'answer' needs prompts without a response: give `prompts`"),
        ({"prompts": []}, "or `ingest: {prompts: true}` where rows of the pool lack theirs"),
        (
            {"prompts": [], "pool": "x", "ingest": {"prompts": True}, "generate": None},
            "ingest.prompts: no generator starts from them",
        ),
        ({"generate": None}, "pool: there are no rows"),
        ({"generate": None, "pool": "x.jsonl"}, "prompts: no generator starts from them"),
        ({"pool": {"path": "x", "source": "asks"}}, "the name 'asks' is that of pool.0 as well"),
        (
            {"generate": {"methods": [{"method": "reject", "start": "prompts"}]}},
            "reject needs rows with a response; start from target or pool",
        ),
        (
            {"generate": {"methods": [{"method": "answer"}, {"method": "back_translate"}]}},
            "'back_translate' needs rows of a pool: give `pool`",
        ),
    ],
)
def test_faults_in_the_recipe_are_sentences(
    recipe: dict[str, Any], tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "r.yaml").write_text(json.dumps({**recipe, **change}))
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "r.yaml")
    assert sentence in str(caught.value)


def test_prompts_in_the_pool_are_refused_with_where_they_belong(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "pool.jsonl").write_text(json.dumps(PROMPTS[0]) + "\n")
    recipe["pool"] = str(tmp_path / "pool.jsonl")
    with pytest.raises(UserError, match="give them to generators as `prompts:`"):
        run_curation(Config.model_validate(recipe), tmp_path / "run")


@pytest.mark.parametrize("answered", [False, True])
def test_answers_are_advised_only_where_they_are_not_asked_for(
    recipe: dict[str, Any], tmp_path: Path, answered: bool
) -> None:
    records = [{"prompt": "Who?", "completion": "I."}, {"prompt": "Where?"}, {"other": 1}]
    (tmp_path / "pool.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    pool = {"path": str(tmp_path / "pool.jsonl"), "source": "pool"}
    fields = {"prompt": "prompt", "response": "completion"}
    settings = {**recipe, "pool": {**pool, "fields": fields}, "ingest": {"prompts": answered}}
    with pytest.raises(UserError, match="make no row") as error:
        run_curation(Config.model_validate(settings), tmp_path / "run")
    assert (ADVICE in str(error.value)) is not answered
