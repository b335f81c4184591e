"""Whole recipes that ask a server, small enough for many runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.commandline import CommandResult, curate
from tests.generate.stages import WORDS
from tests.generate.test_step import DOCUMENTS, TARGET
from tests.llm.engines.fakeserver import Act, question, reply

POOL = [(f"What is {i} plus {i}?", str(2 * i)) for i in range(6)]
# A piece of what is asked about one row, by what asks.
ONE_ROW = {
    "generate": "Worker bees", "rubric": "3 plus 3", "clear": "3 plus 3", "knowledge": "3 plus 3",
    "correct": "3 plus 3", "judge": "3 plus 3", "rehearse": "3 plus 3",
}  # fmt: skip


def recipe_of(asks: str, folder: Path, model: Path, url: str, **endpoint: Any) -> dict[str, Any]:
    """Return a recipe in which one part asks a server, its files in a folder."""
    for name, pairs in (("pool", POOL), ("target", TARGET)):
        lines = [json.dumps({"prompt": p, "completion": c}) for p, c in pairs]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    corpus = folder / "corpus.jsonl"
    corpus.write_text("\n".join(json.dumps({"text": text}) for text in DOCUMENTS))
    engine = {
        "kind": "openai", "model": "m", "endpoints": [{"url": url, "concurrency": 2, **endpoint}],
        "timeout": 20, "backoff": 0.01, "attempts": 2,
    }  # fmt: skip
    craft = {"method": "craft", "corpus": str(corpus), "documents": 4}
    parts: dict[str, Any] = {
        "generate": {"generate": {"engine": engine, "methods": [craft]}},
        "rubric": {"stages": [{"kind": "rubric", "engine": engine, "votes": 1}]},
        "clear": {"stages": [{"kind": "clear", "engine": engine, "samples": 2, "action": "score"}]},
        "knowledge": {"stages": [{"kind": "knowledge", "engine": engine, "sets": 1, "samples": 2}]},
    }
    rehearsed = {**parts["knowledge"]["stages"][0], "rehearse": True}
    parts["rehearse"] = {"stages": [rehearsed]}
    parts["judge"] = {
        "select": {"method": "judge", "engine": engine, "votes": 1, "budget": {"rows": 3}}
    }
    correct = {"kind": "correct", "engine": engine, "model": "engine", "samples": 1}
    parts["correct"] = {"stages": [*parts["clear"]["stages"], correct]}
    return {
        "name": asks,
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "pool"}],
        "target": str(folder / "target.jsonl"),
        "models": {"base": str(model)},
        "select": {"method": "random", "budget": {"rows": 3}},
        "store": str(folder / "store"),
        **parts[asks],
    }


def run_here(recipe: dict[str, Any], *arguments: str) -> CommandResult:
    """Run the command line on such a recipe, in its folder."""
    folder = Path(recipe["store"]).parent
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return curate("run", "recipe.yaml", "--out", "run", *arguments, folder=folder)


def fitting(schema: Mapping[str, Any], rng: np.random.Generator) -> Any:
    """Return a value that meets one of our schemas, with words that no other answer has."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: fitting(inner, rng) for name, inner in schema["properties"].items()}
    if schema["type"] == "integer":
        return schema["maximum"]
    return " ".join(WORDS[i] for i in rng.choice(len(WORDS), 8, replace=False))


def good_act(body: Mapping[str, Any], extra: str = "") -> Act:
    """Return what a healthy server does, with a text behind each of its own."""
    form = body.get("response_format", {})
    if form.get("type") != "json_schema":
        return Act(body=reply(body, f"4{extra}"))
    rng = np.random.default_rng([body.get("seed", 0), len(question(body))])
    value = fitting(form["json_schema"]["schema"], rng)
    for name, text in value.items():
        if (
            isinstance(text, str)
            and "enum" not in form["json_schema"]["schema"]["properties"][name]
        ):
            value[name] = text + extra
    return Act(body=reply(body, json.dumps(value)))


def said_by(act: Act) -> str:
    """Return the text of a good answer."""
    return str(json.loads(act.body or "")["choices"][0]["message"]["content"])
