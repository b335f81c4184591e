"""The figures of the structure may only fall: what is measured, and how far the floors hold by now."""

from pathlib import Path

from tests.structure import circles, code_lines, figures, imports_of, module_paths

REPO = Path(__file__).parents[1]
# What was measured last: whoever gets lower writes that down here.
MOST = {
    "package components larger than one": 0,
    "file components larger than one": 0,
    "inline imports": 39,
    "Mapping[str, Any]": 66,
    "file lines, largest": 453,
}


def test_nothing_gets_worse() -> None:
    measured = figures(REPO)
    assert {name: measured[name] for name, most in MOST.items() if measured[name] > most} == {}


def test_circles_are_components_of_several_nodes() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "d"), ("e", "f"), ("f", "e")]
    assert circles(edges) == [["a", "b", "c"], ["e", "f"]]
    assert circles([]) == []


def test_imports_of_modules_and_of_names_lazy_ones_too(tmp_path: Path) -> None:
    package = tmp_path / "curate"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "store.py").write_text("import json\n\nSTEP = 1\n")
    (package / "run.py").write_text(
        "from curate import store\n\n\ndef f():\n    from curate.store import STEP\n    return STEP\n"
    )
    edges = imports_of(module_paths(tmp_path))
    assert [(e.importer, e.imported, e.inline) for e in edges] == [
        ("curate.run", "curate.store", False),
        ("curate.run", "curate.store", True),
    ]
    assert figures(tmp_path)["inline imports"] == 1


def test_code_lines_are_neither_blank_nor_comments_nor_docstrings(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        '"""Two\nlines."""\n\n# why\nX = (\n    1,\n)\n\n\ndef f():\n    """What."""\n    return X\n'
    )
    assert code_lines(path) == 5
