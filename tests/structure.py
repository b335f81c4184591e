"""Figures of the code's structure: circles, inline imports, untyped mappings, lines.

package components larger than one   packages that reach one another in a circle
file components larger than one      files that do, lazy and TYPE_CHECKING imports counted
inline imports                       import statements inside functions, cli.py aside
Mapping[str, Any]                    places that a dataclass would say more in
file lines                           median and largest
code lines                           of curate/ and flows/, without blank lines, comments and docstrings
"""

import ast
import gc
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

PACKAGES = ("curate", "flows")
UNTYPED = re.compile(r"\bMapping\[str, Any\]")


@dataclass(frozen=True)
class Import:
    """An import of one module of the project by another; `inline` stands inside a function."""

    importer: str
    imported: str
    line: int
    inline: bool


def module_paths(root: Path) -> dict[str, Path]:
    """Return the files of all modules by their dotted names."""
    paths = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


def imports_of(paths: Mapping[str, Path]) -> list[Import]:
    """Return every import between modules of the project, wherever it stands."""
    modules = set(paths)
    return [one for name, path in paths.items() for one in _imports(name, path, modules)]


def _imports(name: str, path: Path, modules: set[str]) -> Iterator[Import]:
    for node, inline in _import_nodes(path):
        for imported in _names(node):
            # `from curate import store` imports a module, `from curate.core.store import Step` a name.
            target = imported if imported in modules else imported.rpartition(".")[0]
            if target in modules and target != name:
                yield Import(name, target, node.lineno, inline)


@cache
def syntax_tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file, read once for all checks of the source."""
    tree = parse(path)
    # The collector would look through all trees again and again, of which none ever goes.
    gc.freeze()
    return tree


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file, in a third of the time that the collector would make of it."""
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()


@cache
def syntax_nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a file, in the order of `ast.walk`, which takes as long as parsing."""
    return tuple(ast.walk(syntax_tree(path)))


@cache
def _import_nodes(path: Path) -> list[tuple[ast.Import | ast.ImportFrom, bool]]:
    imports: list[tuple[ast.Import | ast.ImportFrom, bool]] = []
    nodes: list[tuple[ast.AST, bool]] = [(syntax_tree(path), False)]
    while nodes:
        node, inline = nodes.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append((node, inline))
        elif not isinstance(node, ast.expr):
            within = inline or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            nodes += [(child, within) for child in reversed([*ast.iter_child_nodes(node)])]
    return imports


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def circles(edges: list[tuple[str, str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one node, each sorted."""
    nodes = sorted({node for edge in edges for node in edge})
    number = {node: i for i, node in enumerate(nodes)}
    ends = np.array([[number[one], number[other]] for one, other in edges], dtype=np.int64)
    ends = ends.reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges)), tuple(ends)), shape=(len(nodes), len(nodes)))
    count, component = connected_components(graph, connection="strong")
    members = [[nodes[i] for i in np.flatnonzero(component == c)] for c in range(count)]
    return sorted(nodes for nodes in members if len(nodes) > 1)


def package_of(module: str) -> str:
    """Return the package right under curate/ that a module lies in, or the module itself."""
    return ".".join(module.split(".")[:2])


def inline_imports(paths: Mapping[str, Path]) -> int:
    """Return how many import statements stand inside functions, those of cli.py aside."""
    files = [path for name, path in paths.items() if name != "curate.cli"]
    return sum(inline for path in files for _, inline in _import_nodes(path))


def code_lines(path: Path) -> int:
    """Return the lines of a file that hold code: neither blank nor comment nor docstring."""
    text = path.read_text(encoding="utf-8")
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (*silent, tokenize.ENCODING, tokenize.ENDMARKER):
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in syntax_nodes(path):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and (ast.get_docstring(node, clean=False) is not None):
            doc = node.body[0]
            lines -= set(range(doc.lineno, (doc.end_lineno or doc.lineno) + 1))
    return len(lines)


def figures(root: Path) -> dict[str, int | float]:
    """Return every figure of a checkout by its name, but for the lines of code."""
    paths = module_paths(root)
    imports = imports_of(paths)
    texts = [path.read_text(encoding="utf-8") for path in paths.values()]
    lengths = [len(text.splitlines()) for text in texts if text.strip()]
    by_file = [(one.importer, one.imported) for one in imports]
    by_package = [(package_of(a), package_of(b)) for a, b in by_file]
    return {
        "package components larger than one": len(circles(by_package)),
        "file components larger than one": len(circles(by_file)),
        "inline imports": inline_imports(paths),
        "Mapping[str, Any]": sum(len(UNTYPED.findall(text)) for text in texts),
        "file lines, median": statistics.median(lengths),
        "file lines, largest": max(lengths),
    }


if __name__ == "__main__":
    checkout = Path(sys.argv[1] if sys.argv[1:] else ".")
    lines = {"code lines": sum(map(code_lines, module_paths(checkout).values()))}
    for name, value in (figures(checkout) | lines).items():
        print(f"{name:36} {value:,}")
