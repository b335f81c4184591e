"""A real run, small and with duplicates and leaks, and its viewer: the app alone, without its guard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curate.view.app import build_app
from curate.view.context import ViewContext, open_context
from tests.report.realrun import FUZZY, LEAKS, finish, recipe, write_inputs

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
    return finish(recipe(folder, tiny, STAGES), folder / "run")


@pytest.fixture
def view_context(view_run: Path) -> ViewContext:
    return open_context(view_run)


@pytest.fixture
def view_client(view_context: ViewContext) -> TestClient:
    return TestClient(build_app(view_context), base_url="http://127.0.0.1:8700")
