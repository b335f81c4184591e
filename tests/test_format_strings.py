"""No text from outside is ever a format string or a template: those of the code are literals."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.structure import syntax_nodes

REPO = Path(__file__).parents[1]
FILES = sorted(path for part in ("curate", "flows") for path in (REPO / part).rglob("*.py"))
LOGGING = {"debug", "info", "warning", "error", "critical", "exception", "log"}
# Templates are made of prompt files, and, in Jinja's sandbox, of the files that a pool entry names.
TEMPLATES = {"curate/llm/prompts.py": 1, "curate/pool/layouts/template.py": 2}


def is_literal(node: ast.expr) -> bool:
    """Return whether a text stands in the code as it is, whole or in parts that do."""
    if isinstance(node, ast.BinOp):
        return is_literal(node.left) and is_literal(node.right)
    if isinstance(node, ast.IfExp):
        return is_literal(node.body) and is_literal(node.orelse)
    return isinstance(node, ast.Constant)


def formats_of(nodes: Iterable[ast.AST]) -> list[tuple[int, ast.expr]]:
    """Return every text that is read as a format string, with its line."""
    formats: list[tuple[int, ast.expr]] = []
    for node in nodes:
        # A number's remainder has a name or a sum at its left.
        texts = ast.Constant | ast.JoinedStr | ast.Attribute
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Mod)
            and isinstance(node.left, texts)
        ):
            formats.append((node.lineno, node.left))
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, name = node.func.value, node.func.attr
        module = owner.id if isinstance(owner, ast.Name) else ""
        if name in ("format", "format_map"):
            formats.append((node.lineno, node.args[0] if module == "pl" else owner))
        if name in LOGGING and module in ("LOG", "logger", "logging"):
            # `log` takes the level first.
            formats.append((node.lineno, node.args[1 if name == "log" else 0]))
    return formats


def test_every_format_string_is_a_literal() -> None:
    lines = [
        f"{path.relative_to(REPO).as_posix()}:{line}"
        for path in FILES
        for line, text in formats_of(syntax_nodes(path))
        if not is_literal(text)
    ]
    assert lines == [], "a text that is no literal is used as a format string"


def test_only_files_that_are_templates_are_read_as_such() -> None:
    counts = {
        path.relative_to(REPO).as_posix(): path.read_text(encoding="utf-8").count(".from_string(")
        for path in FILES
    }
    assert {path: count for path, count in counts.items() if count} == TEMPLATES


@pytest.mark.parametrize(
    "code",
    ["said.format(a=1)", "LOG.info(said)", 'LOG.info(f"{said}")', "a.b % (1,)", "get(x).format(y)"],
)
def test_the_check_sees_what_it_should(code: str) -> None:
    ((_, text),) = formats_of(ast.walk(ast.parse(code)))
    assert not is_literal(text)
