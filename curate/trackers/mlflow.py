"""MLflow: a run of an experiment, in a local database or on a tracking server.

Without `uri` it is logged where MLflow is set to log: by MLFLOW_TRACKING_URI, or sqlite:///mlflow.db of
the current folder. Keys of the recipe become parameters, verdict and provenance tags, figures metrics,
and the report an artifact. Read by `mlflow ui`, or by `mlflow.search_runs`. A database of this machine
also needs sqlalchemy and alembic, which the whole of mlflow brings.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from curate.core.lazy import lazy_module
from curate.core.methods import method
from curate.trackers.tracker import Tracker, TrackingRecord, installed

if TYPE_CHECKING:
    import mlflow
else:
    mlflow = lazy_module("mlflow")

# A server takes no more in one request.
MOST_PARAMS = 100


@method
class MlflowTracker(Tracker):
    """Logs a run to MLflow."""

    method: Literal["mlflow"] = "mlflow"
    experiment: str = Field(
        "curate", min_length=1, description="name of the experiment, made where there is none"
    )
    uri: str | None = Field(
        None,
        min_length=1,
        description="of the tracking server or database; MLflow's own setting if not given",
        examples=["http://mlflow.example:5000", "sqlite:///mlflow.db"],
    )

    def log_run(self, run: TrackingRecord) -> str:
        """Log a run with the client alone: the fluent interface would add user, host and script."""
        with installed("mlflow"):
            client = mlflow.MlflowClient(tracking_uri=self.uri)
        run_id = client.create_run(self._experiment_id(client), run_name=run.name).info.run_id
        _log_texts(client, run_id, run)
        for key, figure in run.figures.items():
            client.log_metric(run_id, key, figure)
        client.log_artifacts(run_id, str(run.files))
        client.set_terminated(run_id)
        return f"experiment {self.experiment}, run {run_id}, of {client.tracking_uri}"

    def _experiment_id(self, client: "mlflow.MlflowClient") -> str:
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            return str(client.create_experiment(self.experiment))
        return str(experiment.experiment_id)


def _log_texts(client: "mlflow.MlflowClient", run_id: str, run: TrackingRecord) -> None:
    """Log settings as parameters and the rest as tags, in as few requests as a server takes."""
    params = [mlflow.entities.Param(key, str(value)) for key, value in run.settings.items()]
    texts = {**run.labels, "mlflow.note.content": run.sentence}
    tags = [mlflow.entities.RunTag(key, text) for key, text in texts.items()]
    client.log_batch(run_id, tags=tags)
    for start in range(0, len(params), MOST_PARAMS):
        client.log_batch(run_id, params=params[start : start + MOST_PARAMS])
