"""MLflow: what a database of its own holds of a run, read by its own client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curate.trackers.mlflow import MlflowTracker
from curate.trackers.tracker import TrackingRecord

pytestmark = pytest.mark.system
mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
pytest.importorskip("sqlalchemy", reason="a database of MLflow's needs sqlalchemy")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database, in which each test has an experiment of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DO_NOT_TRACK", "1")
        # Where a database lies, its artifacts lie in the current folder.
        patch.chdir(folder)
        yield f"sqlite:///{folder / 'mlflow.db'}"


def test_a_run_is_in_the_database_as_it_was_logged(summary: TrackingRecord, uri: str) -> None:
    place = MlflowTracker(uri=uri, experiment="tried").log_run(summary)
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("tried").experiment_id])
    assert run.info.run_id in place
    assert (run.info.run_name, run.info.status) == ("demo", "FINISHED")
    assert run.data.params == {key: str(value) for key, value in summary.settings.items()}
    assert run.data.metrics == summary.figures
    assert summary.labels.items() <= run.data.tags.items()
    assert run.data.tags["mlflow.note.content"] == summary.sentence
    names = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert names == ["manifest.json", "report.html"]


def test_nothing_is_logged_of_user_and_script(summary: TrackingRecord, uri: str) -> None:
    MlflowTracker(uri=uri).log_run(summary)
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("curate").experiment_id])
    own = {"mlflow.runName", "mlflow.note.content"}
    assert {key for key in run.data.tags if key.startswith("mlflow.")} == own
    assert run.info.user_id in ("", "unknown")


def test_a_second_run_joins_the_same_experiment(summary: TrackingRecord, uri: str) -> None:
    for _ in range(2):
        MlflowTracker(uri=uri, experiment="joined").log_run(summary)
    client = mlflow.MlflowClient(uri)
    assert len(client.search_runs([client.get_experiment_by_name("joined").experiment_id])) == 2
