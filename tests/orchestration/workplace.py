"""A small recipe on the bundled pool, run by the real command line; with --prefect, as a flow."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.commandline import CommandResult, curate

REPO = Path(__file__).parents[2]
RECIPE = """
name: small
seed: 0
pool:
  - {{path: {pool}, source: bundled}}
target: {{path: {data}/target.jsonl, eval: {{path: {data}/eval.jsonl, sample: 6}}}}
stages: [{{kind: exact}}, {{kind: leaks}}]
select: {{method: rds, budget: {{rows: 4}}}}
prove: {{draws: 2, seeds: 2, lora: {{epochs: 1, rank: 4}}}}
store: {store}
"""
# The same kinds of steps with a model of a few thousand weights: seconds.
LIGHT = RECIPE.replace("name: small", "name: light\nmodels: {{base: {base}}}")
# What a flow says whose record Prefect could not keep.
FAILED = "the run goes on without it"


@dataclass(frozen=True)
class Workplace:
    """A folder with its own pool file, recipe, store and run folder, if it is no other."""

    root: Path
    base: Path | None = None
    run_folder: Path | None = None

    @property
    def pool(self) -> Path:
        return self.root / "pool.jsonl"

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.yaml"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def out(self) -> Path:
        return self.run_folder or self.root / "run"

    def write(self, lines: list[bytes]) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.pool.write_bytes(b"".join(lines))
        recipe = LIGHT if self.base else RECIPE
        places = {"pool": self.pool, "data": REPO / "data", "store": self.store, "base": self.base}
        self.recipe.write_text(recipe.format(**places))

    def command(self, *arguments: str) -> list[str]:
        base = [sys.executable, "-m", "curate", "run", str(self.recipe)]
        return [*base, "--out", str(self.out), *arguments]

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path = REPO
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=cwd, env={**environment(), **(env or {})},
            capture_output=True, text=True, timeout=3_600,
        )  # fmt: skip

    def run_here(self, *arguments: str) -> CommandResult:
        """Run in this process, without Prefect."""
        return curate("run", str(self.recipe), "--out", str(self.out), *arguments)

    def manifest(self) -> dict[str, dict[str, Any]]:
        manifest = orjson.loads((self.out / "manifest.json").read_bytes())
        return {stage["stage"]: stage for stage in manifest["stages"]}

    def remade(self) -> set[str]:
        """Return the stages of the last run in which at least one step did work."""
        return {name for name, s in self.manifest().items() if s["cached"] != s["steps"]}


def environment() -> dict[str, str]:
    """Return the environment of a new user, but for the folder in which models are converted."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return {**kept, "PYTHONPATH": str(REPO)}


def light(root: Path, base: Path) -> Workplace:
    """Return a workplace of which nothing is computed yet."""
    workplace = Workplace(root, base)
    workplace.write(pool_lines())
    return workplace


def copy_of(workplace: Workplace, folder: Path) -> Workplace:
    """Return another workplace, with the store of a run that has ended."""
    copy = Workplace(folder / "place", workplace.base)
    copy.write(pool_lines())
    shutil.copytree(workplace.store, copy.store)
    return copy


def pool_lines() -> list[bytes]:
    """Return 40 lines of the bundled pool, some of the target family and two exact duplicates."""
    lines = (REPO / "data" / "pool" / "chat.jsonl").read_bytes().splitlines(keepends=True)
    good = []
    for line in lines:
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        good.append(line)
    target_lines = [line for line in good if b'"appointment_line"' in line][:12]
    others = [line for line in good if b'"appointment_line"' not in line][:26]
    return [*others, *target_lines, target_lines[0], others[0]]


def artifact_bytes(store: Path) -> dict[str, bytes]:
    """Return every file of every artifact but the manifests, which hold seconds and memory."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file()
        and path.name != "manifest.json"
        and path.relative_to(store).parts[0] not in ("tmp", "prefect", "verified")
    }


def run_files(out: Path) -> dict[str, bytes]:
    """Return the files of a run folder, but for the two that tell seconds and memory."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", "index.html")
    }
