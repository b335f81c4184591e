"""Selectors that train or pass a model over the rows, in one run by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests.commandline import curate
from tests.report.realrun import recipe, write_inputs

BRIEF = {"warmup": {"epochs": 1, "fraction": 0.5}}
SELECT = {
    "method": "cascade",
    "parts": [
        {"method": "cluster_less", "cluster_rows": 4, **BRIEF, "keep": 0.5},
        {"method": "less", **BRIEF},
    ],
    "budget": {"rows": 5},
}
COMPARED = [
    {"method": "tss", "budget": {"rows": 5}},
    {"method": "delta_loss", **BRIEF, "budget": {"rows": 5}},
]


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selectors")
    write_inputs(folder, rows=20)
    settings: dict[str, Any] = recipe(folder, tiny, []).model_dump(mode="json", exclude_unset=True)
    settings |= {"select": SELECT, "compare": COMPARED}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    done = curate("run", "recipe.yaml", "--out", "run", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.system
def test_a_cascade_from_clusters_of_gradients_to_all_of_them_selects_its_budget(run: Path) -> None:
    ledger = pl.read_parquet(run / "ledger.parquet")
    assert ledger.filter(fate="selected").height == 5
    scored = pl.read_parquet(run / "evidence" / "select.parquet")["score"].drop_nulls()
    assert 5 <= len(scored) < ledger.height


@pytest.mark.system
@pytest.mark.parametrize("method", ["tss", "delta_loss"])
def test_what_needs_no_target_is_compared_with_it(run: Path, method: str) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (file,) = (name for name in manifest["files"] if method in name and "score" in name)
    scores = pl.read_parquet(run / file)["score"].drop_nulls()
    assert scores.n_unique() > 5
    assert method in (run / "report" / "index.html").read_text()
