"""One finished run, shared by the tests of this folder."""

import pytest

from tests.flows.workplace import Workplace, pool_lines


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Return a workplace whose run has ended."""
    workplace = Workplace(tmp_path_factory.mktemp("finished"))
    workplace.write(pool_lines())
    done = workplace.run()
    assert done.returncode == 0, done.stderr
    return workplace
