"""CONTRIBUTING: the stage that it shows is short, and its test passes."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

REPO = Path(__file__).parents[1]


def python_blocks() -> list[str]:
    tokens = MarkdownIt().parse((REPO / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    return [token.content for token in tokens if token.type == "fence" and token.info == "python"]


def test_an_expensive_stage_is_one_short_file() -> None:
    stage, _ = python_blocks()
    assert len(stage.splitlines()) <= 45


def test_what_is_imported_is_where_the_code_says() -> None:
    """The fast form of the test below: a name that moved is met without a model."""
    for block in python_blocks():
        imports = [node for node in ast.parse(block).body if isinstance(node, ast.ImportFrom)]
        for node in imports:
            if node.module != "likely":
                module = importlib.import_module(str(node.module))
                assert [n.name for n in node.names if not hasattr(module, n.name)] == []


@pytest.mark.model
def test_the_stage_passes_the_test_that_is_shown_with_it(tmp_path: Path) -> None:
    for name, text in zip(("likely.py", "test_likely.py"), python_blocks(), strict=True):
        (tmp_path / name).write_text(text)
    completed = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_likely.py"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPO)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stdout
