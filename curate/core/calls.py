"""Cached calls: a typed function whose result is stored under a digest of its arguments.

    @cached(version=1, name="score-length")
    def scores(responses: Table, tokens: Table, which: str, order: str) -> pl.DataFrame: ...

    table = run(scores, responses=counted, tokens=run.tokens, which="row", order="longest")   # a Table
    tables = run.map(vectors, row_blocks(run, run.rows, positions), run.base)            # one a block

An argument is a Table or an Artifact, or a list or dictionary of these (their digests go into the key),
a Keyed thing or a list of such (what identifies it does, where it lies does not), or a plain value. None
for an argument that need not be there is not in the key.

The function returns a frame, or a lazy one that is written as it is computed, or an array, with figures
of its own as Counted(result, counts); it is stored as a file of the function's name, here
scores.parquet. What is no table a function of @cached_files writes to a folder. A call pickles: it names
its function by module and name, and says which artifacts it opens (`reads`) and what it is best run with
(`wants`).
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.jsontypes import JSON
from curate.core.keyed import Keyed
from curate.core.store import Artifact, Computation, Counts, Store, key_of
from curate.core.tables import read_table, scan_table, table_rows, write_table
from curate.core.wants import ONE_CORE, Wants, WantsOf
from curate.core.workload import SharedPass

P = ParamSpec("P")
R = TypeVar("R")
# What a run returns for a call: a Table or an Artifact.
T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True)
class Table:
    """A stored table or array: a file of an artifact, or a folder of files that follow one another."""

    artifact: Artifact
    name: str

    @property
    def path(self) -> Path:
        """Return the path of its Parquet file, where it is a single one."""
        return self.artifact.file(f"{self.name}.parquet")

    @property
    def paths(self) -> list[Path]:
        """Return the paths of its Parquet files, in the order of their rows."""
        parts = sorted(file for file in self.artifact.files if file.startswith(f"{self.name}/"))
        return [self.artifact.file(part) for part in parts] or [self.path]

    @property
    def height(self) -> int:
        """Return the number of rows."""
        return int(self.artifact.counts["rows_out"])

    def scan(self) -> pl.LazyFrame:
        """Return the rows, read when they are collected."""
        return scan_table(self.paths)

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows, or some columns of them."""
        return read_table(self.paths, columns=columns)

    def array(self) -> NDArray[Any]:
        """Return the array, mapped into memory."""
        path = self.artifact.file(f"{self.name}.npy")
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array


# What most arguments are; whether something is keyed takes as long to tell as all the rest of a key.
UNKEYED = (str, int, float, type(None), dict, Table, Artifact)


@dataclass(frozen=True)
class TableGroup:
    """Tables that go together as one argument; its fields make the key as arguments of their names do.

    A field is a table, a tuple or dictionary of tables, or None; what is empty is not in the key.
    """


@dataclass(frozen=True)
class Counted(Generic[R]):
    """A result with figures that a run tells of: rows by reason, tokens, calls of a model."""

    result: R
    counts: Mapping[str, JSON]


class Cached(Generic[P, T]):
    """A function whose results are stored: `run(function, ...)` stores what it makes of arguments."""

    def __init__(
        self, function: Callable[..., Any], version: int, name: str, title: str, wants: WantsOf
    ) -> None:
        self.function, self.version, self.name = function, version, name
        self.title, self.wants = title, wants
        self.__doc__, self.__module__ = function.__doc__, function.__module__
        self.__name__, self.__qualname__ = function.__name__, function.__qualname__

    def __reduce__(self) -> str:
        """Pickle by module and name."""
        return self.__qualname__

    def call(self, *args: P.args, **kwargs: P.kwargs) -> "CachedCall[T]":
        """Return the call with these arguments, which runs nothing yet.

        Raises:
            TypeError: the arguments are not those of the function.
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        call = CachedCall(self, bound.arguments, self.name, self.version)
        names = call.names
        if len(set(names)) < len(names):
            raise TypeError(f"{self.__name__}: a group has a table of an argument's name: {names}")
        return call

    @cached_property
    def signature(self) -> inspect.Signature:
        """Return the parameters of a call."""
        return inspect.signature(self.function)

    def stored(self, artifact: Artifact) -> T:
        """Return a call's result, which the artifact holds."""
        raise NotImplementedError

    def write(self, out: Path, arguments: Mapping[str, object]) -> Counts:
        """Compute the result and write it to a folder."""
        raise NotImplementedError


class CachedFunction(Cached[P, Table], Generic[P, R]):
    """A function that returns a frame or an array. Calling it computes and stores nothing."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returns."""
        result: R = self.function(*args, **kwargs)
        return result

    def stored(self, artifact: Artifact) -> Table:
        """Return the table or array that the artifact holds."""
        return Table(artifact, self.__name__)

    def write(self, out: Path, arguments: Mapping[str, object]) -> Counts:
        """Write the frame or array to a file of the function's name."""
        result = self.function(**arguments)
        counts: Mapping[str, JSON] = {}
        if isinstance(result, Counted):
            result, counts = result.result, result.counts
        rows = _write(out, self.__name__, result)
        return {"rows_in": rows, "rows_out": rows, **counts}


class CachedFiles(Cached[P, Artifact]):
    """A function that writes files to a folder, its first argument, and returns counts."""

    def __call__(self, out: Path, *args: P.args, **kwargs: P.kwargs) -> Counts:
        """Write the files to a folder that is no artifact."""
        counts: Counts = self.function(out, *args, **kwargs)
        return counts

    @cached_property
    def signature(self) -> inspect.Signature:
        """Return the parameters of a call: all but the folder."""
        signature = inspect.signature(self.function)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def stored(self, artifact: Artifact) -> Artifact:
        """Return the artifact itself."""
        return artifact

    def write(self, out: Path, arguments: Mapping[str, object]) -> Counts:
        """Let the function write its files."""
        counts: Counts = self.function(out, **arguments)
        return counts


FUNCTIONS: dict[str, Cached[..., Any]] = {}


def cached(
    *, version: int, name: str, title: str = "", wants: WantsOf = ONE_CORE
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]:
    """Return a decorator for functions whose result, a frame or an array, is stored.

    Args:
        version: part of the key; a function whose results change needs a new one.
        name: of its artifacts, which no other function has.
        title: what it does, in words, for the report; made of the name if not given.
        wants: what its calls are best run with, or a function of their arguments that says so.

    Raises:
        ValueError: another function has the name, or this one lies inside a function or class.
    """
    return lambda function: _registered(CachedFunction(function, version, name, title, wants))


def cached_files(
    *, version: int, name: str, title: str = "", wants: WantsOf = ONE_CORE
) -> Callable[[Callable[Concatenate[Path, P], Counts]], CachedFiles[P]]:
    """Return a decorator for functions that write what is stored to a folder, their first argument.

    Args:
        version: part of the key; a function whose results change needs a new one.
        name: of its artifacts, which no other function has.
        title: what it does, in words, for the report; made of the name if not given.
        wants: what its calls are best run with, or a function of their arguments that says so.

    Raises:
        ValueError: another function has the name, or this one lies inside a function or class.
    """
    return lambda function: _registered(CachedFiles(function, version, name, title, wants))


C = TypeVar("C", bound=Cached[..., Any])


def _registered(function: C) -> C:
    """Return a cached function after putting it on the list of all."""
    if "." in function.__qualname__:
        raise ValueError(f"{function.__qualname__}: a cached function stands in a module")
    other = FUNCTIONS.get(function.name)
    place = function.__module__, function.__qualname__
    if other is not None and (other.__module__, other.__qualname__) != place:
        raise ValueError(f"{function.name}: {other.__module__} has a cached function of this name")
    FUNCTIONS[function.name] = function
    return function


@dataclass(frozen=True)
class CachedCall(Generic[T]):
    """A cached function with all of its arguments."""

    function: Cached[..., T]
    arguments: Mapping[str, Any]
    name: str
    version: int

    def named(self, name: str, version: int | None = None) -> Self:
        """Return the call with a name, and a version, of its own: another artifact."""
        return replace(self, name=name, version=self.version if version is None else version)

    @property
    def reads(self) -> list[Artifact]:
        """Return the artifacts that the call opens: those of its key, and those of keyed things."""
        return [*self.inputs.values(), *(artifact for one in self.keyed for artifact in one.reads)]

    @property
    def keyed(self) -> list[Keyed]:
        """Return the keyed things among the arguments: models, engines, blocks of rows."""
        return [one for _, value in self._flat() for one in _keyed(value)]

    @property
    def wants(self) -> Wants:
        """Return what the call is best run with, which is not in its key."""
        wants = self.function.wants
        return wants if isinstance(wants, Wants) else wants(**self.arguments)

    @property
    def inputs(self) -> dict[str, Artifact]:
        """Return the artifacts among the arguments; those of a list are numbered in order."""
        return {name: _artifact_of(v) for n, value in self._flat() for name, v in _stored(n, value)}

    @property
    def params(self) -> dict[str, Any]:
        """Return what else makes the key: plain values, identities, and which table of an artifact.

        A table that has the argument's name needs no mention: kept=Table(artifact, "kept"). A dictionary
        of tables has an order.
        """
        params: dict[str, Any] = {}
        for name, value in self._flat():
            if stored := dict(_stored(name, value)):
                params |= _table_names(name, stored)
                params |= {f"{name}.order": list(value)} if isinstance(value, Mapping) else {}
            else:
                params[name] = _identity(value)
        return params

    @cached_property
    def key(self) -> str:
        """Return the digest that names the call's artifact."""
        return key_of(self)

    def write(self, out: Path) -> Counts:
        """Compute the result and write it to a folder; return its counts."""
        return self.function.write(out, self.arguments)

    @property
    def names(self) -> list[str]:
        """Return the names of the arguments, of a group those of its tables."""
        return [name for name, _ in self._flat()]

    def _flat(self) -> Iterator[tuple[str, Any]]:
        """Yield the arguments by name, the fields of a group for the group, without what is absent."""
        parameters = self.function.signature.parameters
        for name, value in self.arguments.items():
            if isinstance(value, TableGroup):
                yield from ((n, member) for n, member in vars(value).items() if member)
            elif value is not None or parameters[name].default is not None:
                yield name, value


def _stored(name: str, value: Any) -> Iterator[tuple[str, Table | Artifact]]:
    """Yield the tables and artifacts of an argument under the names that they have in a key."""
    members: Any = [("", value)]
    if isinstance(value, Mapping):
        members = [(f"-{key}", member) for key, member in value.items()]
    elif isinstance(value, list | tuple):
        # Names only for what has one: a list may be of a million plain values.
        stored = ((i, one) for i, one in enumerate(value) if isinstance(one, Table | Artifact))
        members = ((f"-{i:03d}", one) for i, one in stored)
    for place, member in members:
        if isinstance(member, Table | Artifact):
            yield f"{name}{place}", member


def _identity(value: Any) -> Any:
    """Return what a plain or keyed argument, or a list of keyed ones, is in a key."""
    identities = [one.identity for one in _keyed(value)]
    if not identities:
        return value
    return identities if isinstance(value, list | tuple) else identities[0]


def _keyed(value: Any) -> list[Keyed]:
    """Return a keyed argument, or the members of a list of such, which are all keyed or none."""
    values = value if isinstance(value, list | tuple) else [value]
    if not values or isinstance(values[0], UNKEYED):
        return []
    return [*values] if isinstance(values[0], Keyed) else []


def _table_names(name: str, stored: Mapping[str, Table | Artifact]) -> dict[str, str]:
    """Return which tables of their artifacts an argument's are, where that needs a mention.

    Of several tables of one name it is that name; of others all of them, in their order.
    """
    tables = {place: member for place, member in stored.items() if isinstance(member, Table)}
    plain = all(t.name in (name, place.removeprefix(f"{name}-")) for place, t in tables.items())
    if plain:
        return {}
    names = [table.name for table in tables.values()]
    return {f"{name}.table": names[0] if len(set(names)) == 1 else ",".join(names)}


def _artifact_of(value: Table | Artifact) -> Artifact:
    return value.artifact if isinstance(value, Table) else value


def _write(out: Path, name: str, result: Any) -> int:
    """Write a frame or an array and return its rows."""
    if isinstance(result, pl.DataFrame | pl.LazyFrame):
        path = out / f"{name}.parquet"
        write_table(result, path)
        return result.height if isinstance(result, pl.DataFrame) else table_rows(path)
    if isinstance(result, np.ndarray):
        np.save(out / f"{name}.npy", result, allow_pickle=False)
        return len(result)
    raise TypeError(f"{name} returns a {type(result).__name__}; a frame or an array is stored")


class CallRunner:
    """Runs cached calls: where, and in which order, is that of `execute_all`."""

    def execute_all(self, computations: Sequence[Computation]) -> list[Artifact]:
        """Return the artifacts of independent computations, made now or found, in their order."""
        raise NotImplementedError

    def is_stored(self, computation: Computation) -> bool:
        """Return whether the artifact of a computation is there already; False where nobody knows."""
        return False

    def shared_pass(self, max_length: int) -> SharedPass:
        """Return what several methods take from a pass of the base model; nothing without a recipe."""
        return SharedPass()

    def execute(self, computation: Computation) -> Artifact:
        """Return the artifact of a computation, made now or found."""
        return self.execute_all([computation])[0]

    def __call__(self, function: Cached[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the stored result of a call, made now or found.

        Raises:
            TypeError: the arguments are not those of the function.
        """
        return self.result(function.call(*args, **kwargs))

    def result(self, call: CachedCall[T]) -> T:
        """Return the stored result of a call, made now or found."""
        return self.results([call])[0]

    def results(self, calls: Sequence[CachedCall[T]]) -> list[T]:
        """Return the stored results of independent calls, made now or found, in their order."""
        artifacts = self.execute_all(calls)
        return [call.function.stored(a) for call, a in zip(calls, artifacts, strict=True)]

    def map(
        self,
        function: Cached[Concatenate[V, P], T],
        values: Sequence[V],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[T]:
        """Return the stored results of one call for each value of the first argument, in their order."""
        return self.results([function.call(value, *args, **kwargs) for value in values])

    def side_by_side(self, function: Callable[[Any, V], T], values: Sequence[V]) -> list[T]:
        """Return what a function makes of this run and each value, in their order.

        The parts do not depend on one another; here they are one after the other.
        """
        return [function(self, value) for value in values]


class StoreRunner(CallRunner):
    """Runs cached calls on a store, one after the other."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def execute_all(self, computations: Sequence[Computation]) -> list[Artifact]:
        """Return the artifacts of independent computations, made now or found, in their order."""
        return [self.store.ensure(computation) for computation in computations]

    def is_stored(self, computation: Computation) -> bool:
        """Return whether the store holds the artifact of a computation."""
        return self.store.look_up(computation) is not None
