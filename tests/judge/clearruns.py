"""Runs for the stages that ask a model: a scripted engine in place of the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from curate.core.ledger import stage_inputs, stage_step
from curate.core.registry import find_stage
from curate.core.store import Artifact
from curate.llm.engines import identify_engine
from curate.models.settings import ModelNames
from tests.conftest import StoreRun, row, stored_rows, turns
from tests.generate.scripted import ScriptedEngine

REFLECTIONS = ("The proposed answer is:", "Go through it once more")


@dataclass
class EngineRun(StoreRun):
    """A run whose engine is scripted, or real where `folder` names a model."""

    folder: Path | None = None
    engines: list[dict[str, Any]] = field(default_factory=list)

    def model_identity(self) -> dict[str, Any]:
        return {"model": str(self.folder), "dtype": "float32"}

    def model_runtime(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "trust": False}

    def engine(self, params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        models = ModelNames(base=str(self.folder) if self.folder else "x", dtype="float32")
        runtime = {
            "engine": params.model_dump(mode="json"),
            "models": models.model_dump(mode="json"),
            "cache": str(self.store.root / "completions.sqlite"),
        }
        identity = identify_engine(params, models) if self.folder else {"engine": "scripted"}
        self.engines.append(identity)
        return identity, runtime


def pool(run: StoreRun, pairs: Sequence[tuple[str, str]]) -> Artifact:
    """Return rows r0, r1 ... of prompts and responses."""
    return stored_rows(
        run.store, "pool", [row(f"r{i}", turns(*pair)) for i, pair in enumerate(pairs)]
    )


def judge_stage(
    run: StoreRun, rows: Artifact, stage: Mapping[str, Any], before: Mapping[str, Artifact] | None = None
) -> tuple[Artifact, Mapping[str, Artifact]]:  # fmt: skip
    """Return the verdicts of a stage, and what it prepared."""
    earlier = before or {}
    registered = find_stage(stage["kind"])
    params = registered.params.model_validate(stage)
    inputs = stage_inputs(rows, earlier, {}, stage["kind"])
    assert registered.prepare
    prepared = registered.prepare(run, inputs, params)
    dump = params.model_dump(mode="json")
    step = stage_step(stage["kind"], dump, inputs, list(earlier), prepared)
    return run.execute(step), prepared


def table(artifact: Artifact, name: str) -> pl.DataFrame:
    """Return one of an artifact's tables."""
    return pl.read_parquet(artifact.file(f"{name}.parquet"))


def answers(
    sampled: Callable[[Any], Any], reflect: str = "A", doubt: str = "A"
) -> list[tuple[Any, Any]]:
    """Return the rules of an engine that samples and reflects."""
    return [
        (REFLECTIONS[0], f'{{"answer": "{reflect}"}}'),
        (REFLECTIONS[1], f'{{"answer": "{doubt}"}}'),
        (lambda call: True, sampled),
    ]


def use(monkeypatch: Any, rules: list[tuple[Any, Any]]) -> ScriptedEngine:
    """Put a scripted engine in the place of every engine, and return it."""
    engine = ScriptedEngine(rules)
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: engine)
    return engine
