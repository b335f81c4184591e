"""One finished run with the tiny model and one Prefect server, shared by the tests of this folder."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from curate.orchestration.history import DATABASE, prefect_folder
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
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return Prefect's record of no run, made once for all processes that run these tests.

    A server takes half of its start to make it.
    """
    shared = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else None
    folder = (shared or tmp_path_factory.getbasetemp()) / "record"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        patch.setenv("CURATE_CACHE", str(folder))
        if not prefect_folder().exists():
            with local_server():
                pass
        return prefect_folder() / DATABASE


def cache_of(record: Path, folder: Path) -> str:
    """Return a folder as a cache in which there is a record of no run, and nothing else."""
    (folder / "prefect").mkdir()
    shutil.copyfile(record, folder / "prefect" / DATABASE)
    return str(folder)


@pytest.fixture(scope="session")
def api(record: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Yield the variables that lead to a Prefect server, for tests that are not about servers."""
    # The record of past runs alone is in it: tests share the cache of models.
    cache = cache_of(record, tmp_path_factory.mktemp("prefect"))
    stack = ExitStack()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_CACHE", cache)
        variables = stack.enter_context(local_server())
    yield variables
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_CACHE", cache)
        stack.close()


@pytest.fixture(scope="module")
def cache(record: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the variable of a cache that only this module's runs use."""
    return {"CURATE_CACHE": cache_of(record, tmp_path_factory.mktemp("cache"))}
