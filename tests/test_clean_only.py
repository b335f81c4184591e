"""Recipes that need no model run without one: cleaning alone, and plain draws."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.pipeline.curation import run_curation
from curate.pipeline.run import RunResult
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from curate.runs.plan import plan_selection

REPO = Path(__file__).parents[1]
RECIPES = {
    "exact": "stages: [exact]",
    "clean": "stages: [exact, {kind: fuzzy}]",
    "random": "select: random\nbudget: 3",
    "mixture": "select: {method: mixture, budget: 0.5}\ncompare: [random]",
}


def write(folder: Path, text: str) -> Path:
    rows = [{"prompt": f"{n} + 1 = ?", "completion": str(n + 1)} for n in (1, 2, 3, 4, 5, 5)]
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    models = "models: {base: /nonexistent, embedder: /nonexistent}"
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"name: r\npool: {folder}/pool.jsonl\n{models}\nstore: {folder}/store\n{text}\n"
    )
    return recipe


def run(folder: Path, text: str) -> RunResult:
    return run_curation(load_config(write(folder, text)), folder / "run")


# What no recipe without a model imports, and what else none imports up to the end of its run, by
# name; in the order of how much they import.
HEAVY = ["torch", "transformers", "prefect", "sklearn", "scipy.stats", "scipy.optimize"]
# Their report has the funnel alone; what draws other charts takes a second to load.
CHARTS = ["altair", "vl_convert"]
RUN_WITHOUT = {"random": [*CHARTS, "scipy.sparse"], "exact": CHARTS, "mixture": [], "clean": []}
# A check reads a few rows; groups of duplicates and tables for others come in the run.
CHECKED_WITHOUT = [*CHARTS, "scipy.sparse", "pandas", "jsonschema", "httpx"]
PROGRAM = """
import json, sys
from pathlib import Path
from curate.config.loading import load_config
from curate.estimate.recipe import estimate
from curate.pipeline.curation import run_curation

heavy, checked_without, recipes = json.loads(sys.argv[1])
configs = [load_config(Path(path)) for path, _ in recipes]
for config in configs:
    estimate(config)
print([name for name in heavy + checked_without if name in sys.modules])
for config, (path, run_without) in zip(configs, recipes):
    run_curation(config, Path(path).parent / "run")
    print([name for name in heavy + run_without if name in sys.modules])
"""


@pytest.mark.system
def test_recipes_without_a_model_import_and_look_for_none(tmp_path: Path) -> None:
    recipes = []
    for name, run_without in RUN_WITHOUT.items():
        (tmp_path / name).mkdir()
        recipes.append((str(write(tmp_path / name, RECIPES[name])), run_without))
    given = json.dumps([HEAVY, CHECKED_WITHOUT, recipes])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, given], cwd=REPO, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]"] * (1 + len(RECIPES))


def test_a_clean_only_run_takes_every_kept_row_in_pool_order(tmp_path: Path) -> None:
    result = run(tmp_path, RECIPES["clean"])
    ledger = pl.read_parquet(result.folder / "ledger.parquet")
    kept = ledger.filter(fate="selected")
    assert kept["row_id"].to_list() == [f"pool/pool.jsonl:{n}" for n in range(1, 6)]
    assert set(kept["reason"]) == {"kept"}
    selected = pl.read_parquet(result.folder / "selected.parquet")
    assert selected["row_id"].to_list() == kept["row_id"].to_list()
    (jsonl,) = (result.folder / "export").glob("train-*.jsonl")
    assert len(jsonl.read_text().splitlines()) == 5
    page = result.report.read_text()
    assert "the recipe asks for no selection" in page
    assert "Length in tokens" not in page
    folder = open_run(result.folder)
    lines = explain_row(folder, "pool/pool.jsonl:1")
    assert "selected: it was kept by every stage, and the recipe takes all such rows." in lines
    assert plan_selection(folder, "rows=2", ["method=random"]).ranking["selected"].sum() == 2


def test_a_plan_that_needs_tokens_says_that_none_were_counted(tmp_path: Path) -> None:
    folder = open_run(run(tmp_path, RECIPES["random"]).folder)
    for budget, overrides in (("tokens=10", []), (None, ["filter=tokens > 3"])):
        with pytest.raises(UserError, match="were not counted in tokens"):
            plan_selection(folder, budget, overrides)


@pytest.mark.parametrize(
    "select",
    [
        {"method": "random", "budget": {"tokens": 9}},
        {"method": "random", "budget": 3, "filter": "tokens < 9"},
        {"method": "length", "budget": 3},
    ],
)
def test_tokens_are_counted_where_something_speaks_of_them(select: dict[str, object]) -> None:
    assert Config.model_validate({"name": "r", "pool": "x", "select": select}).counts_tokens


def test_nothing_is_proven_or_compared_without_a_selection(tmp_path: Path) -> None:
    for key, text in (
        ("prove", "prove: {}\ntarget: {path: x, eval: y}"),
        ("compare", "compare: [random]"),
    ):
        with pytest.raises(UserError, match=f"`{key}:` needs a selection"):
            load_config(write(tmp_path, text))


def test_short_forms_are_the_long_ones(tmp_path: Path) -> None:
    short = load_config(write(tmp_path, "stages: [exact]\nselect: random\nbudget: 3"))
    whole = "stages: [{kind: exact}]\nselect: {method: random, budget: {rows: 3}}"
    assert short == load_config(write(tmp_path, whole))
    share = load_config(write(tmp_path, "select: {method: random, budget: 0.25}"))
    assert share.select.budget.fraction == 0.25
