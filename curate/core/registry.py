"""Where stages and selectors register themselves: one line in their own file, nothing elsewhere.

@stage(ExactParams, version=1)
def exact(data: StageData, params: ExactParams) -> StageResult: ...
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypeVar,
    get_args,
)

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from curate.core.calls import Cached, CachedCall, Table
from curate.core.keyed import EmbedderSource, EngineSource, ModelSource
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Computation
from curate.core.tables import TableFile

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")
# The example sets that no row may leak; those after the first are further ones.
EVAL_SETS = ("eval", "protected", "watch")


class Params(BaseModel):
    """Base of everything in a config: frozen, unknown keys are errors, and so are NaN and infinity.

    Pydantic's own message does not repeat what was given, which may be a secret.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


def suggest_key(key: str, choices: Sequence[str]) -> str:
    """Return what to say of a key that is none of the known ones."""
    close = difflib.get_close_matches(key, choices, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(choices)}"
    return f"unknown key; {hint}"


def keys_at(root: type[Params], location: Sequence[Any]) -> list[str]:
    """Return the keys that a model knows at a location as pydantic names it."""
    models: list[type[Params]] = [root]
    for part in location:
        inner = [
            submodel
            for model in models
            if part in model.model_fields
            for submodel in _models_in(model.model_fields[part].annotation)
        ]
        # A part that is no key is a list position or the tag of a union's branch.
        tagged = [
            m
            for m in models
            if isinstance(part, str) and part in [f.default for f in m.model_fields.values()]
        ]
        models = inner or tagged or models
    return list(dict.fromkeys(key for model in models for key in model.model_fields))


def _models_in(annotation: Any) -> list[type[Params]]:
    if isinstance(annotation, type) and issubclass(annotation, Params):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


class Budget(Params):
    """How much to select: exactly one of rows, tokens of the base model, or a fraction of the rows."""

    rows: int | None = None
    tokens: int | None = None
    fraction: float | None = None

    @model_validator(mode="after")
    def _check(self) -> "Budget":
        given = {k: v for k, v in self if v is not None}
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of rows, tokens and fraction (got {', '.join(given) or 'none'})"
            )
        name, value = next(iter(given.items()))
        if not value > 0 or (name == "fraction" and value > 1):
            limit = "above 0 and at most 1" if name == "fraction" else "above 0"
            raise ValueError(f"{name} must be {limit} (got {value})")
        return self

    def __str__(self) -> str:
        name, value = next((k, v) for k, v in self if v is not None)
        if name == "fraction":
            return "all rows" if value == 1 else f"{value:.4g} of the rows"
        return f"{value:,} {name}"


def _read_budget(value: Any) -> Any:
    """Return a bare number as a budget: a whole one as rows, one below 1 as a fraction of the rows."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, int):
        return {"rows": value}
    if 0 < value < 1:
        return {"fraction": value}
    raise ValueError("write a number of rows (100), a fraction below 1 (0.05) or {tokens: 20000}")


ShortBudget = Annotated[
    Budget, BeforeValidator(_read_budget, json_schema_input_type=Budget | int | float)
]


class Share(Params):
    """How much of the budget groups of rows may or must take, as shares from 0 to 1."""

    by: str = Field(description="what makes the groups: source, origin or STAGE.COLUMN")
    most: Annotated[float, Field(ge=0, le=1)] | dict[str, Annotated[float, Field(ge=0, le=1)]] = (
        Field(1.0, description="cap of every group, or of the groups named")
    )
    least: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {}, description="quota of the groups named, as far as they have rows"
    )

    @model_validator(mode="after")
    def _check(self) -> "Share":
        if sum(self.least.values()) > 1 + 1e-9:
            raise ValueError(
                f"the quotas add up to {sum(self.least.values()):.4g}, which is above 1"
            )
        for name, share in self.least.items():
            if share > self.cap(name):
                raise ValueError(f"the quota of {name!r} is above its cap of {self.cap(name)}")
        return self

    def cap(self, group: str) -> float:
        """Return a group's cap."""
        return self.most if isinstance(self.most, float) else self.most.get(group, 1.0)


class Diversity(Params):
    """Pass over rows that are too similar to one that ranks higher (cosine of their embeddings)."""

    most: float = Field(0.9, gt=0, le=1, description="rows from this similarity on are passed over")
    embedder: str | None = Field(None, description="the run's own if not given")


class SelectParams(Params):
    """What all selectors take: a budget, and what may stand between a row's rank and its choice."""

    budget: ShortBudget
    filter: str | None = Field(
        None,
        description="SQL condition on tokens, source, score, STAGE.COLUMN ... that rows must meet",
    )
    shares: list[Share] = Field([], description="caps and quotas of groups of rows")
    diversity: Diversity | None = None


@dataclass(frozen=True)
class StageData:
    """What a stage reads: the rows that are still in, example sets, earlier evidence, prepared files.

    `evidence` holds the tables of earlier stages by their names, `prepared` those that the stage has
    prepared.
    """

    rows: "pl.LazyFrame"
    target: "pl.DataFrame | None" = None
    eval: "pl.DataFrame | None" = None
    protected: "pl.DataFrame | None" = None
    watch: "pl.DataFrame | None" = None
    evidence: "Mapping[str, pl.LazyFrame]" = field(default_factory=dict)
    prepared: Mapping[str, TableFile] = field(default_factory=dict)


@dataclass(frozen=True)
class StageResult:
    """What a stage writes: a verdict for every row that it read, and tables beside it.

    evidence has the columns row_id, keep, reason, score, threshold, duplicate_of, and others that the
    conditions of a selection can speak of as STAGE.COLUMN.
    """

    evidence: "pl.DataFrame"
    tables: "Mapping[str, pl.DataFrame]" = field(default_factory=dict)


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

    rows: Table
    kept: Table
    tokens: Table
    target: Table | None

    @property
    def evidence(self) -> Mapping[str, Table]:
        """Return what the stages found, by their names."""
        ...

    def with_kept(self, kept: Table) -> "ScoreRun":
        """Return the same run with fewer kept rows."""
        ...


Prepare = Callable[[StepRun, StageInputs, Any], Mapping[str, Table]]


@dataclass(frozen=True)
class Stage:
    """A registered stage: what is expensive (`prepare`), stored once, and a cheap verdict on it.

    `prepare(run, data, params)` stores what is expensive and returns tables by name; `data` are the
    rows, the evidence of earlier stages and the example sets. Rows that a stage makes (corrections) are
    such a table too, by the name APPENDED; they join the pool behind the stage. `rethresholdable` names
    the parameters that nothing prepared depends on: they can be changed later, on what is stored.
    `calls` says how many a language model gets at most, given the parameters and the number of rows.
    `reads_base` says whether the base model reads the rows, given the parameters; `rates`, whether some
    other model does.
    `guards` names what it keeps out of all that is trained on, so that no ablation leaves it out.
    `check` raises a UserError, before anything is run, if what the parameters name is not installed.
    `uses` names the example sets ("target", "eval", "protected", "watch") that the stage depends on; of
    those in `needs` it must have at least one.
    """

    params: type[Params]
    version: int
    decide: Callable[[StageData, Any], StageResult]
    uses: tuple[str, ...]
    needs: tuple[str, ...]
    prepare: Prepare | None
    rethresholdable: tuple[str, ...]
    calls: Callable[[Any, int], int] | None = None
    reads_base: Callable[[Any], bool] = lambda params: False
    check: Callable[[Any], object] = lambda params: None
    rates: bool = False
    guards: str | None = None

    def runs_model(self, params: Any) -> bool:
        """Return whether a language model or classifier is asked about, or reads, every row."""
        return self.calls is not None or self.rates or self.reads_base(params)


@dataclass(frozen=True)
class ResponseLimit:
    """What a method must see of a row's response to score it: tokens, within the row's first ones.

    max_length: tokens of a row that are read; tokens: fewest of the response among them; model: that
    reads them, the base model if None; setting: what a recipe calls the limit.
    """

    max_length: int
    tokens: int = 1
    model: str | None = None
    setting: str = "its max_length"


@dataclass(frozen=True)
class Selector:
    """A registered selector: an expensive score, stored once, and a cheap ranking made from it.

    `score` returns a stored table: row_id, score (higher is better), nearest_id and
    whatever else `rank` reads. `rank` returns row numbers of that table, best first. `rank_params` names
    the parameters that `rank` alone reads, so that another ranking needs no other scores; a method that
    does not need scores ranks any method's table. `renders_target` says that the base model reads the
    target examples, in its chat template. For a method that is a plain draw, `needs_tokens` is
    false: rows are counted in tokens only where a budget or condition speaks of them.

    `unscored` says why a row of the table has no score, null for one that has (by default a row whose
    `score` is a finite number); `rank` is given no other rows than those, see curate.select.scored.
    `response` says what it must see of a row's response, where it reads that.

    `score_more` scores further rows (a table like the kept ones) as `score` did the run's own, so that
    both tables are one; None where a score depends on which other rows there are.
    """

    params: type[SelectParams]
    version: int
    needs_target: bool
    score: Callable[[ScoreRun, Any], Table]
    rank: "Callable[[pl.DataFrame, Any, int], NDArray[np.int64]]"
    rank_params: tuple[str, ...] = ()
    needs_scores: bool = True
    needs_tokens: bool = True
    renders_target: bool = False
    unscored: "Callable[[pl.DataFrame, Any], pl.Series] | None" = None
    response: Callable[[Any], ResponseLimit | None] = lambda params: None
    score_more: Callable[[ScoreRun, Any, Table], Table] | None = None


def by_row(
    score: Callable[[ScoreRun, Any], Table],
) -> Callable[[ScoreRun, Any, Table], Table]:
    """Return the `score_more` of a method whose scores depend on a row and the target alone."""
    return lambda run, params, rows: score(run.with_kept(rows), params)


# The artifact of rows that a stage makes, with the schema of rows, each with its parents.
APPENDED = "made"
F = TypeVar("F", bound=Callable[..., Any])
STAGES: dict[str, Stage] = {}
SELECTORS: dict[str, Selector] = {}


def stage(
    params: type[Params],
    *,
    version: int,
    uses: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    prepare: Prepare | None = None,
    rethresholdable: tuple[str, ...] = (),
    calls: Callable[[Any, int], int] | None = None,
    reads_base: Callable[[Any], bool] = lambda params: False,
    check: Callable[[Any], object] = lambda params: None,
    rates: bool = False,
    guards: str | None = None,
) -> Callable[[F], F]:
    """Register a stage under the `kind` of its parameters."""

    def register(function: F) -> F:
        kind = params.model_fields["kind"].default
        STAGES[kind] = Stage(
            params, version, function, uses, needs, prepare, rethresholdable, calls, reads_base, check,
            rates, guards,
        )  # fmt: skip
        return function

    return register


def add_selector(selector: Selector) -> None:
    """Register a selector under the `method` of its parameters."""
    SELECTORS[selector.params.model_fields["method"].default] = selector


def check_stages(stages: Sequence[Params]) -> None:
    """Fail if what a recipe's stages name is not installed.

    Raises:
        UserError: it is not; what to install.
    """
    for params in stages:
        find_stage(params.model_dump()["kind"]).check(params)


def load_stages() -> None:
    """Import every stage, so that it registers itself."""
    load_methods("curate.clean")
    load_methods("curate.judge")


def find_stage(kind: str) -> Stage:
    """Return a stage, also in a process that has imported nothing else yet."""
    load_stages()
    return STAGES[kind]


def find_selector(method: str) -> Selector:
    """Return a selector, also in a process that has imported nothing else yet."""
    load_methods("curate.select")
    return SELECTORS[method]


@cache
def load_methods(package: str) -> None:
    """Import every module of a package, so that what is in it registers itself."""
    folder = importlib.import_module(package).__path__
    for module in sorted(pkgutil.iter_modules(folder), key=lambda m: m.name):
        importlib.import_module(f"{package}.{module.name}")
