"""No data goes through pickle, which runs code of whoever wrote it: neither a file nor a pipe.

Looked for in the source: imports of modules that pickle, and functions that pickle unless they are told
not to. Calls that an orchestrator sends to its own workers are code, not data; the orchestrator pickles
them, and this package does not.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.structure import syntax_nodes

REPO = Path(__file__).parents[1]
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# Their pools, queues and pipes pickle what goes through them.
MODULES |= {"multiprocessing", "multiprocess"}
POOL = "ProcessPoolExecutor"
# numpy pickles arrays of objects unless allow_pickle is False, torch everything that it saves.
ARRAYS = {"numpy.load", "numpy.save", "np.load", "np.save", "np.savez", "np.savez_compressed"}
TORCH = {"torch.load", "torch.save"}
STORING = {name.split(".")[1] for name in ARRAYS | TORCH}
PICKLING = {"to_pickle", "read_pickle", "pickle_load"}
# File and reason of each that is left.
EXCEPTIONS: dict[str, str] = {}


def uses(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield what a program of these nodes does that pickles."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in MODULES:
                yield str(node.module)
            yield from (alias.name for alias in node.names if alias.name == POOL)
        elif isinstance(node, ast.Attribute) and node.attr in PICKLING | {POOL}:
            yield node.attr
        elif isinstance(node, ast.Call):
            yield from _pickling_call(node)


def _pickling_call(node: ast.Call) -> Iterator[str]:
    # All names that are looked for have a dot, and most calls another name behind theirs.
    if not isinstance(node.func, ast.Attribute) or node.func.attr not in STORING:
        return
    name = ast.unparse(node.func)
    if name in TORCH:
        yield name
    plain = any(
        keyword.arg == "allow_pickle"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is False
        for keyword in node.keywords
    )
    if name in ARRAYS and not plain:
        yield name


def source_files() -> list[Path]:
    return sorted(p for folder in ("curate", "flows") for p in (REPO / folder).rglob("*.py"))


def test_no_file_of_the_package_pickles() -> None:
    faults = {
        path.relative_to(REPO).as_posix(): names
        for path in source_files()
        if (names := [*uses(syntax_nodes(path))])
    }
    assert set(faults) == set(EXCEPTIONS), faults


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import joblib.memory",
        "from multiprocessing import Pool",
        "from concurrent.futures import ProcessPoolExecutor",
        "import multiprocessing as m",
        "import concurrent.futures as f\nf.ProcessPoolExecutor()",
        "torch.load(path)",
        "np.load(path)",
        "np.save(path, array, allow_pickle=True)",
        "frame.to_pickle(path)",
    ],
)
def test_a_way_to_pickle_is_noticed(line: str) -> None:
    assert [*uses(ast.walk(ast.parse(line)))]


def test_what_does_not_pickle_is_left_alone() -> None:
    lines = "np.load(p, allow_pickle=False)\nsafetensors.torch.load_file(p)\nqueue.Queue()"
    assert [*uses(ast.walk(ast.parse(lines)))] == []
