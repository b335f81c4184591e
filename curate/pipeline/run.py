"""A run in progress: its artifacts so far, the models of its recipe, and the execution of its steps.

How steps get executed is the caller's choice (`execute_all`): by a store alone, or by an orchestrator
around one. What is executed is not.
"""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.config.recipe import Config
from curate.core.calls import CallRunner
from curate.core.ledger import kept_step
from curate.core.registry import SelectParams
from curate.core.store import Artifact, Step, Store
from curate.llm.engines import identify_engine
from curate.models.load import (
    ModelLocation,
    choose_dtype,
    find_model,
    identify,
    identify_embedder,
    prepare,
)
from curate.pipeline.race import RaceResult
from curate.select.selection import SelectionResult

ExecuteAll = Callable[[Sequence[Step]], list[Artifact]]
LOG = logging.getLogger("curate")


@dataclass(frozen=True)
class RunResult:
    """Where a finished run lies, and what it says."""

    folder: Path
    manifest: dict[str, Any]
    proof: dict[str, Any] | None
    compared: list[str]
    generated: list[str]
    ablated: list[str]

    @property
    def report(self) -> Path:
        """Return the report's path."""
        return self.folder / "report" / "index.html"


@dataclass
class Run(CallRunner):
    """The state of one run: the artifacts made so far, in the order in which they were asked for.

    `part` is the part of the recipe that is being run (a stage's name, select, compare ...), `parts` the
    one that each artifact was first needed for. `read_rows` is the pool as each stage found it.
    """

    config: Config
    store: Store
    execute_steps: ExecuteAll
    artifacts: list[Artifact] = field(default_factory=list)
    part: str = ""
    parts: list[str] = field(default_factory=list)
    rows: Artifact = field(init=False)
    kept: Artifact = field(init=False)
    tokens: Artifact = field(init=False)
    target: Artifact | None = None
    eval: Artifact | None = None
    protected: Artifact | None = None
    watch: Artifact | None = None
    merged: dict[str, Artifact] = field(default_factory=dict)
    generated: Artifact | None = None
    evidence: dict[str, Artifact] = field(default_factory=dict)
    read_rows: dict[str, Artifact] = field(default_factory=dict)
    prepared: dict[str, Mapping[str, Artifact]] = field(default_factory=dict)
    selections: dict[str, SelectionResult] = field(default_factory=dict)
    race: RaceResult | None = None
    findings: dict[str, Artifact] = field(default_factory=dict)
    _artifacts_by_key: dict[str, Artifact] = field(default_factory=dict)
    _base: tuple[ModelLocation, str] | None = None

    @property
    def seed(self) -> int:
        """Return the run's seed."""
        return self.config.seed

    def with_kept(self, kept: Artifact) -> "Run":
        """Return the same run with fewer kept rows."""
        fewer = copy.copy(self)
        fewer.kept = kept
        return fewer

    def with_evidence(self, evidence: dict[str, Artifact]) -> "Run":
        """Return the same run with what other stages found, before any selection."""
        other = copy.copy(self)
        other.evidence, other.prepared, other.selections = evidence, {}, {}
        other.kept = self.execute(kept_step(self.rows, list(evidence.values())))
        return other

    def execute(self, step: Step) -> Artifact:
        """Return the step's artifact, made now or found."""
        return self.execute_all([step])[0]

    def execute_all(self, steps: Sequence[Step]) -> list[Artifact]:
        """Return the artifacts of independent steps, in their order."""
        keys = [step.key for step in steps]
        # What two methods have in common is made, and its cost told, once.
        new = {
            key: s for key, s in zip(keys, steps, strict=True) if key not in self._artifacts_by_key
        }
        if len(new) > 1:
            names = ", ".join(dict.fromkeys(step.name for step in new.values()))
            LOG.info("%s: %d steps", names, len(new))
        artifacts = self.execute_steps(list(new.values())) if new else []
        self._artifacts_by_key.update(zip(new, artifacts, strict=True))
        self.artifacts.extend(artifacts)
        self.parts.extend([self.part] * len(artifacts))
        reused = sum(artifact.cached for artifact in artifacts)
        if reused:
            LOG.info("%s: %d of %d reused", artifacts[0].name, reused, len(artifacts))
        return [self._artifacts_by_key[key] for key in keys]

    def model_identity(self) -> dict[str, Any]:
        """Return what identifies the base model."""
        location, dtype = self._find_base()
        return identify(location, dtype)

    def model_runtime(self) -> dict[str, Any]:
        """Return where the base model lies."""
        location, _ = self._find_base()
        return {"folder": str(prepare(location)), "trust": self.config.models.trust_remote_code}

    def embedder(self, name: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what identifies a sentence embedder (the run's own if None), and its runtime."""
        location = find_model(name or self.config.models.embedder)
        return identify_embedder(location), {"name": location.name}

    def engine(self, params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what identifies the engine that a recipe names, and its runtime."""
        models = self.config.models
        runtime = {
            "engine": params.model_dump(mode="json"),
            "models": models.model_dump(mode="json"),
            "cache": str(self.store.root / "completions.sqlite"),
        }
        return identify_engine(params, models), runtime

    @property
    def own_select(self) -> SelectParams:
        """Return what the run's own selection is made by: the recipe's method, or a race's winner."""
        return self.config.select if self.race is None else self.race.select

    @property
    def uses_base(self) -> bool:
        """Return whether anything has asked for the base model so far."""
        return self._base is not None

    def _find_base(self) -> tuple[ModelLocation, str]:
        if self._base is None:
            names = self.config.models
            self._base = find_model(names.base), choose_dtype(names.dtype)
        return self._base


def example_sets(run: Run) -> dict[str, Artifact]:
    """Return the sets of examples that the recipe gives, by their names."""
    sets = {"target": run.target, "eval": run.eval, "protected": run.protected, "watch": run.watch}
    return {name: artifact for name, artifact in sets.items() if artifact}
