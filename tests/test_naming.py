"""Names of the source say what a value is: no dialect words, classes are nouns, each of them once."""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.structure import parse, syntax_nodes

REPO = Path(__file__).parents[1]
# Words for the act of getting a value, which say neither its type nor its role.
BANNED = frozenset(
    "told wanted found known mine asked shown standing made ready ours".split()  # noqa: SIM905
)
BANNED_WORD = re.compile(rf"\b_*(?:{'|'.join(sorted(BANNED))})_*\b")
PARTICIPLES = frozenset(
    """asked beside checked chosen compared declining differing doubted dropped embedded found
    generated held judged kept known left made marked moved parted picked prepared probed ranked read
    ready rejoined sampled scored seen selected shown spent standing stored templated told tuned unread
    unwatched wanted watched written""".split()  # noqa: SIM905
)
# Where nodes that can bind a name have it.
NAME_FIELDS: dict[type[ast.AST], str] = {
    ast.Name: "id", ast.Attribute: "attr", ast.arg: "arg", ast.alias: "asname",
    ast.ClassDef: "name", ast.FunctionDef: "name", ast.AsyncFunctionDef: "name",
    ast.ExceptHandler: "name", ast.MatchAs: "name", ast.MatchStar: "name",
}  # fmt: skip


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (REPO / folder).rglob("*.py"))


def bound_names(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield line and name of every binding: variable, parameter, function, class, field, alias."""
    for node in nodes:
        if field := NAME_FIELDS.get(type(node)):
            name, use = getattr(node, field), getattr(node, "ctx", None)
            if name and not isinstance(use, ast.Load | ast.Del):
                yield node.lineno, name  # type: ignore[attr-defined]


def banned_bindings(path: Path) -> list[str]:
    """Return place and name of each banned binding; a file without any of the words has none."""
    if not BANNED_WORD.search(path.read_text(encoding="utf-8")):
        return []
    place = path.relative_to(REPO).as_posix()
    names = bound_names(ast.walk(parse(path)))
    return [f"{place}:{line}: {name}" for line, name in names if name.strip("_") in BANNED]


def test_no_binding_has_a_banned_name() -> None:
    files = sources("curate", "flows", "tests", "data")
    assert [line for path in files for line in banned_bindings(path)] == []


def test_no_class_has_the_name_of_another_or_of_a_participle() -> None:
    classes = [
        (path.relative_to(REPO).as_posix(), node.name)
        for path in sources("curate")
        for node in syntax_nodes(path)
        if isinstance(node, ast.ClassDef)
    ]
    counts = Counter(name for _, name in classes)
    assert not [f"{place}: {name}" for place, name in classes if counts[name] > 1]
    assert not [pair for pair in classes if pair[1].strip("_").lower() in PARTICIPLES]


@pytest.mark.parametrize(
    "source",
    [
        "told = 1",
        "_found_ = 1",
        "for i, known in x: pass",
        "def f(*, wanted): pass",
        "def made(): pass",
        "class ready: pass",
        "x.asked = 1",
        "import a as mine",
        "[shown for shown in x]",
        "try: pass\nexcept E as ours: pass",
        "match x:\n    case [*standing]: pass",
    ],
)
def test_every_kind_of_binding_is_seen(source: str) -> None:
    names = {name.strip("_") for _, name in bound_names(ast.walk(ast.parse(source)))}
    assert names & BANNED
    assert BANNED_WORD.search(source)


def test_a_use_or_a_longer_name_is_no_binding() -> None:
    tree = ast.parse('print(told)\nfind_found = x["made"]\nf(wanted=1)\n')
    assert not {name for _, name in bound_names(ast.walk(tree))} & BANNED
