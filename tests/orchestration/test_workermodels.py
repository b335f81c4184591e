"""Models and files of a worker on another machine: a process whose cache of the hub lies elsewhere."""

import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from curate.core.store import Computation, Store
from curate.orchestration.jobs import Job
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from tests.orchestration import hazards
from tests.orchestration.workplace import REPO, environment

pytestmark = pytest.mark.system
NAME = "owner/tiny"
# The process that starts a run makes the step, and that of a worker computes it.
DRIVER = """
import pickle, sys
from pathlib import Path
from curate.core.store import Store
from curate.models.load import find_model
from curate.models.modelsource import model_source
from curate.orchestration.jobs import Job
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from tests.orchestration import hazards

model = model_source(find_model(sys.argv[1]), "float32")
Path(sys.argv[3]).write_bytes(pickle.dumps(Job(Store(Path(sys.argv[2])), hazards.reading.call(model))))
"""
WORKER = """
import pickle, sys
from pathlib import Path
from curate.orchestration.jobs import run_jobs

for path in sys.argv[1:]:
    outcome, = run_jobs([pickle.loads(Path(path).read_bytes())])
    print(outcome.error or outcome.artifact.counts["folder"])
"""


def hub_cache(root: Path, model: Path) -> Path:
    """Return a cache of the hub that holds a model."""
    repo = root / "hub" / "models--owner--tiny"
    shutil.copytree(model, repo / "snapshots" / ("0" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    return root


def python(code: str, *arguments: object, hub: Path) -> str:
    """Run a program with a cache of the hub; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=REPO,
        env={**environment(), "HF_HOME": str(hub), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def made_job(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a step whose process had the model in its own cache, and that of its store."""
    folder = tmp_path_factory.mktemp("driver")
    hub = hub_cache(folder / "first", tiny)
    python(DRIVER, NAME, folder / "store", folder / "job", hub=hub)
    shutil.rmtree(hub)
    return folder / "job"


@pytest.fixture
def job(made_job: Path) -> Path:
    """Return the file of a step, of whose store nothing has been computed."""
    shutil.rmtree(made_job.parent / "store", ignore_errors=True)
    return made_job


def test_a_worker_finds_the_model_in_its_own_cache(job: Path, tiny: Path, tmp_path: Path) -> None:
    hub = hub_cache(tmp_path / "second", tiny)
    assert Path(python(WORKER, job, hub=hub)).is_relative_to(hub)


def test_a_worker_whose_model_is_another_says_so(job: Path, tiny: Path, tmp_path: Path) -> None:
    hub = hub_cache(tmp_path / "second", tiny)
    config = next(hub.rglob("config.json"))
    config.write_text(config.read_text().replace("}", " }"))
    said = python(WORKER, job, hub=hub)
    assert said.startswith(
        f"test-model, on the worker {socket.gethostname()}: model 'owner/tiny': "
    )
    assert "other files (weights) than the process that started the run" in said


def test_a_worker_that_does_not_have_the_model_says_so(job: Path, tmp_path: Path) -> None:
    said = python(WORKER, job, hub=tmp_path / "empty")
    assert said.startswith(f"test-model, on the worker {socket.gethostname()}: model 'owner/tiny'")
    assert "could not be fetched" in said


def test_a_worker_that_does_not_have_a_file_says_which(tmp_path: Path) -> None:
    """Be it a step's own, or one of the pool, which ingest reads."""
    missing, store = tmp_path / "pool.jsonl", Store(tmp_path / "store")
    missing.write_text('{"prompt": "q", "completion": "a"}\n')
    [read] = row_set("pool", [RowFile(path=str(missing))], seed=0, max_rejected=0.0).calls
    missing.unlink()
    jobs = [tmp_path / "content", tmp_path / "read"]
    steps: list[Computation] = [hazards.content.call(str(missing)), read]
    for path, step in zip(jobs, steps, strict=True):
        path.write_bytes(pickle.dumps(Job(store, step)))
    of_step, of_pool = python(WORKER, *jobs, hub=tmp_path).splitlines()
    here = f"on the worker {socket.gethostname()}:"
    assert of_step.startswith(f"test-file, {here} there is no {missing}; workers")
    assert of_pool.startswith(f"ingest, {here} {missing}: cannot be read")
    assert "workers read input files" in of_pool
