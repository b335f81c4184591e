"""A real run, small and with duplicates and leaks, and its viewer: the app alone, without its guard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curate.config.recipe import Config
from curate.view.app import build_app
from curate.view.context import ViewContext, open_context
from tests.report.realrun import FUZZY, LEAKS, finish, recipe, shared_recipe, write_inputs

STAGES: list[dict[str, Any]] = [
    {"kind": "exact"},
    FUZZY,
    LEAKS,
    {"kind": "rules", "action": "flag"},
]


@pytest.fixture(scope="session")
def view_run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("view")
    write_inputs(folder)
    return finish(shared_recipe(folder, tiny, STAGES), folder / "run")


@pytest.fixture(scope="session")
def mapped_run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """Return the folder of a run that stored vectors, with two selections and cut rows."""
    folder = tmp_path_factory.mktemp("mapped")
    write_inputs(folder)
    semantic = {"kind": "semantic", "numbers": False, "floor": 0.7}
    stages: list[dict[str, Any]] = [{"kind": "exact"}, FUZZY, semantic]
    settings = recipe(folder, tiny, stages).model_dump(mode="json")
    settings |= {
        "name": "mapped",
        "select": {"method": "embed", "budget": {"rows": 12}},
        "compare": [{"method": "bm25", "budget": {"rows": 12}}],
    }
    return finish(Config.model_validate(settings), folder / "mapped")


@pytest.fixture
def mapped_client(mapped_run: Path, view_run: Path) -> TestClient:
    """Return the viewer of that run, beside another one."""
    app = build_app(open_context(mapped_run, view_run))
    return TestClient(app, base_url="http://127.0.0.1:8700")


@pytest.fixture
def view_context(view_run: Path) -> ViewContext:
    context = open_context(view_run)
    # On a busy machine the first page would not have them yet.
    context.rows.texts.column("prompt", patient=True)
    return context


@pytest.fixture
def view_client(view_context: ViewContext) -> TestClient:
    return TestClient(build_app(view_context), base_url="http://127.0.0.1:8700")
