"""The recipes of docs/my-data.md, each run once on a few rows of the data that it is for."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.yamltext import load_yaml
from curate.pipeline.curation import run_curation
from curate.pipeline.run import RunResult
from tests.datahub import DataHub, serve_datahub
from tests.hubclient import hub_client
from tests.llm.engines.fakeserver import Act, FakeServer, reply

pytestmark = pytest.mark.system
PAGE = (Path(__file__).parents[1] / "docs" / "my-data.md").read_text(encoding="utf-8")
RECIPES: dict[str, dict[str, Any]] = {
    recipe["name"]: recipe
    for recipe, _ in map(load_yaml, re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
}
WORDS = "river stone lamp paper winter garden copper music letter harbour window engine".split()  # noqa: SIM905
PAIRS = [
    (f"Why is the {a} near the {b}?", f"Because the {b} keeps the {a} dry in spring.")
    for a in WORDS
    for b in WORDS[:4]
]


def lines(path: Path, records: Iterable[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n")


def pairs(path: Path, rows: Iterable[tuple[str, str]] = PAIRS) -> None:
    lines(path, ({"prompt": prompt, "response": response} for prompt, response in rows))


def write_chats(folder: Path) -> None:
    turns = [
        [
            {"from": "human", "value": f"{q} Write to ann@harbour-house.com."},
            {"from": "gpt", "value": a},
        ]
        for q, a in PAIRS
    ]
    (folder / "chats").mkdir()
    (folder / "chats" / "a.json").write_text(json.dumps([{"conversations": t} for t in turns]))


def write_alpaca(folder: Path) -> None:
    rows = [{"instruction": q, "input": "", "output": a} for q, a in [*PAIRS, PAIRS[0]]]
    (folder / "alpaca.json").write_text(json.dumps(rows))


def write_sheet(folder: Path) -> None:
    with (folder / "support.csv").open("w", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(["Customer asked", "We answered", "Topic"])
        sheet.writerows([q, f"{a}\nCall 555-123-4567.", "house"] for q, a in PAIRS)


def write_preferences(folder: Path) -> None:
    rows = ({"prompt": q, "chosen": a, "rejected": "No idea."} for q, a in PAIRS)
    lines(folder / "pairs.jsonl", rows)


def write_documents(folder: Path) -> None:
    (folder / "handbook").mkdir()
    for number, (question, answer) in enumerate(PAIRS[:6]):
        (folder / "handbook" / f"{number}.md").write_text(f"# {question}\n\n{answer * 4}\n")


def write_pool(folder: Path) -> None:
    for name in ("pool/a", "tickets/a"):
        pairs(folder / f"{name}.jsonl", [(f"{q} ann@harbour-house.com", a) for q, a in PAIRS])


def write_chinese(folder: Path) -> None:
    rows = [
        (f"第{n}个问题：为什么河边的石头是湿的？", f"因为河水每天涨{n}次。") for n in range(1, 30)
    ]
    pairs(folder / "zh" / "a.jsonl", rows)
    pairs(folder / "target-zh.jsonl", [("石头为什么湿？", "因为有水。")])


def write_calls(folder: Path) -> None:
    schema = {"type": "object", "properties": {"place": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "look", "parameters": schema}}]

    def call(name: str) -> dict[str, Any]:
        function = {"name": name, "arguments": json.dumps({"place": "garden"})}
        message = {"role": "assistant", "content": "", "tool_calls": [
            {"id": "c1", "type": "function", "function": function}]}  # fmt: skip
        return {"messages": [{"role": "user", "content": f"Use {name}."}, message], "tools": tools}

    lines(folder / "calls.jsonl", [call("look"), call("listen")])


def write_two(folder: Path) -> None:
    pairs(folder / "a.jsonl", PAIRS[:40])
    pairs(folder / "b.jsonl", PAIRS[40:])


WRITERS: dict[str, Callable[[Path], None]] = {
    "chats": write_chats,
    "alpaca": write_alpaca,
    "sheet": write_sheet,
    "pairs": write_preferences,
    "documents": write_documents,
    "cjk": write_chinese,
    "tools": write_calls,
    "balanced": write_two,
    "hub": lambda folder: None,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("target", "ten"):
        pairs(tmp_path / f"{name}.jsonl", PAIRS[::5])
    pairs(tmp_path / "eval.jsonl", [(f"When did the {w} leave?", f"At {w} time.") for w in WORDS])
    return tmp_path


def run(folder: Path, name: str, tiny: Path, **changes: object) -> RunResult:
    """Run a recipe of the page with the tiny model; only a proof's cost is cut."""
    WRITERS.get(name, write_pool)(folder)
    recipe = {**RECIPES[name], "store": "store", **changes}
    recipe["models"] = {"base": str(tiny)}
    return run_curation(Config.model_validate(recipe))


def dropped(result: RunResult) -> set[str]:
    return set(result.ledger.filter(fate="dropped")["reason"].to_list())


NEEDS_MORE = {"documents", "hub", "large", "held-out"}


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - NEEDS_MORE))
def test_the_recipe_runs(name: str, folder: Path, tiny: Path) -> None:
    result = run(folder, name, tiny)
    assert result.selected.height > 0
    assert result.report.is_file()
    for format_name in RECIPES[name].get("export", {}).get("formats", []):
        own = result.folder / "export" / ("" if format_name == "messages" else format_name)
        assert list(own.glob("train-*")), format_name


def test_the_recipe_for_the_hub_runs(folder: Path, tiny: Path) -> None:
    rows = "\n".join(json.dumps({"prompt": q, "response": a}) for q, a in PAIRS)
    files = {"data/train.jsonl": rows.encode()}
    data = DataHub("owner/name", {"c" * 40: files}, {"main": "c" * 40})
    with serve_datahub(data) as hub, hub_client(hub.url, folder / "home"):
        assert run(folder, "hub", tiny).selected.height > 20


def test_the_recipe_for_documents_asks_for_each_passage(folder: Path, tiny: Path) -> None:
    def plan(body: dict[str, Any], number: int) -> Act:
        text = f"Question {number}: what keeps the {WORDS[number % 12]} dry at noon?"
        return Act(body=reply(body, json.dumps({"prompt": text, "response": f"Roof {number}."})))

    with FakeServer(plan) as server:
        generate = json.loads(json.dumps(RECIPES["documents"]["generate"]))
        generate["engine"]["endpoints"][0]["url"] = server.url
        result = run(folder, "documents", tiny, generate=generate)
    assert server.bodies
    assert result.generated


def test_the_recipe_for_a_large_pool_runs_on_a_small_one(folder: Path, tiny: Path) -> None:
    (folder / "bucket").mkdir()
    table = pl.DataFrame(PAIRS, schema=["prompt", "response"], orient="row")
    table.write_parquet(folder / "bucket" / "a.parquet")
    select = json.loads(json.dumps(RECIPES["large"]["select"]))
    select["parts"][0]["keep"], select["budget"] = 0.5, {"rows": 10}
    pool = [{**RECIPES["large"]["pool"][0], "path": "bucket/*.parquet"}]
    result = run(
        folder, "large", tiny, select=select, pool=pool, run={"on": "threads", "workers": 2}
    )
    assert result.selected.height == 10


def test_the_held_out_recipe_is_proved(folder: Path, tiny: Path) -> None:
    prove = {"draws": 2, "seeds": 1, "lora": {"epochs": 1}, "written": 0}
    select = {"method": "bm25", "budget": {"rows": 5}}
    assert run(folder, "held-out", tiny, prove=prove, select=select).proof is not None


def test_personal_data_is_masked_and_a_call_that_cannot_be_right_goes(
    folder: Path, tiny: Path
) -> None:
    texts = [
        row[-1]["content"] + row[0]["content"]
        for row in run(folder, "personal", tiny).selected["messages"]
    ]
    assert all("[EMAIL]" in text and "@" not in text for text in texts), texts[:3]
    assert run(folder, "tools", tiny).selected.height == 1


def test_every_recipe_of_the_page_is_run() -> None:
    assert set(WRITERS) - RECIPES.keys() == set()
    assert {"ten", "general", "personal"} <= RECIPES.keys() - NEEDS_MORE
