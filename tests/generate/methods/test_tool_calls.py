"""Tool calls: dialogues by plan, calls that come out without it, what is checked, whole runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate.clean.heuristics.toolcalls import find_call_faults
from curate.config.recipe import Config
from curate.generate.candidates import RejectReason, rows_of
from curate.generate.generation import Generation
from curate.generate.methods.tool_calls import ToolCallsGenerator
from curate.llm.limits import Limits
from curate.llm.requests import Call
from curate.pipeline.curation import run_curation
from curate.runs.folder import open_run
from tests.generate.generations import generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.generate.stages import check_same, quoted, real_engine, stage_calls, static, words

HARBOUR = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": text, "parameters": HARBOUR}}
    for name, text in (("ferries", "departures"), ("tides", "high water"), ("buoys", "waves"))
]
WRITE, CALL, RESULT = "You write what people ask", "You call functions", "You stand in for"
ANSWER = "You answer what is asked"


@pytest.fixture
def tools(tmp_path: Path) -> str:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(TOOLS))
    return str(path)


def ask(call: Call) -> str:
    """Ask for what a request is planned to need, so that a reader sees it."""
    planned = re.search(r"and nothing else: (.*)", text_of(call))
    needs = planned[1] if planned else "sundry"
    return json.dumps({"request": f"{words(call, 6).capitalize()}: {needs}?"})


def serve(call: Call) -> str:
    names = re.findall("ferries|tides|buoys", quoted(call, 1))
    calls = [
        {"name": name, "arguments": json.dumps({"at": f"Skarv {place}"})}
        for place, name in enumerate(names)
    ]
    return json.dumps({"calls": calls})


def simulate(call: Call) -> str:
    lines = quoted(call, 1).splitlines()
    return json.dumps({"results": [f'{{"of": "{line[-4:-2]}", "cm": 412}}' for line in lines]})


def answer(call: Call) -> str:
    return f"It is 412 there: {words(call, 4)}."


def script(
    then: Any = serve, result: Any = simulate, said: Any = answer, request: Any = ask
) -> ScriptedEngine:
    return ScriptedEngine([(WRITE, request), (CALL, then), (RESULT, result), (ANSWER, said)])


def tool_calls(engine: Any, tools: str, limits: Limits | None = None, **params: Any) -> Generation:
    params = {"tools": tools, "rows": 20, **params}
    return generate("tool_calls", engine, params=params, limits=limits)


def test_dialogues_of_every_kind_and_their_bill(tools: str) -> None:
    engine = script()
    run = tool_calls(engine, tools)
    assert reject_reasons(run.candidates) == [None] * 20
    kinds = Counter(c.notes["kind"] for c in run.kept)
    assert kinds == {"simple": 11, "parallel": 5, "irrelevance": 4}
    assert engine.batches == [20, 20, 16, 20]
    assert ToolCallsGenerator(tools=tools, rows=20).cost(0, 0).calls == len(engine.calls) == 76
    # Both shares are rounded up, and are still no more than all rows.
    half: dict[str, Any] = {"rows": 3, "parallel": 0.5, "irrelevance": 0.5}
    cost = ToolCallsGenerator.model_validate({"tools": tools, **half}).cost(0, 0)
    halves = script()
    tool_calls(halves, tools, **half)
    assert cost.calls == len(halves.calls) == 11
    for candidate in run.kept:
        roles = [turn["role"] for turn in candidate.messages]
        calls = [call for turn in candidate.messages for call in turn.get("tool_calls") or ()]
        middle = ["assistant", *["tool"] * len(calls)] if calls else []
        assert roles == ["user", *middle, "assistant"]
        results = [turn for turn in candidate.messages if turn["role"] == "tool"]
        assert [turn["tool_call_id"] for turn in results] == [call["id"] for call in calls]
        assert [turn["name"] for turn in results] == [call["name"] for call in calls]
        assert all(re.fullmatch("[a-z0-9]{9}", str(call["id"])) for call in calls)
        counts = {"simple": {1}, "parallel": {2, 3}, "irrelevance": {0}}
        assert len(calls) in counts[candidate.notes["kind"]]
        assert {c["name"] for c in calls} <= {t["function"]["name"] for t in declared(candidate)}
        assert candidate.parents == ()
    table = run.tables["functions"]
    assert table["tried"].sum() == table["kept"].sum() == 20
    assert table.filter(kind="irrelevance")["functions"].to_list() == [""]


def declared(candidate: Any) -> list[Any]:
    listed: list[Any] = json.loads(candidate.tools)
    return listed


def test_rows_pass_the_rule_and_declare_their_tools(tools: str) -> None:
    rows = rows_of(tool_calls(script(), tools).kept, "generated")
    assert find_call_faults(rows).null_count().row(0) == (20, 20)
    assert rows["tools"].null_count() == 0
    # A row of other tools is another one.
    hashes = rows["content_hash"]
    assert hashes.n_unique() == 20


def test_the_plan_is_no_part_of_the_question_which_calls_it_takes(tools: str) -> None:
    engine = script()
    run = tool_calls(engine, tools, offered=1, parallel=0, irrelevance=0)
    for call, candidate in zip(stage_calls(engine, CALL), run.kept, strict=True):
        assert quoted(call) == candidate.tools
        assert quoted(call, 1) == candidate.prompt
        assert "nothing else" not in text_of(call)
        schema = json.loads(json.dumps(call.request.schema))
        name = schema["properties"]["calls"]["items"]["properties"]["name"]
        assert name["enum"] == [t["function"]["name"] for t in declared(candidate)]
        assert len(name["enum"]) == 1


def calling(*calls: tuple[str, str]) -> str:
    return json.dumps({"calls": [{"name": name, "arguments": text} for name, text in calls]})


ONE = {"rows": 1, "parallel": 0, "irrelevance": 0}
NONE = {"rows": 1, "parallel": 0, "irrelevance": 1}
BAD = RejectReason.BAD_TOOL_CALL


@pytest.mark.parametrize(
    ("params", "engine", "reject_reason", "detail", "bill"),
    [
        (ONE, script(calling()), RejectReason.OTHER_KIND, "calls nothing, not ferries", 2),
        (ONE, script(calling(("tides", "{}"))), RejectReason.OTHER_KIND, "calls tides, not fer", 2),
        (NONE, script(calling(("ferries", "{}"))), RejectReason.OTHER_KIND, "not nothing", 2),
        (ONE, script(calling(("ferries", "{}"))), BAD, "'at' is a required property", 2),
        (ONE, script(calling(("ferries", '{"at": 7}'))), BAD, "ferries.at: 7 is not of type", 2),
        (ONE, script(calling(("ferries", "at"))), BAD, "its arguments are no JSON object", 2),
        (ONE, script(calling(("ferries", '{"at": "x", "by": 1}'))), BAD, "no argument by", 2),
        (ONE, script(calling(("ferries", '{"at": "IS 4471"}'))), BAD, "IS 4471, which the req", 2),
        (ONE, script(result='{"results": [" "]}'), RejectReason.EMPTY, "a result", 3),
        (ONE, script(result="[]"), RejectReason.INVALID, "", 5),
        (ONE, script(said="It is 413 of them."), RejectReason.UNSUPPORTED, "it says 413", 4),
        (ONE, script(said=Reply("It is", "truncated")), RejectReason.TRUNCATED, "was cut", 4),
        (NONE, script(said="I'm sorry, I cannot."), RejectReason.REFUSED, "sorry", 3),
        (ONE, script(request='{"request": " "}'), RejectReason.EMPTY, "prompt", 1),
    ],
)  # fmt: skip
def test_flaws(
    params: dict[str, Any], engine: ScriptedEngine, reject_reason: RejectReason, detail: str,
    bill: int, tools: str,
) -> None:  # fmt: skip
    run = tool_calls(engine, tools, **params)
    (candidate,) = run.candidates
    assert (candidate.reject_reason, detail in candidate.detail) == (reject_reason, True)
    assert len(engine.calls) == bill
    assert run.tables["functions"]["kept"].to_list() == [0]


def test_two_calls_with_the_same_arguments_are_no_two(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(TOOLS[:1]))
    engine = script(calling(("ferries", '{"at": "Skarv"}'), ("ferries", '{ "at":"Skarv" }')))
    shares: dict[str, Any] = {"parallel": 1, "irrelevance": 0, "calls": 2}
    (candidate,) = tool_calls(engine, str(path), rows=1, **shares).candidates
    assert candidate.reject_reason is BAD
    assert candidate.detail == "the same call twice: ferries, ferries"


def test_a_limit_between_two_turns_leaves_out_what_has_no_answer(tools: str) -> None:
    whole = tool_calls(script(), tools)
    run = tool_calls(script(), tools, Limits(calls=20 + 20 + 5))
    assert run.candidates == []
    run = tool_calls(script(), tools, Limits(calls=20 + 20 + 16 + 7))
    assert [c.row_id for c in run.kept] == [c.row_id for c in whole.kept[:7]]


def test_shares_are_of_the_same_rows(tools: str) -> None:
    with pytest.raises(ValidationError, match="at most 1 together"):
        ToolCallsGenerator(tools=tools, parallel=0.6, irrelevance=0.5)


def test_batches_replay_and_limits(tools: str, tmp_path: Path) -> None:
    check_same("tool_calls", script, tmp_path, params={"tools": tools, "rows": 8})


def test_a_whole_run_keeps_the_rows_through_the_rule(
    tools: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = script()
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: engine)
    pool = tmp_path / "pool.jsonl"
    pool.write_text(json.dumps({"prompt": "What makes bread rise?", "completion": "Yeast does."}))
    generator = {"method": "tool_calls", "tools": tools, "rows": 6}
    recipe = {
        "name": "calls",
        "pool": [{"path": str(pool), "source": "pool"}],
        "generate": {"methods": [generator]},
        "stages": [{"method": "rules", "tools": {}}],
        "store": str(tmp_path / "store"),
    }
    result = run_curation(Config.model_validate(recipe), tmp_path / "run", overwrite=True)
    rows = open_run(result.folder).rows("pool")
    assert rows is not None
    generated = rows.filter(source="generated").collect()
    assert generated.height == 6
    assert generated["tools"].null_count() == 0
    ledger = pl.read_parquet(result.folder / "ledger.parquet").filter(source="generated")
    assert ledger["reason"].to_list() == ["kept"] * 6


@pytest.mark.model
def test_with_the_real_model(smollm: Path, tools: str) -> None:
    params = {"tools": tools, "rows": 2, "max_tokens": 64}
    run = generate("tool_calls", real_engine(smollm), embed=static, params=params)
    assert len(run.candidates) == 2
    for candidate in run.candidates:
        print(candidate.reject_reason, candidate.detail, candidate.messages)
    # What a model this small calls is hardly ever what was planned.
    assert {c.reject_reason for c in run.candidates} <= {
        None, RejectReason.OTHER_KIND, RejectReason.BAD_TOOL_CALL, RejectReason.UNSUPPORTED,
        RejectReason.TRUNCATED, RejectReason.REPEATS_ITSELF, RejectReason.NOT_NEW,
        RejectReason.INVALID, RejectReason.PROMPT_LEAK,
    }  # fmt: skip
