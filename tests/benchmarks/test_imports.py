"""Benchmarks run seldom and by hand: what they take from this repository is checked every time."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent
SIBLINGS = {path.stem for path in BENCHMARKS.glob("*.py") if not path.stem.startswith("test_")}
OWN = {"curate", "flows", "tests"} | SIBLINGS
STALE = {
    "from curate.core.store import Shop": "curate.core.store has no Shop",
    "from curate.shop import Store": "No module named 'curate.shop'",
    "import curate.shop": "No module named 'curate.shop'",
    "def late():\n    from pools import no_such_pool": "pools has no no_such_pool",
    "from curate.core import store\nstore.Shop": "store.Shop is gone",
    "from curate.config.recipe import Config\nConfig.guess({})": "Config.guess is gone",
    "from curate.core.store import digest_of\ndigest_of()": "digest_of: missing a required argument",
    "from curate.core.calls import Table\nTable('a', 'b', colour=1)": "Table: got an unexpected",
}
SOUND = """
import no_such_peer
from no_such_peer import anything
from curate.core import store
from curate.core.calls import Table as Work
from curate.core.digests import digest_of
from pools import *
store.Store.find, digest_of(1), digest_of(*[]), Work("a", name="b"), anything(1, 2)
def inner(Work): return Work(colour=1)
"""


@pytest.fixture(autouse=True)
def _beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import siblings as a benchmark does, which is started by its path; then forget them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in SIBLINGS:
        sys.modules.pop(name, None)


def stale_uses(source: str) -> list[str]:
    """Return what a program takes from this repository that is not, or no longer so, in it."""
    tree = ast.parse(source)
    objects: dict[str, Any] = {}
    faults = [fault for node in ast.walk(tree) for fault in _import(node, objects)]
    for name in _bound_names(tree) & set(objects):
        del objects[name]
    return faults + [fault for node in ast.walk(tree) for fault in _misuse(node, objects)]


def _import(node: ast.AST, objects: dict[str, Any]) -> Iterator[str]:
    """Bind what a statement imports of this repository; yield what it cannot."""
    if isinstance(node, ast.Import):
        modules: list[tuple[str, list[ast.alias]]] = [(alias.name, []) for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        modules = [(node.module, [alias for alias in node.names if alias.name != "*"])]
    else:
        return
    for name, aliases in modules:
        if name.split(".")[0] not in OWN:
            continue
        try:
            module = import_module(name)
        except ImportError as error:
            # A benchmark that this one imports may need a package that is not installed.
            if (error.name or "").split(".")[0] in OWN:
                yield str(error)
            continue
        for alias in aliases:
            member = _member(module, alias.name)
            if member is None:
                yield f"{name} has no {alias.name}"
            objects[alias.asname or alias.name] = member


def _member(module: ModuleType, name: str) -> Any:
    if hasattr(module, name):
        return getattr(module, name)
    try:
        return import_module(f"{module.__name__}.{name}")
    except ModuleNotFoundError:
        return None


def _bound_names(tree: ast.AST) -> set[str]:
    """Return the names that a program gives to something of its own."""
    stored = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return stored | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def _misuse(node: ast.AST, objects: dict[str, Any]) -> Iterator[str]:
    """Yield an attribute that a module or class lacks, and arguments that a function does not take."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        owner = objects.get(node.value.id)
        if isinstance(owner, ModuleType | type) and not hasattr(owner, node.attr):
            yield f"{node.value.id}.{node.attr} is gone"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        function = objects.get(node.func.id)
        names = [keyword.arg for keyword in node.keywords]
        open_ended = None in names or any(isinstance(a, ast.Starred) for a in node.args)
        if not callable(function) or open_ended:
            return
        try:
            inspect.signature(function).bind(*node.args, **dict.fromkeys(filter(None, names)))
        except TypeError as error:
            yield f"{node.func.id}: {error}"


@pytest.mark.parametrize("name", sorted(SIBLINGS))
def test_a_benchmark_uses_what_there_is(name: str) -> None:
    assert stale_uses((BENCHMARKS / f"{name}.py").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("source", STALE)
def test_a_stale_use_is_noticed(source: str) -> None:
    (fault,) = stale_uses(source)
    assert fault.startswith(STALE[source])


def test_packages_that_are_not_installed_and_names_of_its_own_are_no_fault() -> None:
    assert stale_uses(SOUND) == []
