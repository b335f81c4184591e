"""Pages of methods: one for each, made of its docstrings, its settings and the guide's table of methods.

stage-fuzzy.md      what it does, what it needs and costs, a recipe, its settings, paper and pitfalls
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from curate.config.recipe import Config
from curate.core.methods import Method
from reference.prose import prose
from reference.schema import JsonSchema, model_example, yaml_text

GUIDE = Path(__file__).parents[1] / "docs" / "methods"
TABLE = "index.md"
# What the table calls a family, and its columns behind kind and method.
KINDS = {"stage": "stage", "selector": "select", "generator": "generate"}
FACTS = ("", "Needs", "Cost per 1,000 rows", "Source")
MOST_GUIDES, LEAST_MENTIONS = 3, 2
INPUTS: Mapping[str, Any] = {"name": "mine", "pool": "data/pool/*"}
TARGET: Mapping[str, Any] = {"target": {"path": "data/target.jsonl", "eval": "data/eval.jsonl"}}
# Settings of which a method may need one without needing that one.
MORE: tuple[Mapping[str, Any], ...] = ({}, {"drop": 0.1})
# What a recipe may need beside a method, least first.
BESIDE: tuple[Mapping[str, Any], ...] = (
    {},
    {"target": "data/target.jsonl"},
    TARGET,
    {"prompts": "prompts.jsonl"},
    {"stages": [{"method": "context"}]},
    {"stages": [{"method": "tags"}]},
    {"stages": [{"method": "clear", "action": "score"}]},
)


def method_page(cls: type[Method]) -> str:
    """Return the name of a method's page."""
    return f"{cls.family}-{method_name(cls)}.md"


def method_name(cls: type[Method]) -> str:
    """Return what a recipe calls a method."""
    return str(cls.model_fields["method"].default)


def summary(cls: type[Method]) -> str:
    """Return the first paragraph of a method's docstring, in one line."""
    return " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())


def opening(cls: type[Method], models: Mapping[str, JsonSchema]) -> Iterator[str]:
    """Yield what stands before a method's settings: what it is, facts, a recipe, source and formula."""
    name = method_name(cls)
    yield f"# {name}"
    article = "An" if cls.family.startswith("e") else "A"
    yield f"{article} [{cls.family}]({cls.family}s.md). {prose(inspect.getdoc(cls) or '')}"
    facts = [text for text in guide_facts(cls.family, name) if text]
    if facts:
        yield "\n".join(facts)
    yield "## In a recipe"
    yield f"```yaml\n{recipe_text(cls, models)}```"
    others = guides(name)
    more = f"; see {', '.join(others)}" if others else ""
    yield f"`curate methods {name}` shows this page's settings on a terminal{more}."
    module = inspect.getdoc(sys.modules[cls.__module__])
    if module:
        yield "## What it does"
        yield prose(module)


def guide_facts(family: str, name: str) -> list[str]:
    """Return what the guide's table says of a method, an item a column."""
    start = f"| {KINDS.get(family)} | [`{name}`]"
    lines = (GUIDE / TABLE).read_text(encoding="utf-8").splitlines()
    line = next((line for line in lines if line.startswith(start)), None)
    if line is None:
        return []
    cells = [cell.strip() for cell in line.strip("|").split("|")][2:]
    texts = (re.sub(r"\]\((?!\w+:|\.\.)", "](../methods/", cell) for cell in cells)
    return [
        f"- **{label}:** {text}" if label else f"- {text}"
        for label, text in zip(FACTS, texts, strict=True)
        if text
    ]


@cache
def guides(name: str) -> tuple[str, ...]:
    """Return links to the pages of the guide that speak of a method, those that do so most first."""
    counts = {}
    for path in sorted(GUIDE.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        mentions = len(re.findall(rf"`{re.escape(name)}`|method: {re.escape(name)}\b", text))
        if path.name != TABLE and mentions >= LEAST_MENTIONS:
            title = text.partition("\n")[0].removeprefix("# ")
            counts[f"[{title}](../methods/{path.name})"] = mentions
    return tuple(sorted(counts, key=lambda link: -counts[link])[:MOST_GUIDES])


def recipe_text(cls: type[Method], models: Mapping[str, JsonSchema]) -> str:
    """Return the smallest sound recipe that uses a method.

    Raises:
        LookupError: none of what is tried beside it makes it sound.
    """
    for more, beside in product(MORE, BESIDE):
        part = _part(cls, models, more)
        recipe = {**INPUTS, **beside, **part}
        if "stages" in beside and "stages" in part:
            recipe["stages"] = [*beside["stages"], *part["stages"]]
        try:
            Config.model_validate(recipe)
        except ValidationError:
            continue
        return "".join(f"{key}: {yaml_text(value)}\n" for key, value in recipe.items())
    raise LookupError(
        f"{cls.__name__}: no recipe of reference/methods.py takes it; add what it needs"
    )


def _part(
    cls: type[Method], models: Mapping[str, JsonSchema], more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the part of a recipe that names a method, with what has to be given and more."""
    name, model = method_name(cls), models.get(cls.__name__)
    settings = {**(model_example(model, models) if model else {"method": name}), **more}
    if cls.family == "selector":
        return {"select": {"method": name, "budget": {"rows": 500}, **settings}}
    parts: dict[str, dict[str, Any]] = {
        "stage": {"stages": [settings]},
        "generator": {"generate": {"methods": [settings]}},
        "exporter": {"export": {"formats": [name]}},
        "tracker": {"track": [settings]},
    }
    return parts[cls.family]
