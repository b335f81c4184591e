"""Same key, same bytes: on one thread of one processor, and on several threads of all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.conftest import write_tiny_model

REPO = Path(__file__).parents[1]
VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)  # fmt: skip
# Three threads share work out most unevenly: pieces of tensors end within vectors of the processor.
ENVIRONMENTS: dict[str, tuple[str, list[str]]] = {
    "one": ("1", ["taskset", "--cpu-list", "0"]),
    "three": ("3", []),
}
RECIPE = """
name: threads
pool: [{path: pool.jsonl}]
target: {path: target.jsonl, eval: {path: eval.jsonl}}
models: {base: MODEL, embedder: static, dtype: float32}
stages:
  - {kind: exact}
  - {kind: fuzzy}
  - {kind: semantic}
  - {kind: confidence, drop: 0.1}
select: {method: rds, max_length: 256}
budget: {rows: 6}
compare:
  - {method: embed}
  - {method: embed, embedder: minilm}
  - {method: kcenter}
  - {method: facility}
  - {method: less, max_length: 256, warmup: {epochs: 1}}
  - {method: less, way: datastore, dim: 256, max_length: 256, warmup: {epochs: 1}}
  - {method: ifd, max_length: 256}
  - {method: perplexity, max_length: 256}
prove: {draws: 2, seeds: 1, lora: {epochs: 1, max_length: 256}}
"""
WORDS = ["river", "stone", "lamp", "green", "walk", "seven", "music", "paper", "cold", "glass"]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe whose model is wide enough that torch shares its work out between threads."""
    generator = np.random.default_rng(0)
    sizes = {"hidden_size": 192, "intermediate_size": 520, "num_attention_heads": 6}
    write_tiny_model(tmp_path / "model", **sizes)

    def text(words: int) -> str:
        return " ".join(generator.choice(WORDS, words))

    for name, rows in (("pool", 40), ("target", 4), ("eval", 4)):
        lines = [
            {"prompt": text(12), "response": text(int(generator.integers(3, 40)))}
            for _ in range(rows)
        ]
        text_of_file = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text_of_file)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("MODEL", str(tmp_path / "model")))
    return path


def run_in(recipe: Path, environment: str) -> dict[str, str]:
    """Run the recipe on a store of its own; return the digest of each artifact by name and key."""
    threads, pinned = ENVIRONMENTS[environment]
    env = os.environ | {"PYTHONPATH": str(REPO)} | dict.fromkeys(VARIABLES, threads)
    # Threads that turn in circles while they wait take the processors from those waited for.
    env["OMP_WAIT_POLICY"] = "PASSIVE"
    store = recipe.parent / f"store-{environment}"
    out = str(recipe.parent / f"run-{environment}")
    command = [*pinned, sys.executable, "-m", "curate", "run", str(recipe), "--out", out]
    done = subprocess.run(
        [*command, "--set", f"store={store}"],
        env=env, cwd=recipe.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifests = store.glob("*/manifest.json")
    return {path.parent.name: orjson.loads(path.read_bytes())["digest"] for path in manifests}


@pytest.mark.system
def test_a_whole_run_gives_the_same_bytes_on_any_number_of_threads(recipe: Path) -> None:
    digests = {environment: run_in(recipe, environment) for environment in ENVIRONMENTS}
    steps = {name.rsplit("-", 1)[0] for name in digests["one"]}
    assert {"score-rds", "semantic-pairs", "score-kcenter", "score-less", "proof"} <= steps
    for environment, others in digests.items():
        assert others == digests["one"], environment
