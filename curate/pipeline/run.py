"""A run in progress: its artifacts so far, the models of its recipe, and the execution of its steps.

How steps get executed is the caller's choice (`execute_all`): by a store alone, or by an orchestrator
around one. What is executed is not.
"""

import copy
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from curate.config.recipe import Config
from curate.config.running import INLINE
from curate.core.bucket import is_bucket
from curate.core.calls import CallRunner, Table
from curate.core.keyed import EmbedderSource, EngineSource, ModelSource
from curate.core.ledger import kept_rows
from curate.core.selector import Selector
from curate.core.store import Artifact, Computation, Store
from curate.core.tables import read_table
from curate.core.workload import SharedPass
from curate.llm.engines import identify_engine
from curate.models.load import (
    ModelLocation,
    choose_dtype,
    find_model,
    identify_embedder,
)
from curate.models.modelsource import model_source
from curate.pipeline.branches import run_branches
from curate.pipeline.race import RaceResult
from curate.pipeline.sharing import shared_pass
from curate.pipeline.steplog import execute_logged
from curate.selectors.selection import SelectionResult

# The artifacts may come one by one, so that they can be counted.
ExecuteAll = Callable[[Sequence[Computation]], Iterable[Artifact]]
LOG = logging.getLogger("curate")
T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True)
class RunResult:
    """Where a finished run lies, and what it says; `marked` of marks by hand that it has not read."""

    folder: Path
    manifest: dict[str, Any]
    proof: dict[str, Any] | None
    compared: list[str]
    generated: list[str]
    ablated: list[str]
    marked: list[str] = field(default_factory=list)

    @property
    def report(self) -> Path:
        """Return the report's path."""
        return self.folder / "report" / "index.html"

    @property
    def ledger(self) -> pl.DataFrame:
        """Return the fate of every row that entered the run, with the reason."""
        return read_table(self.folder / "ledger.parquet")

    @property
    def selected(self) -> pl.DataFrame:
        """Return the selected rows, best first."""
        return read_table(self.folder / "selected.parquet")

    @property
    def sentence(self) -> str:
        """Return what the run has to say: the verdict, or how many rows it selects."""
        if self.proof is not None:
            return str(self.proof["sentence"])
        rows = self.selected.height
        return f"{rows:,} row{'s' if rows != 1 else ''} selected; no proof was asked for"


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
    rows: Table = field(init=False)
    kept: Table = field(init=False)
    tokens: Table = field(init=False)
    prompts: Table | None = None
    target: Table | None = None
    eval: Table | None = None
    protected: Table | None = None
    watch: Table | None = None
    prior: Table | None = None
    merged: dict[str, Table] = field(default_factory=dict)
    generated: Artifact | None = None
    evidence: dict[str, Table] = field(default_factory=dict)
    read_rows: dict[str, Table] = field(default_factory=dict)
    prepared: dict[str, Mapping[str, Table]] = field(default_factory=dict)
    selections: dict[str, SelectionResult] = field(default_factory=dict)
    race: RaceResult | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    findings: dict[str, Artifact] = field(default_factory=dict)
    _artifacts_by_key: dict[str, Artifact] = field(default_factory=dict)
    _base: tuple[ModelLocation, str] | None = None

    @property
    def seed(self) -> int:
        """Return the run's seed."""
        return self.config.seed

    def with_kept(self, kept: Table) -> "Run":
        """Return the same run with fewer kept rows."""
        fewer = copy.copy(self)
        fewer.kept = kept
        return fewer

    def with_evidence(self, evidence: dict[str, Table]) -> "Run":
        """Return the same run with what other stages found, before any selection."""
        other = copy.copy(self)
        other.evidence, other.prepared, other.selections = evidence, {}, {}
        other.kept = kept_rows(self, self.rows, list(evidence.values()))
        return other

    def side_by_side(self, function: Callable[["Run", V], T], values: Sequence[V]) -> list[T]:
        """Return what a function makes of this run and each value, in their order.

        Where the run has workers, each part gets a copy with a list of its own of what it makes. These
        are put behind the run's in the order of the values, whichever part ends first.
        """
        if self.config.run.on == INLINE or len(values) < 2:
            return [function(self, value) for value in values]
        branches = [self._branch() for _ in values]
        results = run_branches(function, branches, values, self.ended)
        for branch in branches:
            self._join(branch)
        return results

    def _branch(self) -> "Run":
        branch = copy.copy(self)
        branch.artifacts, branch.parts = [], []
        branch._artifacts_by_key = dict(self._artifacts_by_key)
        return branch

    def _join(self, branch: "Run") -> None:
        """Take over what a branch made and no branch before it did."""
        for artifact, part in zip(branch.artifacts, branch.parts, strict=True):
            if artifact.key not in self._artifacts_by_key:
                self._artifacts_by_key[artifact.key] = artifact
                self.artifacts.append(artifact)
                self.parts.append(part)

    def execute_all(self, computations: Sequence[Computation]) -> list[Artifact]:
        """Return the artifacts of independent computations, in their order.

        Raises:
            CancelledError: the run ends, since another part of it failed.
        """
        if self.ended.is_set():
            raise CancelledError
        keys = [step.key for step in computations]
        # What two methods have in common is made, and its cost told, once.
        new = {
            key: s
            for key, s in zip(keys, computations, strict=True)
            if key not in self._artifacts_by_key
        }
        artifacts = execute_logged(self.execute_steps, list(new.values())) if new else []
        self._artifacts_by_key.update(zip(new, artifacts, strict=True))
        self.artifacts.extend(artifacts)
        self.parts.extend([self.part] * len(artifacts))
        return [self._artifacts_by_key[key] for key in keys]

    def is_stored(self, computation: Computation) -> bool:
        """Return whether the artifact of a computation is there already."""
        key = computation.key
        return key in self._artifacts_by_key or self.store.look_up(computation) is not None

    def shared_pass(self, max_length: int) -> SharedPass:
        """Return what the recipe's methods take from a pass of the base model over rows cut there."""
        return shared_pass(self.config, max_length)

    def find_base(self) -> tuple[ModelLocation, str]:
        """Return where the base model lies, and its dtype.

        Raises:
            UserError: there is no such model.
        """
        if self._base is None:
            names = self.config.models
            self._base = find_model(names.base), choose_dtype(names.dtype)
        return self._base

    @property
    def base(self) -> ModelSource:
        """Return the base model."""
        location, dtype = self.find_base()
        trust = self.config.models.trust_remote_code
        return model_source(location, dtype, trust)

    def embedder(self, name: str | None = None) -> EmbedderSource:
        """Return a sentence embedder, the run's own if None."""
        location = find_model(name or self.config.models.embedder)
        return EmbedderSource(identify_embedder(location), location.name)

    def engine(self, params: Any) -> EngineSource:
        """Return the engine that a recipe names."""
        models = self.config.models
        return EngineSource(
            identify_engine(params, models),
            params.model_dump(mode="json"),
            models.model_dump(mode="json"),
            self.store.root / "completions.sqlite",
            self.store.address if is_bucket(self.store.address) else None,
        )

    @property
    def own_select(self) -> Selector:
        """Return what the run's own selection is made by: the recipe's method, or a race's winner."""
        if self.race is not None:
            return self.race.select
        assert isinstance(self.config.select, Selector), (
            "a race is held before anything is selected"
        )
        return self.config.select

    @property
    def uses_base(self) -> bool:
        """Return whether anything has asked for the base model so far."""
        return self._base is not None


def example_sets(run: Run) -> dict[str, Table]:
    """Return the sets of examples that the recipe gives, by their names."""
    sets = {"target": run.target, "eval": run.eval, "protected": run.protected, "watch": run.watch}
    return {name: artifact for name, artifact in sets.items() if artifact}
