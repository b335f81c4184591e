"""Cached calls: a typed function whose result is stored under a digest of its arguments.

    @cached(version=1, name="score-length")
    def scores(responses: Table, tokens: Table, which: str, order: str) -> pl.DataFrame: ...

    table = run(scores, responses=counted, tokens=run.tokens, which="row", order="longest")   # a Table

An argument is a Table or a list of them (the digest of its artifact goes into the key), a Keyed thing
(its identity does, where it lies does not), or a plain value. The function returns a frame or an array,
with figures of its own as Counted(result, counts); it is stored as a file of the function's name, here
scores.parquet. A call pickles, since it names its function by module and name.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table, scan_table

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Table:
    """A stored table or array: a file of an artifact."""

    artifact: Artifact
    name: str

    @property
    def path(self) -> Path:
        """Return the path of its Parquet file."""
        return self.artifact.file(f"{self.name}.parquet")

    def scan(self) -> pl.LazyFrame:
        """Return the rows, read when they are collected."""
        return scan_table(self.path)

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows, or some columns of them."""
        return read_table(self.path, columns=columns)

    def array(self) -> NDArray[Any]:
        """Return the array, mapped into memory."""
        path = self.artifact.file(f"{self.name}.npy")
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array


@dataclass(frozen=True)
class Keyed:
    """What is identified by something other than where it lies: a model, an engine, a block of rows.

    `identity` is a JSON-like value and goes into the key; `location` says where a worker finds it, and
    `reads` names the artifacts that it lies in.
    """

    identity: Any
    location: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[Artifact, ...] = ()


@dataclass(frozen=True)
class Counted(Generic[R]):
    """A result with figures that a run tells of: rows by reason, tokens, calls of a model."""

    result: R
    counts: Mapping[str, Any]


class CachedFunction(Generic[P, R]):
    """A function whose results are stored. Calling it computes; `run(function, ...)` stores."""

    def __init__(self, function: Callable[P, R], version: int, name: str) -> None:
        self.function, self.version, self.name = function, version, name
        self.__doc__, self.__module__ = function.__doc__, function.__module__
        self.__name__, self.__qualname__ = function.__name__, function.__qualname__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returns; nothing is stored."""
        return self.function(*args, **kwargs)

    def __reduce__(self) -> str:
        """Pickle by module and name."""
        return self.__qualname__


FUNCTIONS: dict[str, CachedFunction[..., Any]] = {}


def cached(*, version: int, name: str) -> Callable[[Callable[P, R]], CachedFunction[P, R]]:
    """Return a decorator for functions whose results are stored.

    Args:
        version: part of the key; a function whose results change needs a new one.
        name: of its artifacts, which no other function has.

    Raises:
        ValueError: another function has the name, or this one lies inside a function or class.
    """

    def decorate(function: Callable[P, R]) -> CachedFunction[P, R]:
        if "." in function.__qualname__:
            raise ValueError(f"{function.__qualname__}: a cached function stands in a module")
        other = FUNCTIONS.get(name)
        place = function.__module__, function.__qualname__
        if other is not None and (other.__module__, other.__qualname__) != place:
            raise ValueError(f"{name}: {other.__module__} has a cached function of this name")
        decorated = CachedFunction(function, version, name)
        FUNCTIONS[name] = decorated
        return decorated

    return decorate


@dataclass(frozen=True)
class CachedCall:
    """A cached function with all of its arguments."""

    function: CachedFunction[..., Any]
    arguments: Mapping[str, Any]

    @property
    def reads(self) -> list[Artifact]:
        """Return the artifacts that the call opens: those of its key, and those of keyed things."""
        keyed = [value for value in self.arguments.values() if isinstance(value, Keyed)]
        return [*self._inputs().values(), *(artifact for one in keyed for artifact in one.reads)]

    @property
    def step(self) -> Step:
        """Return the step that stores the result."""
        function = self.function
        return Step(
            function.name, function.version, CallWriter(self), self._inputs(), self._params()
        )

    def _inputs(self) -> dict[str, Artifact]:
        """Return the artifacts of tables among the arguments; those of a list are numbered in order."""
        inputs: dict[str, Artifact] = {}
        for name, value in self.arguments.items():
            if isinstance(value, Table):
                inputs[name] = value.artifact
            elif _is_tables(value):
                inputs |= {f"{name}-{i:05d}": table.artifact for i, table in enumerate(value)}
        return inputs

    def _params(self) -> dict[str, Any]:
        """Return what else makes the key: plain values, identities, and which table of an artifact.

        A table that has the argument's name needs no mention: kept=Table(artifact, "kept").
        """
        params: dict[str, Any] = {}
        for name, value in self.arguments.items():
            if isinstance(value, Table) or _is_tables(value):
                tables = [value] if isinstance(value, Table) else value
                params |= {f"{name}.table": t.name for t in tables[:1] if t.name != name}
            else:
                params[name] = value.identity if isinstance(value, Keyed) else value
        return params


@dataclass(frozen=True)
class CallWriter:
    """The function of a step: computes a call and writes its result to a folder."""

    call: CachedCall

    def __call__(self, out: Path, *_: Any) -> Counts:
        """Write the result; return its counts."""
        function = self.call.function
        result = function(**self.call.arguments)
        counts: Mapping[str, Any] = {}
        if isinstance(result, Counted):
            result, counts = result.result, result.counts
        rows = _write(out, function.__name__, result)
        return {"rows_in": rows, "rows_out": rows, **counts}


def _write(out: Path, name: str, result: Any) -> int:
    """Write a frame or an array and return its rows."""
    if isinstance(result, pl.DataFrame):
        result.write_parquet(out / f"{name}.parquet")
        return result.height
    if isinstance(result, np.ndarray):
        np.save(out / f"{name}.npy", result, allow_pickle=False)
        return len(result)
    raise TypeError(f"{name} returns a {type(result).__name__}; a frame or an array is stored")


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Table)


class CallRunner:
    """Runs cached calls by executing the steps that store their results."""

    def execute(self, step: Step) -> Artifact:
        """Return the step's artifact, made now or found."""
        raise NotImplementedError

    def __call__(self, function: CachedFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> Table:
        """Return the stored result of a call, made now or found.

        Raises:
            TypeError: the arguments are not those of the function.
        """
        bound = inspect.signature(function.function).bind(*args, **kwargs)
        bound.apply_defaults()
        return Table(self.execute(CachedCall(function, bound.arguments).step), function.__name__)
