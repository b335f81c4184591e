"""Source of stored steps: which code of the package each reaches, and a digest of it.

A step's artifact is reused as long as its name, version, parameters and inputs stay. Nobody must forget
to raise a version, so versions.lock records, for every function whose results are stored, a digest of
all that it reaches: functions, classes and constants of curate/ by name, followed through imports.

    score-rds   4   1f0c...

Comments, docstrings, decorators and annotations of functions are no code here. Methods that are looked
up by name while a step runs (verdicts, rankings, generation) have lines of their own: stage:exact.

Example: scores of select/rds.py calls similarity_table, which reads DECIMALS. A change of DECIMALS moves
the digests of rds, embed, bm25 and every other function that returns similarities.
"""

import ast
import hashlib
import importlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from curate.core.calls import FUNCTIONS, Cached
from curate.core.methods import Method, methods_in
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.generate.generation import Generator
from tests.structure import module_paths, syntax_tree

REPO = Path(__file__).parents[1]
# The families, and what a line of a method is called. What a method prepares or scores has lines of its
# own, and how many calls it takes is stored nowhere.
FAMILIES: dict[str, type[Method]] = {"stage": Stage, "generate": Generator, "select": Selector}
ELSEWHERE = ("prepare", "score_rows", "score_more", "cost", "members", "check")
# Fields of a syntax tree that are no code here.
PROSE = {ast.FunctionDef: ("decorator_list", "returns"), ast.arg: ("annotation",)}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Module:
    """A module's definitions by name, and what its imports stand for: a module and a name in it."""

    definitions: dict[str, list[Definition]]
    imports: dict[str, tuple[str, str | None]]


@dataclass(frozen=True)
class StepFunction:
    """What makes a stored result: its name, its versions, and its functions (module, name)."""

    name: str
    version: str
    functions: tuple[tuple[str, str], ...]


@cache
def _paths() -> dict[str, Path]:
    return module_paths(REPO)


def tree_of(module: str) -> ast.Module:
    """Return the syntax tree of a module of the package."""
    return syntax_tree(_paths()[module])


@cache
def read_module(module: str) -> Module:
    """Return definitions and imports at the top of a module, those under `if` and `else` among them."""
    definitions: dict[str, list[Definition]] = {}
    imports: dict[str, tuple[str, str | None]] = {}
    for node in _top_nodes(tree_of(module).body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports[alias.asname or alias.name.partition(".")[0]] = alias.name, None
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                imports[alias.asname or alias.name] = _imported(node.module, alias.name)
        elif isinstance(node, Definition):
            for name in _bound(node):
                definitions.setdefault(name, []).append(node)
            for name, function in _methods(node):
                definitions.setdefault(name, []).append(function)
    return Module(definitions, imports)


def _methods(node: Definition) -> Iterator[tuple[str, ast.FunctionDef]]:
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef):
                yield f"{node.name}.{inner.name}", inner


def _top_nodes(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _top_nodes([*node.body, *node.orelse])
        else:
            yield node


def _imported(module: str, name: str) -> tuple[str, str | None]:
    return (f"{module}.{name}", None) if f"{module}.{name}" in _paths() else (module, name)


def _bound(node: Definition) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]


def reached(module: str, name: str) -> set[tuple[str, str]]:
    """Return the definitions (module, name) of the package that one reaches, itself among them."""
    seen: set[tuple[str, str]] = set()
    waiting = {*_definition_of(module, name)}
    while waiting:
        place = waiting.pop()
        seen.add(place)
        waiting |= references_of(*place) - seen
    return seen


@cache
def _definition_of(module: str, name: str) -> frozenset[tuple[str, str]]:
    """Return the definition of the package that a name in a module stands for, if it is one."""
    if module not in _paths():
        return frozenset()
    if name in read_module(module).definitions:
        return frozenset({(module, name)})
    target, symbol = read_module(module).imports.get(name, ("", None))
    return _definition_of(target, symbol) if symbol else frozenset()


@cache
def code_of(module: str, name: str) -> str:
    """Return the code of a definition without its prose."""
    trees = [
        _Prose().visit(ast.parse(ast.unparse(node)))
        for node in read_module(module).definitions[name]
    ]
    return "\n".join(map(ast.dump, trees))


@cache
def references_of(module: str, name: str) -> frozenset[tuple[str, str]]:
    """Return the definitions (module, name) of the package that one names, its prose aside."""
    places = {
        place
        for node in read_module(module).definitions[name]
        for place in _references(module, node)
    }
    return frozenset().union(*(_definition_of(*place) for place in places))


def _references(module: str, definition: Definition) -> Iterator[tuple[str, str]]:
    """Yield what names and attributes of modules in a definition stand for."""
    imports = read_module(module).imports
    for inner in _code_nodes(definition):
        if isinstance(inner, ast.Name):
            yield module, inner.id
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            target, symbol = imports.get(inner.value.id, ("", None))
            if symbol is None:
                yield target, inner.attr
        elif isinstance(inner, ast.ImportFrom) and inner.module:
            for alias in inner.names:
                yield _imported(inner.module, alias.name)[0], alias.name


def _code_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree that _Prose leaves in it; docstrings, which refer to nothing, too."""
    yield node
    skipped = PROSE.get(type(node), ())
    for name, value in ast.iter_fields(node):
        if name not in skipped:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _code_nodes(child)


class _Prose(ast.NodeTransformer):
    """Takes docstrings and the annotations of functions out of a tree."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        # A registration names much that the function itself does not reach.
        node.decorator_list = []
        self.generic_visit(node)
        node.returns = None
        _drop_docstring(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        _drop_docstring(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


def _drop_docstring(node: ast.FunctionDef | ast.ClassDef) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.Pass()]


def source_digest(functions: Collection[tuple[str, str]]) -> str:
    """Return 16 hex digits of all code that functions (module, name) reach.

    Raises:
        KeyError: there is no such function.
    """
    places = set()
    for module, name in functions:
        places |= reached(module, name)
        if (module, name) not in places:
            raise KeyError(f"{module}.{name}")
    digest = hashlib.blake2b(digest_size=8)
    for module, name in sorted(places):
        digest.update(f"{module}.{name} {code_of(module, name)}\n".encode())
    return digest.hexdigest()


def step_functions() -> list[StepFunction]:
    """Return everything whose results are stored, by name: cached functions, and registered methods."""
    functions = [
        StepFunction(name, str(function.version), ((function.__module__, function.__name__),))
        for name, function in cached_functions().items()
    ]
    return sorted([*functions, *_registered()], key=lambda step: step.name)


def cached_functions() -> dict[str, Cached[..., Any]]:
    """Return the cached functions of the package, by the names of their artifacts."""
    for module in _paths():
        # Those of orchestration want packages of extras, and store no results of their own.
        if module.split(".")[0] == "curate" and not module.startswith("curate.orchestration"):
            importlib.import_module(module)
    return {n: f for n, f in FUNCTIONS.items() if f.__module__.startswith("curate.")}


def _registered() -> Iterator[StepFunction]:
    """Yield what methods do that are looked up by name while a call runs: verdicts, orders, rows."""
    for word, family in FAMILIES.items():
        for name, cls in methods_in(family).items():
            owned = read_module(cls.__module__).definitions
            places = [
                (cls.__module__, place)
                for place in owned
                if place.startswith(f"{cls.__name__}.") and place.split(".")[1] not in ELSEWHERE
            ]
            yield StepFunction(f"{word}:{name}", str(cls.version), tuple(places))
