"""The README and configs/: every recipe, whole or in part, is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.methods import methods_in
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.generate.generation import Generator

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text(encoding="utf-8")
RECIPES: list[dict[str, Any]] = [
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
]
WHOLE: dict[str, Any] = {
    "name": "x",
    "pool": ["data/pool/*"],
    "target": {"path": "data/target.jsonl", "eval": "data/eval.jsonl"},
    # What conditions in the examples speak of.
    "stages": [{"kind": "fuzzy"}, {"kind": "rules", "language": {"allowed": ["en", "de"]}}],
    "select": {"method": "random", "budget": {"rows": 5}},
}


@pytest.mark.parametrize("part", RECIPES, ids=lambda part: "-".join(part))
def test_a_recipe_of_the_readme_is_sound(part: dict[str, Any]) -> None:
    Config.model_validate(WHOLE | part)


@pytest.mark.parametrize("path", sorted((REPO / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_ready_recipe_is_sound_and_named_after_its_file(path: Path) -> None:
    assert load_config(path).name == path.stem


FAMILIES = {"stage": Stage, "select": Selector, "generate": Generator}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, cls in FAMILIES.items() for name in methods_in(cls)]
)
def test_the_table_has_every_method(kind: str, name: str) -> None:
    assert f"| {kind} | `{name}` |" in README


def test_files_that_the_readme_names_are_there() -> None:
    places = r"\b(?:configs|tests/benchmarks|data|docs)/[\w/]+\.(?:yaml|py|md|png|jsonl)\b"
    named = re.findall(places, README)
    assert named
    missing = [name for name in named if not Path(REPO / name).is_file()]
    assert missing == []
