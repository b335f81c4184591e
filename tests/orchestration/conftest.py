"""One finished run with the tiny model and one Prefect server, shared by the tests of this folder."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from curate.orchestration.local import local_server
from tests.orchestration.workplace import REPO, Workplace, environment, pool_lines

# The command line, which at its end prints what of these it has imported.
COMMAND = """
import sys
from curate.__main__ import main
try:
    main()
finally:
    print("LOADED", [name for name in ("prefect", "curate.orchestration") if name in sys.modules])
"""


@pytest.fixture(scope="session")
def finished_run(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workplace, subprocess.CompletedProcess[str]]:
    """Return a workplace whose run has ended, and its process."""
    workplace = Workplace(tmp_path_factory.mktemp("finished"), tiny)
    workplace.write(pool_lines())
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *workplace.command()[3:]],
        cwd=REPO, env=environment(), capture_output=True, text=True, timeout=3_600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return workplace, done


@pytest.fixture(scope="session")
def finished(finished_run: tuple[Workplace, object]) -> Workplace:
    """Return a workplace whose run has ended."""
    return finished_run[0]


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Yield the variables that lead to a Prefect server, for tests that are not about servers."""
    cache = str(tmp_path_factory.mktemp("prefect"))
    stack = ExitStack()
    # The record of past runs alone is in it: tests share the cache of models.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_CACHE", cache)
        variables = stack.enter_context(local_server())
    yield variables
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_CACHE", cache)
        stack.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the variable of a cache that only this module's runs use."""
    return {"CURATE_CACHE": str(tmp_path_factory.mktemp("cache"))}
