"""One finished run with the tiny model, shared by the tests of this folder."""

from pathlib import Path

import pytest

from tests.orchestration.workplace import Workplace, pool_lines


@pytest.fixture(scope="session")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Return a workplace whose run has ended."""
    workplace = Workplace(tmp_path_factory.mktemp("finished"), tiny)
    workplace.write(pool_lines())
    done = workplace.run()
    assert done.returncode == 0, done.stderr
    return workplace
