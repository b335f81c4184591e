"""`curate run`: progress on stderr, and on stdout what came of it, as much as one asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from tests.commandline import CommandResult, curate
from tests.test_cli import PLAIN, process


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    path = folder / "plain.yaml"
    path.write_text(f"{PLAIN}store: {folder / 'store'}\n")
    return path


def run(
    recipe: Path, *options: str, command: Callable[..., CommandResult] = curate
) -> CommandResult:
    done = command("run", str(recipe), "--out", str(recipe.parent / "run"), *options)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.system
def test_a_run_ends_with_its_funnel_its_verdict_and_where_everything_lies(recipe: Path) -> None:
    done, folder = run(recipe, command=process), recipe.parent / "run"
    lines = done.stdout.splitlines()
    assert lines[0] == ""
    assert [line[:16].rstrip() for line in lines[1:5]] == [
        "read", "Exact duplicates", "Near duplicates", "selected"
    ]  # fmt: skip
    assert lines[6:] == [
        "verdict  no proof was asked for",
        f"report   {folder}/report/index.html",
        f"export   {folder}/export",
        f"look     curate view {folder}",
        lines[-1],
    ]
    assert lines[-1].startswith("steps    ")
    assert "prefect" not in (done.stdout + done.stderr).lower()
    assert " kept" in done.stderr


@pytest.mark.system
def test_quietly_a_run_prints_its_folder_alone(recipe: Path) -> None:
    done = run(recipe, "-q")
    assert done.stdout == f"{recipe.parent / 'run'}\n"
    assert done.stderr == ""


@pytest.mark.system
def test_in_detail_a_run_says_what_each_step_read(recipe: Path) -> None:
    done = run(recipe, "-v")
    folders = [path.name for path in (recipe.parent / "store").glob("exact-*")]
    (line,) = (line for line in done.stderr.splitlines() if f"  {folders[0]}: " in line)
    assert "made in " in line
    assert "; reads pool-" in line


@pytest.mark.system
def test_the_result_is_one_json_object(recipe: Path) -> None:
    result = orjson.loads(run(recipe, "--json").stdout)
    assert result["run"] == str(recipe.parent / "run")
    assert result["verdict"] is None
    assert result["selected"] == result["funnel"][-1]["remaining"] == 10
    assert result["funnel"][1]["stage"] == "exact"


def test_less_and_more_at_once_is_a_sentence(recipe: Path) -> None:
    done = curate("run", str(recipe), "-q", "-v")
    assert done.returncode == 2
    assert done.stderr == "Error: -q says less and -v more: give one of them\n"
