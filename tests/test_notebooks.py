"""The notebooks run from a checkout, to their end and without an error."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

REPO = Path(__file__).parents[1]
NOTEBOOKS = REPO / "docs/notebooks"


def outputs_of(
    name: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: Mapping[str, str] | None = None,
    most_rows: int | None = None,
) -> str:
    """Return the HTML and text that a notebook's cells put out, run in a copy of the checkout.

    changes: of pieces of the notebook, each of which is there once.
    most_rows: of each file of data.
    """
    shutil.copytree(REPO / "data", folder / "data")
    for path in (folder / "data").rglob("*.jsonl"):
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:most_rows]))
    place = folder / "docs/notebooks"
    place.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    text = (NOTEBOOKS / name).read_text(encoding="utf-8")
    for piece, other in (changes or {}).items():
        assert text.count(piece) == 1
        text = text.replace(piece, other)
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=1_800, resources={"metadata": {"path": str(place)}})
    outputs = [o for cell in client.execute().cells for o in cell.get("outputs", [])]
    assert all(output.output_type != "error" for output in outputs)
    data = [output.get("data", {}) for output in outputs if output.output_type != "stream"]
    return "\n".join(str(d.get("text/html", d.get("text/plain", ""))) for d in data)


@pytest.mark.system
def test_the_notebook_of_cleaning_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    html = outputs_of("clean.ipynb", tmp_path, monkeypatch)
    assert "1,475 rows, 40 rejected" in html
    assert "fuzzy_duplicate" in html
    assert "leak_exact" in html
    # Bars go when their steps are done.
    assert "<progress" not in html


@pytest.mark.system
def test_the_notebook_of_a_proof_runs(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the tiny model, of some rows: the notebook's own are fine-tuned by tests of runs."""
    changes = {"rows=12)": f"rows=12, models={{'base': '{tiny}'}})"}
    html = outputs_of("select_and_prove.ipynb", tmp_path, monkeypatch, changes, most_rows=40)
    assert "nats per response token; 2 draws" in html


def test_notebooks_are_kept_without_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
        assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
