"""The documents and configs/: every recipe, command and example in them is one that works."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from markdown_it import MarkdownIt

from curate.cli import app
from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.methods import METHODS, PLUGIN, Method, find_method, load_plugin, methods_in
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.core.yamltext import load_yaml
from curate.generate.generation import Generator
from curate.models.settings import ModelNames
from curate.testing import FakeRun, check_selector

REPO = Path(__file__).parents[1]
README = REPO / "README.md"
OWN_METHODS = REPO / "docs/bring-your-own.md"
METHOD_TABLE = (REPO / "docs/methods/index.md").read_text(encoding="utf-8")
DOCUMENTS = [README, *sorted((REPO / "docs").rglob("*.md"))]
TEXTS = {str(path.relative_to(REPO)): path.read_text(encoding="utf-8") for path in DOCUMENTS}
# Built from the classes, with the site.
GENERATED = REPO / "docs/reference"


@cache
def fences(text: str) -> tuple[tuple[str, str], ...]:
    """Return language and content of each block of code."""
    tokens = MarkdownIt().enable("table").parse(text)
    return tuple((token.info, token.content) for token in tokens if token.type == "fence")


def blocks(text: str, language: str) -> list[str]:
    return [content for name, content in fences(text) if name == language]


RECIPES = [
    pytest.param(part, id=f"{name}:{'-'.join(part)}")
    for name, text in TEXTS.items()
    for part, _ in map(load_yaml, blocks(text, "yaml"))
]
COMMANDS = [
    pytest.param(line, id=line[:60])
    for text in TEXTS.values()
    for block in blocks(text, "")
    for line in re.findall(r"^(?:\S*/)?curate (.*)", block, re.MULTILINE)
]
WHOLE: dict[str, Any] = {
    "name": "x",
    "pool": ["data/pool/*"],
    "target": {"path": "data/target.jsonl", "eval": "data/eval.jsonl"},
    # What conditions in the examples speak of.
    "stages": [{"kind": "fuzzy"}, {"kind": "rules", "language": {"allowed": ["en", "de"]}}],
    "select": {"method": "random", "budget": {"rows": 5}},
}


@pytest.fixture(scope="module")
def own_methods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file that the documents show as an example of a method."""
    path = tmp_path_factory.mktemp("own") / "my_methods.py"
    path.write_text(blocks(OWN_METHODS.read_text(encoding="utf-8"), "python")[0])
    load_plugin(path)
    yield path
    # A worker may come back to this file, and then makes another folder.
    del METHODS["selector"]["questions"], sys.modules[f"{PLUGIN}{path.stem}"]


@pytest.mark.parametrize("part", RECIPES)
def test_a_recipe_is_sound(
    part: dict[str, Any], own_methods: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own_methods.parent)
    Config.model_validate(WHOLE | part)


@pytest.mark.parametrize("path", sorted((REPO / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_ready_recipe_is_sound_and_named_after_its_file(path: Path) -> None:
    assert load_config(path).name == path.stem


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_has_the_options_that_it_is_given(line: str) -> None:
    """What a command means stands two blanks or more behind it."""
    arguments = shlex.split(re.split(r"\s{2,}|\s[>#]", line)[0])
    commands: Any = typer.main.get_command(app)
    commands.commands[arguments[0]].make_context(arguments[0], arguments[1:])


@pytest.mark.system
def test_the_readmes_examples_print_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one, a proof, takes minutes and is tested in tests/api."""
    *examples, proof = blocks(TEXTS["README.md"], "python")
    compile(proof, "README.md", "exec")
    shutil.copytree(REPO / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    example = "".join(examples)
    comments = re.findall(r"^print\(.*\)  # (.*)$", example, re.MULTILINE)
    assert len(comments) == example.count("print(") > 0
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(example, {})
    assert output.getvalue().splitlines() == comments


def test_the_method_of_ones_own_is_a_selector(own_methods: Path, tmp_path: Path) -> None:
    pool = [("Why? How?", "So."), ("Go on.", "Yes."), ("Who?", "I.")]
    run = FakeRun.of(tmp_path, pool, models=ModelNames(embedder="static"))
    selector = find_method(Selector, "questions").model_validate({"budget": 1})
    scores = check_selector(selector, run)
    assert scores.sort("row_id")["score"].to_list() == [2.0, 0.0, 1.0]


@pytest.mark.parametrize("name", TEXTS)
def test_python_in_a_document_is_sound(name: str) -> None:
    for block in blocks(TEXTS[name], "python"):
        compile(block, name, "exec")


FAMILIES: dict[str, type[Method]] = {"stage": Stage, "select": Selector, "generate": Generator}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, cls in FAMILIES.items() for name in methods_in(cls)]
)
def test_the_table_has_every_method(kind: str, name: str) -> None:
    page = f"{FAMILIES[kind].family}-{name}.md"
    assert f"| {kind} | [`{name}`](../reference/{page}) |" in METHOD_TABLE


@pytest.mark.parametrize("name", TEXTS)
def test_files_that_a_document_names_are_there(name: str) -> None:
    places = r"\b(?:configs|tests|tests/benchmarks|data|docs)/[\w/]+\.(?:yaml|py|md|png|jsonl)\b"
    missing = [path for path in re.findall(places, TEXTS[name]) if not (REPO / path).is_file()]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    targets = [(path.parent / link).resolve() for link in links]
    missing = [target for target in targets if not target.exists()]
    assert [target for target in missing if not target.is_relative_to(GENERATED)] == []
