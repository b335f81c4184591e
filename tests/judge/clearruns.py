"""Runs for the stages that ask a model: a scripted engine in place of the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.core.calls import Table
from curate.core.keyed import EngineSource, ModelSource
from curate.core.ledger import judge_rows
from curate.core.methods import find_method
from curate.core.stage import Stage
from curate.core.store import Store
from curate.llm.engines import identify_engine
from curate.models.load import choose_dtype
from curate.models.settings import ModelNames
from tests.conftest import StoreRun, row, stored_rows, turns
from tests.generate.scripted import ScriptedEngine

REFLECTIONS = ("The proposed answer is:", "Go through it once more")


@dataclass
class EngineRun(StoreRun):
    """A run whose engine is scripted, or real where `folder` names a model: in a dtype of its own."""

    folder: Path | None = None
    dtype: str = "float32"
    engines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def base(self) -> ModelSource:
        return ModelSource({"model": str(self.folder), "dtype": self.dtype}, Path(str(self.folder)))

    def engine(self, params: Any) -> EngineSource:
        models = ModelNames(base=str(self.folder) if self.folder else "x", dtype=self.dtype)
        identity = identify_engine(params, models) if self.folder else {"engine": "scripted"}
        self.engines.append(identity)
        return EngineSource(
            identity,
            params.model_dump(mode="json"),
            models.model_dump(mode="json"),
            self.store.root / "completions.sqlite",
        )


def real_run(store: Store, smollm: Path) -> EngineRun:
    """Return a run of the real model, in the dtype that this processor is fastest in."""
    return EngineRun(store, folder=smollm, dtype=choose_dtype("auto"))


def pool(run: StoreRun, pairs: Sequence[tuple[str, str]]) -> Table:
    """Return rows r0, r1 ... of prompts and responses."""
    return stored_rows(
        run.store, "pool", [row(f"r{i}", turns(*pair)) for i, pair in enumerate(pairs)]
    )


def judge_stage(
    run: StoreRun, rows: Table, stage: Mapping[str, Any], before: Mapping[str, Table] | None = None
) -> tuple[Table, Mapping[str, Table]]:
    """Return the verdicts of a stage, and what it prepared."""
    method = find_method(Stage, stage["kind"]).model_validate(stage)
    return judge_rows(run, method.method, method, rows, before or {}, {})


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
