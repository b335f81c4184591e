"""Commands that say how things stand print it as JSON, too, and as ASCII that commands no terminal."""

from __future__ import annotations

import json
import shutil
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


def test_what_of_a_store_is_unneeded_or_damaged_is_listed(run: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(run.parent / "store", store)
    assert answer("store", "verify", str(store)) == {"damaged": [], "removed": False}
    everything = ("store", "gc", str(store), "--run", str(tmp_path), "--days", "0")
    names = {one["name"] for one in answer(*everything)["unneeded"]}
    assert not answer("store", "gc", str(store), "--run", str(run))["unneeded"]
    (table,) = store.glob("exact-*/*.parquet")
    table.chmod(0o644)
    table.write_bytes(b"")
    done = curate("store", "verify", str(store), "--json")
    (damaged,) = json.loads(done.stdout)["damaged"]
    assert (done.returncode, damaged["name"], damaged["files"]) == (
        2, table.parent.name, [table.name]
    )  # fmt: skip
    repaired = answer("store", "verify", str(store), "--delete")
    assert repaired == {"damaged": [damaged], "removed": True}
    rest = answer(*everything, "--delete")
    assert {one["name"] for one in rest["unneeded"]} == names - {damaged["name"]}
    assert rest["removed"] and not answer("store", "du", str(store))["steps"]


def test_models_are_described() -> None:
    static, nowhere = answer("models", "static", "nowhere")
    assert (static["kind"], static["fault"]) == ("embedder", None) and static["speed"] > 0
    assert nowhere["kind"] is None and "model 'nowhere'" in nowhere["fault"]
