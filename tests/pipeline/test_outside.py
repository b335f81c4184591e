"""What methods name beside rows is looked for before anything is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.estimate.recipe import estimate
from curate.pipeline.curation import run_curation
from curate.pipeline.outside import check_generators, check_methods
from tests.conftest import turns

ASKED = {"method": "rubric", "rubric": "clarity.yaml"}
MISSING: dict[str, tuple[dict[str, Any], str]] = {
    "rubric": ({"stages": [ASKED]}, "rubric: there is no file clarity.yaml"),
    "pairwise": ({"stages": [{**ASKED, "method": "pairwise"}]}, "there is no file clarity.yaml"),
    "marks": ({"stages": [{"method": "manual", "marks": "no.jsonl"}]}, "no.jsonl"),
    "prompts": ({"stages": [{"method": "tags", "prompts": "own"}]}, "prompts: own is no folder"),
    "saved": ({"select": {"method": "saved", "path": "runs/gone"}}, "runs/gone"),
    "compared": ({"compare": [{"method": "saved", "path": "runs/gone"}]}, "runs/gone"),
    "judge": ({"select": {"method": "judge", "prompts": "own", "budget": 1}}, "own is no folder"),
    "reference": (
        {"select": {"method": "got", "reference": {"path": "old.jsonl"}, "budget": 1}},
        "select.reference: .*old.jsonl",
    ),
    "in a blend": (
        {
            "select": {
                "method": "blend",
                "parts": [
                    {"method": "got", "reference": {"path": "old.jsonl"}},
                    {"method": "length"},
                ],
                "budget": 1,
            }
        },
        "select.reference: .*old.jsonl",
    ),
    **{
        f"labels of {name}": (
            {"stages": [{"method": name, "labels": {"path": "checked.jsonl"}, **more}]},
            "checked.jsonl",
        )
        for name, more in (
            ("confidence", {}),
            ("clear", {"precision": 0.9}),
            ("scorer", {"model": "m", "drop": 0.1}),
        )
    },
}
UNREAD: dict[str, tuple[dict[str, Any], str]] = {
    "corpus": (
        {"methods": [{"method": "craft", "corpus": "docs/*.md"}]},
        "generate: craft: corpus",
    ),
    "style": (
        {"methods": [{"method": "rewrite", "style": "style.md"}]},
        "generate: rewrite: .*style",
    ),
    "tools": (
        {"methods": [{"method": "tool_calls", "tools": "tools.json"}]},
        "generate: tool_calls: .*the file of tools",
    ),
    "empty style": (
        {"methods": [{"method": "rewrite", "style": "empty.txt"}]},
        "generate: rewrite: style: empty.txt is empty",
    ),
    "no functions": (
        {"methods": [{"method": "tool_calls", "tools": "empty.txt"}]},
        "generate: tool_calls: tools: empty.txt is no JSON list of functions",
    ),
    "personas": (
        {"methods": [{"method": "aide", "persona_file": "people.txt"}]},
        "generate: aide: persona_file: .*people.txt",
    ),
    "prompts": (
        {"methods": [{"method": "aide"}], "prompts": "own"},
        "generate: aide: prompts: own",
    ),
}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("")
    for name in ("pool", "target"):
        row = {"messages": turns(f"What is in the {name}?", "A row.")}
        Path(f"{name}.jsonl").write_text(json.dumps(row))
    return {
        "name": "outside",
        "pool": "pool.jsonl",
        "target": "target.jsonl",
        "select": {"method": "random", "budget": 1},
        "store": "store",
    }


@pytest.mark.parametrize("name", MISSING)
def test_what_a_stage_or_selection_names_is_missed(name: str, recipe: dict[str, Any]) -> None:
    parts, message = MISSING[name]
    with pytest.raises(UserError, match=message):
        check_methods(Config.model_validate(recipe | parts))


@pytest.mark.parametrize("name", UNREAD)
def test_what_a_generator_names_is_missed(name: str, recipe: dict[str, Any]) -> None:
    generate, message = UNREAD[name]
    config = Config.model_validate(recipe | {"generate": generate})
    assert config.generate is not None
    with pytest.raises(UserError, match=message):
        check_generators(config.generate)
    with pytest.raises(UserError, match=message):
        estimate(config)


def test_neither_check_nor_run_begins_without_it(recipe: dict[str, Any]) -> None:
    config = Config.model_validate(recipe | {"stages": [{"method": "exact"}, ASKED]})
    for begin in (estimate, run_curation):
        with pytest.raises(UserError, match=r"no file clarity\.yaml"):
            begin(config)
    assert not list(Path("store").glob("ingest-*"))


def test_what_is_there_is_no_fault(recipe: dict[str, Any]) -> None:
    Path("own").mkdir()
    stages = [{"method": "rubric"}, {"method": "tags", "prompts": "own"}]
    check_methods(Config.model_validate(recipe | {"stages": stages}))


def test_a_reference_has_a_price(recipe: dict[str, Any]) -> None:
    rows = [{"messages": turns(f"What was {i}?", f"{i} was it.")} for i in range(7)]
    Path("old.jsonl").write_text("\n".join(map(json.dumps, rows)))
    got = {"method": "got", "reference": {"path": "old.jsonl"}, "budget": 1}
    config = Config.model_validate(recipe | {"select": got, "compare": [{**got, "epsilon": 0.5}]})
    [line] = [line for line in estimate(config) if line.stage == "reference"]
    assert line.rows == 7
    assert line.seconds.likely > 0
