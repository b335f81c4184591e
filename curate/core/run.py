"""What a method is given to work with: a run's tables and models, and calls whose results are stored."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from curate.core.calls import Cached, CachedCall, Table
from curate.core.errors import UserError
from curate.core.keyed import EmbedderSource, EngineSource, ModelSource
from curate.core.store import Artifact, Computation
from curate.core.workload import SharedPass

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")


class StepRun(Protocol):
    """A way to run steps, and the models of the run."""

    @property
    def seed(self) -> int:
        """Return the run's seed."""
        ...

    def execute(self, computation: Computation) -> Artifact:
        """Return the artifact of a computation, made now or found."""
        ...

    def execute_all(self, computations: Sequence[Computation]) -> list[Artifact]:
        """Return the artifacts of independent computations, in their order."""
        ...

    def __call__(self, function: Cached[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the stored result of a cached call, made now or found."""
        ...

    def result(self, call: CachedCall[T]) -> T:
        """Return the stored result of a call, made now or found."""
        ...

    def results(self, calls: Sequence[CachedCall[T]]) -> list[T]:
        """Return the stored results of independent calls, in their order."""
        ...

    def map(
        self,
        function: Cached[Concatenate[V, P], T],
        values: Sequence[V],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[T]:
        """Return the stored results of one call for each value of the first argument, in their order."""
        ...

    def side_by_side(self, function: Callable[[Any, V], T], values: Sequence[V]) -> list[T]:
        """Return what a function makes of this run and each value, none of which needs another."""
        ...

    def is_stored(self, computation: Computation) -> bool:
        """Return whether the artifact of a computation is there already."""
        ...

    def shared_pass(self, max_length: int) -> SharedPass:
        """Return what the recipe's methods take from a pass of the base model over rows cut there."""
        ...

    @property
    def base(self) -> ModelSource:
        """Return the base model."""
        ...

    def embedder(self, name: str | None = None) -> EmbedderSource:
        """Return a sentence embedder, the run's own if None."""
        ...

    def engine(self, params: Any) -> EngineSource:
        """Return the engine that a recipe names."""
        ...


class ScoreRun(StepRun, Protocol):
    """What a selector's score function is given: the run's artifacts and a way to run steps."""

    @property
    def rows(self) -> Table:
        """Return the pool."""
        ...

    @property
    def kept(self) -> Table:
        """Return the rows that all stages kept: row_id and position in the pool."""
        ...

    @property
    def tokens(self) -> Table:
        """Return the lengths of the kept rows in tokens of the base model."""
        ...

    @property
    def target(self) -> Table | None:
        """Return the target examples."""
        ...

    @property
    def evidence(self) -> Mapping[str, Table]:
        """Return what the stages found, by their names."""
        ...

    def with_kept(self, kept: Table) -> "ScoreRun":
        """Return the same run with fewer kept rows."""
        ...


def target_of(run: ScoreRun) -> Table:
    """Return the target examples, for a selector that needs them.

    Raises:
        UserError: the run has none.
    """
    if run.target is None:
        raise UserError("this way of scoring rows needs target examples: give `target`")
    return run.target
