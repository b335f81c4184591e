"""What bash proposes at the tab key, by the script that `--show-completion` prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.commandline import curate

REPO = Path(__file__).parents[1]
HEAVY = ("torch", "polars", "numpy", "yaml", "curate.config")
# What the tab key does: the function that completes, called with the words so far.
ANY_SHELL = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
START = """
PATH="{folder}:$PATH"
source "{script}"
"""
TAB = """
COMP_WORDS=({words}) COMP_CWORD={number}
_curate_completion curate
printf '%s\\n' "${{COMPREPLY[@]}}" END
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    stages = [{"method": "exact"}, {"method": "fuzzy"}, {"method": "fuzzy"}]
    for name in ("one", "other"):
        (folder / "runs" / name).mkdir(parents=True)
        manifest = {"config": {"stages": stages}}
        (folder / "runs" / name / "manifest.json").write_text(json.dumps(manifest))
    (folder / "runs/unfinished").mkdir()
    (folder / "configs").mkdir()
    for path in ("mine.yaml", "configs/theirs.yml", "notes.txt"):
        (folder / path).touch()
    return folder


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPO)}


def script(shell: str, folder: Path) -> str:
    """Return what `--show-completion` prints for a shell."""
    done = subprocess.run(
        [sys.executable, "-m", "curate", "--show-completion", shell],
        cwd=folder, env=environment() | ANY_SHELL, capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def pressed_in_bash(folder: Path, lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return what bash proposes for the last word of each line, by the script that curate prints."""
    (folder / "completion.bash").write_text(script("bash", folder))
    program = folder / "curate"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m curate "$@"\n')
    program.chmod(0o755)
    presses = [
        TAB.format(words=" ".join(f"'{word}'" for word in ("curate", *line)), number=len(line))
        for line in lines
    ]
    start = START.format(folder=folder, script=folder / "completion.bash")
    done = subprocess.run(
        ["bash", "--norc", "-c", start + "".join(presses)],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert done.stderr == ""
    return [reply.split() for reply in done.stdout.split("END\n")[:-1]]


def proposed(folder: Path, words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what this process proposes, asked as the script for bash asks."""
    for name, value in (
        ("_CURATE_COMPLETE", "complete_bash"),
        ("COMP_WORDS", " ".join(["curate", *words])),
        ("COMP_CWORD", str(len(words))),
    ):
        monkeypatch.setenv(name, value)
    return curate(folder=folder).stdout.split()


REPLIES: list[tuple[tuple[str, ...], list[str]]] = [
    (("re",), ["report", "rethreshold"]),
    (("rows", ""), ["runs/one", "runs/other"]),
    (("view", "runs/ot"), ["runs/other"]),
    (("diff", "runs/one", "runs/ot"), ["runs/other"]),
    (("run", ""), ["configs/theirs.yml", "mine.yaml"]),
    (("check", "configs/"), ["configs/theirs.yml"]),
    (("rethreshold", "runs/one", "f"), ["fuzzy", "fuzzy-2"]),
    (("rethreshold", "runs/unfinished", "f"), []),
    (("methods", "rd"), ["rds"]),
    (("run", "mine.yaml", "--set", "select.budget."), [
        "select.budget.fraction=", "select.budget.rows=", "select.budget.tokens="
    ]),
    (("plan", "runs/one", "--budget", "r"), ["rows="]),
    (("export", "runs/one", "--format", "share"), ["sharegpt", "sharegpt_preference"]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "replies"), REPLIES)
def test_what_is_proposed(
    folder: Path, words: tuple[str, ...], replies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(proposed(folder, words, monkeypatch)) == replies


@pytest.mark.system
def test_bash_proposes(folder: Path) -> None:
    """By the script: commands, paths, what hangs on a word before, several words, and nothing."""
    some = [REPLIES[i] for i in (0, 4, 6, 7, 9)]
    assert [sorted(one) for one in pressed_in_bash(folder, [words for words, _ in some])] == [
        replies for _, replies in some
    ]


@pytest.mark.system
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(folder: Path, shell: str) -> None:
    assert "_CURATE_COMPLETE=complete_" in script(shell, folder)


@pytest.mark.system
def test_proposing_loads_nothing_heavy(folder: Path) -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('HEAVY', [m for m in {HEAVY} if m in sys.modules]))\n"
        "from curate.cli import app\napp(prog_name='curate')"
    )
    request = {"_CURATE_COMPLETE": "complete_bash", "COMP_WORDS": "curate rows ", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env=environment() | request, capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert done.stdout.split("\n")[-2] == "HEAVY []", done.stdout + done.stderr
    assert "runs/one" in done.stdout
