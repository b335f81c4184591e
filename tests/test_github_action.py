"""The workflow of docs/github-action.md: sound by GitHub's schema, and its steps do what they say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_documents import blocks

REPO = Path(__file__).parents[1]
DOCUMENT = (REPO / "docs/github-action.md").read_text(encoding="utf-8")
WORKFLOW = REPO / "docs/examples/training-data.yml"
RECIPE = REPO / "docs/examples/gate.yaml"
PROMPT = "Which colour has the {} kite that flew over the harbour this very morning?"
# Writes what it is called with, and fails the first time as if there were no comment to edit.
GH = """#!/bin/sh
echo "$GH_TOKEN: $*" >> calls
case "$*" in *--edit-last*) exit 1;; *) cp comment.md sent.md;; esac
"""


def steps() -> dict[str, dict[str, Any]]:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return {one["name"]: one for one in workflow["jobs"]["curate"]["steps"] if "run" in one}


def test_the_document_shows_the_files() -> None:
    assert blocks(DOCUMENT, "yml") == [WORKFLOW.read_text(encoding="utf-8")]
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    assert yaml.safe_load(blocks(DOCUMENT, "yaml")[0]) == recipe


def test_no_text_of_a_pull_request_stands_in_a_command() -> None:
    assert not [name for name, step in steps().items() if "${{" in step["run"]]


@pytest.mark.system
def test_the_workflow_is_sound_by_the_schema_of_github() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    subprocess.run([*checker, "vendor.github-workflows", WORKFLOW], check=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with training data, an eval set, the recipe, and a stand-in for GitHub's command."""
    (tmp_path / "data/train").mkdir(parents=True)
    (tmp_path / ".github").mkdir()
    shutil.copy(RECIPE, tmp_path / ".github/gate.yaml")
    baskets = [f"How many apples are in basket {i} of the old market hall?" for i in range(9)]
    write(tmp_path / "data/train/rows.jsonl", [*baskets, baskets[0]])
    write(tmp_path / "data/eval.jsonl", [PROMPT.format("red"), PROMPT.format("blue")])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gh").write_text(GH)
    (tmp_path / "bin/gh").chmod(0o755)
    curate = tmp_path / "bin/curate"
    curate.write_text(f'#!/bin/sh\nexec {sys.executable} -m curate "$@"\n')
    curate.chmod(0o755)
    return tmp_path


def write(path: Path, prompts: list[str]) -> None:
    lines = [json.dumps({"prompt": text, "completion": "Yes."}) for text in prompts]
    path.write_text("\n".join(lines) + "\n")


def take(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a step as the runner does."""
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPO),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GH_TOKEN": "token",
        "PULL_REQUEST": "7",
    }
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps()[name]["run"]]
    return subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.system
def test_the_steps_comment_and_fail_for_leaks_alone(checkout: Path) -> None:
    before = ["Check the recipe and its files", "Run the recipe", "Write the comment", "Comment"]
    *_, gate = steps()
    for name in before:
        done = take(name, checkout)
        assert done.returncode == 0, done.stderr
    assert take(gate, checkout).returncode == 0
    comment = (checkout / "sent.md").read_text()
    assert comment.startswith("## 9 of 10 rows kept\n")
    assert "found no row that holds a prompt of these sets: protected" in comment
    assert (checkout / "summary.md").read_text() == comment
    calls = (checkout / "calls").read_text().splitlines()
    assert calls == [
        "token: pr comment 7 --edit-last --body-file comment.md",
        "token: pr comment 7 --body-file comment.md",
    ]
    write(checkout / "data/train/new.jsonl", ["Who is there?", PROMPT.format("red")])
    for name in before[1:]:
        assert take(name, checkout).returncode == 0
    failed = take(gate, checkout)
    assert failed.returncode == 1
    line, error = failed.stdout.splitlines()
    assert json.loads(line)["row_id"] == "train/new.jsonl:2"
    assert error.startswith("::error::")
    comment = (checkout / "sent.md").read_text()
    assert comment.startswith("## 10 of 12 rows kept; 1 row holds eval prompts\n")


@pytest.mark.system
def test_a_recipe_that_is_wrong_fails_the_job(checkout: Path) -> None:
    (checkout / "data/eval.jsonl").unlink()
    failed = take("Check the recipe and its files", checkout)
    assert failed.returncode == 2 and "data/eval.jsonl" in failed.stderr
