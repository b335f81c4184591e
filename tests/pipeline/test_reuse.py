"""What a run would take from the store, and whether other versions of libraries made it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.checksummed import dump_checksummed, load_checksummed
from curate.core.versions import LIBRARIES, library_versions, versions_sentence
from curate.pipeline.curation import run_curation
from curate.pipeline.reuse import reused_artifacts
from tests.commandline import curate
from tests.conftest import write_tiny_encoder

pytestmark = pytest.mark.system

RECIPE = """
name: demo
pool: [{path: pool.jsonl}]
stages: [exact, rules]
select: random
budget: 3
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"What is {i} and {i}?", "response": f"It is {2 * i}."} for i in range(9)]
    Path("pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("recipe.yaml").write_text(RECIPE)
    return load_config(Path("recipe.yaml"))


def pretend(store: Path, step: str, versions: Mapping[str, str]) -> None:
    """Let a stored artifact say that it was made with these versions of libraries."""
    (path,) = store.glob(f"{step}-*/manifest.json")
    manifest = load_checksummed(path.read_bytes())
    path.write_bytes(
        dump_checksummed({**manifest, "versions": {**manifest["versions"], **versions}})
    )


def test_what_a_run_would_reuse_is_what_it_then_reuses(recipe: Config) -> None:
    assert reused_artifacts(recipe) == []
    assert not Path(recipe.store).exists()
    stages = run_curation(recipe).manifest["stages"]
    keys = {key for stage in stages for key in stage["keys"]}
    assert {artifact.key for artifact in reused_artifacts(recipe)} == keys

    other = load_config(Path("recipe.yaml"), ["budget=2"])
    before = {artifact.key for artifact in reused_artifacts(other)}
    stages = run_curation(other).manifest["stages"]
    cached = [key for stage in stages if stage["cached"] for key in stage["keys"]]
    assert set(cached) == before != keys


def test_a_run_and_its_manifest_tell_what_other_libraries_made(
    recipe: Config, caplog: pytest.LogCaptureFixture
) -> None:
    run_curation(recipe)
    pretend(Path(recipe.store), "exact", {"polars": "1.0.0"})
    caplog.clear()
    manifest = run_curation(recipe).manifest
    (warning,) = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert "stored results of exact were made with other versions of libraries" in warning
    assert f"polars 1.0.0, now {manifest['versions']['polars']}" in warning
    others = {s["stage"]: s["other_versions"] for s in manifest["stages"] if s["other_versions"]}
    assert others == {"exact": {"polars": "1.0.0"}}


def test_check_warns_of_what_other_libraries_made(recipe: Config) -> None:
    run_curation(recipe)

    def check() -> str:
        done = curate("check", "recipe.yaml", folder=Path.cwd())
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "results of earlier runs would be reused" in check()
    assert "warning" not in check()
    pretend(Path(recipe.store), "exact", {"polars": "1.0.0"})
    assert "warning: stored results of exact were made with other versions" in check()


@pytest.mark.parametrize(
    "versions", [{"python": "2.7.18"}, {"curate": "0.0.1"}, {"requests": "1.0"}]
)
def test_versions_that_change_no_result_are_no_warning(versions: dict[str, str]) -> None:
    assert versions_sentence([("exact", versions)]) is None


def test_a_library_that_is_gone_is_told() -> None:
    sentence = versions_sentence([("generate", {"gguf": "0.1"}), ("index", {"torch": "1.0"})])
    assert sentence is not None
    assert "generate, index" in sentence
    assert "gguf 0.1, now " in sentence


def test_only_libraries_that_were_loaded_are_recorded() -> None:
    code = "import orjson; from curate.core.versions import library_versions as v; import polars; "
    code += "print(orjson.dumps(v()).decode())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names: Any = orjson.loads(done.stdout)
    assert "polars" in names
    assert "torch" not in names
    assert {"curate", "python"} <= set(names) <= {"curate", "python", *LIBRARIES}
    assert set(library_versions()) >= {"polars"}


def test_an_embedder_whose_weights_are_swapped_scores_anew(recipe: Config, tmp_path: Path) -> None:
    """The run's scores are those of a store that never saw the other weights."""
    words = ["what", "is", "and", *map(str, range(9))]
    folder = write_tiny_encoder(tmp_path / "encoder", words)
    Path("target.jsonl").write_text(json.dumps({"prompt": "What is 4?", "response": "4"}) + "\n")
    chosen = ["target={path: target.jsonl}", f"select={{method: embed, embedder: {folder}}}"]

    def scores(store: str) -> list[float]:
        run_curation(load_config(Path("recipe.yaml"), [*chosen, f"store={store}"]), Path("run"))
        return pl.read_parquet("run/evidence/scores.parquet").sort("row_id")["score"].to_list()

    before = scores("store")
    assert scores("store") == before
    weights = folder / "model.safetensors"
    status = weights.stat()
    write_tiny_encoder(tmp_path / "encoder", words, seed=1)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = scores("store")
    assert after != before
    assert after == scores("another")
