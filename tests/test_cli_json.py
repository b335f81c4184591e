"""Commands that say how things stand print it as JSON, too, and as ASCII that commands no terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import curate
from tests.report.realrun import FUZZY, finish, recipe, write_inputs
from tests.test_cli import PLAIN


def answer(*arguments: str) -> Any:
    """Return what a command prints with --json, after checking that it is nothing else."""
    done = curate(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.isascii()
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_inputs(folder, taint=" \x1b[31m\u202e")
    return finish(recipe(folder, tiny, [{"kind": "exact"}, FUZZY]), folder / "run")


def test_runs_are_listed(run: Path) -> None:
    (line,) = answer("ls", str(run.parent))
    assert line["folder"] == str(run)
    assert (line["selected"], line["method"], line["verdict"]) == (5, "random", "not proved")


def test_two_runs_are_compared(run: Path) -> None:
    compared = answer("diff", str(run), str(run))
    assert compared["settings"] == []
    assert compared["overlaps"][0] == {
        "column": "row_id", "both": 5, "only_one": 0, "only_other": 0
    }  # fmt: skip


def test_a_row_is_explained(run: Path) -> None:
    row = json.loads(curate("rows", str(run), "--first", "1", "--json").stdout)
    explained = answer("explain", str(run), row["row_id"])
    assert explained["row_id"] == row["row_id"]
    assert explained["sentences"]


def test_a_plan_and_a_rethreshold_are_counted(run: Path, tmp_path: Path) -> None:
    plan = answer("plan", str(run), "--budget", "rows=7", "--out", str(tmp_path / "r.parquet"))
    assert (plan["rows"], plan["run_rows"], plan["shared"]) == (7, 5, 5)
    assert plan["delivered"] == [f"ranking written to {tmp_path / 'r.parquet'}"]
    judged = answer("rethreshold", str(run), "fuzzy", "--set", "threshold=0.8")
    assert judged["dropped_before"] - judged["dropped"] == judged["back"] - judged["gone"]
    assert {line["threshold"] for line in judged["sweep"]}


def test_a_recipe_is_checked(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text(f"{PLAIN}store: {tmp_path / 'store'}\n")
    checked = answer("check", str(tmp_path / "plain.yaml"))
    assert [one["role"] for one in checked["files"]] == ["pool"]
    assert [line["stage"] for line in checked["stages"]][:3] == ["pool", "exact", "fuzzy"]
    assert checked["reused"] == 0
    assert checked["minutes"]["low"] <= checked["minutes"]["high"]


def test_methods_are_listed_and_shown() -> None:
    names = [(one["family"], one["method"]) for one in answer("methods")]
    assert ("stage", "fuzzy") in names
    (rds,) = answer("methods", "rds")
    assert "combine" in rds["parameters"]
    assert curate("methods", "rdss", "--json").returncode == 2


def test_a_store_is_measured(run: Path) -> None:
    usage = answer("store", "du", str(run.parent / "store"))
    steps = {one["step"]: one["artifacts"] for one in usage["steps"]}
    assert steps["exact"] == steps["fuzzy"] == 1
