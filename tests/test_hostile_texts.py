"""Commands on a pool whose names, origins, keys and texts want to command the terminal or the card."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from markdown_it import MarkdownIt

from tests.commandline import CommandResult, curate
from tests.terminal import TerminalProcess

COMMAND = "\x1b]0;owned\x07\x1b[8m\u202e\x9b31m\u2066"
FILE = f"ev{COMMAND}\nverdict  fine.jsonl"
ORIGIN = "![x](http://evil.x/{i})|<img src=x>\n" + COMMAND


def inputs(root: Path, model: Path) -> Path:
    """Write a hostile pool and its recipe; return the recipe."""
    (root / "pool").mkdir(parents=True)
    rows: list[dict[str, object]] = [
        {"q": f"What is {i}?{COMMAND}", "a": f"It is {i}.\rx{COMMAND}", "o": ORIGIN.format(i=i % 3)}
        for i in range(8)
    ]
    rows += [{"q" + COMMAND: COMMAND}]
    (root / "pool" / FILE).write_text("\n".join(map(json.dumps, rows)))
    fields = {"prompt": "q", "response": "a", "origin": "o"}
    recipe = {
        "name": "hostile",
        "ingest": {"max_rejected": 1},
        "pool": [{"path": str(root / "pool"), "source": "p", "fields": fields}],
        "models": {"base": str(shutil.copytree(model, root / f"tiny{COMMAND}"))},
        "stages": [{"kind": "fuzzy", "threshold": 0.9}],
        "select": {"method": "random", "budget": {"tokens": 900}},
        "store": str(root / "store"),
    }
    (root / "recipe.yaml").write_text(json.dumps(recipe))
    return root / "recipe.yaml"


def harmless(done: CommandResult, status: int = 0) -> str:
    text = done.stdout + done.stderr
    assert done.returncode == status, text
    strange = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"]
    assert not strange, text
    assert not any(line.startswith("verdict  fine") for line in text.split("\n"))
    return text


@pytest.mark.system
def test_nothing_that_a_command_prints_commands_a_terminal(tmp_path: Path, tiny: Path) -> None:
    recipe, run = str(inputs(tmp_path, tiny)), str(tmp_path / "run")
    harmless(curate("check", recipe))
    harmless(curate("run", recipe, "--out", run))
    ledger = pl.read_parquet(tmp_path / "run" / "ledger.parquet")
    for row_id in (ledger["row_id"][0], ledger["row_id"][-1]):
        assert "What is" in harmless(curate("explain", run, row_id))
    assert "evil.x" in harmless(curate("plan", run))
    harmless(curate("rethreshold", run, "fuzzy"))
    harmless(curate("export", run, "--out", str(tmp_path / f"out{COMMAND}")))
    harmless(curate("report", run))
    for arguments in (
        ("explain", run, f"none{COMMAND}"),
        ("explain", run, "a", f"extra{COMMAND}"),
        ("plan", run, "--set", f"filter={COMMAND}"),
        ("plan", run, "--set", f"x{COMMAND}=1", "--debug"),
        ("check", f"none{COMMAND}"),
        ("check", recipe, "--set", f"x{COMMAND}.y=1"),
        ("check", recipe, "--set", "pool.0.fields=null"),
        ("check", f"--none{COMMAND}"),
        (f"none{COMMAND}",),
    ):
        harmless(curate(*arguments), 2)


def test_the_card_shows_texts_of_rows_and_obeys_none(tmp_path: Path, tiny: Path) -> None:
    recipe = str(inputs(tmp_path, tiny))
    assert curate("run", recipe, "--out", str(tmp_path / "run")).returncode == 0
    card = (tmp_path / "run" / "export" / "README.md").read_text(encoding="utf-8")
    body = card.split("---\n", 2)[2].split("<!--")[0]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    kinds = [token.type for token in tokens]
    inner = {child.type for token in tokens for child in token.children or ()}
    assert inner <= {"text", "code_inline", "softbreak", "strong_open", "strong_close"}
    assert "code_block" not in kinds
    # What the card itself has of markup, and nothing more.
    own = ("<details><summary>Recipe in full</summary>\n", "</details>\n")
    assert tuple(token.content for token in tokens if token.type == "html_block") == own
    fences = [token.info for token in tokens if token.type == "fence"]
    assert fences == ["python", "console", "console", "yaml"]
    origins = [
        token.content for token in tokens if token.type == "inline" and "evil" in token.content
    ]
    assert len(origins) == 3
    strange = [c for c in card if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n"]
    assert not strange


@pytest.mark.system
def test_a_terminal_gets_no_commands_but_those_of_the_program(tmp_path: Path, tiny: Path) -> None:
    recipe = inputs(tmp_path, tiny)
    command = [
        sys.executable,
        "-m",
        "curate",
        "run",
        str(recipe),
        "--out",
        str(tmp_path / "run"),
        "--set",
        "select.budget={rows: 5}",
    ]
    terminal = TerminalProcess(command, {**os.environ, "TERM": "xterm-256color"})
    status, _ = terminal.end()
    assert status == 0, terminal.output
    pieces = ("\x1b]", "\x07", "\x1b[8m", "\u202e", "\x9b", "\u2066")
    assert not [piece for piece in pieces if piece in terminal.output]
