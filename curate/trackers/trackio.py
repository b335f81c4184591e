"""trackio: a run of a project on this machine, or in a Space of the Hugging Face Hub.

Without `space_id` it is logged on this machine (TRACKIO_DIR), where `trackio show` opens it. Keys of the
recipe and provenance become its config, figures its metrics, and the report an artifact.
"""

import contextlib
import io
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from curate.core.lazy import lazy_module
from curate.core.methods import method
from curate.trackers.tracker import Tracker, TrackingRecord, installed

if TYPE_CHECKING:
    import trackio
else:
    trackio = lazy_module("trackio")


@method
class TrackioTracker(Tracker):
    """Logs a run to trackio."""

    method: Literal["trackio"] = "trackio"
    project: str = Field("curate", min_length=1, description="the project")
    space_id: str | None = Field(
        None,
        min_length=1,
        description="a Space of the Hub to log to; this machine if not given",
        examples=["me/curation"],
    )

    def log_run(self, run: TrackingRecord) -> str:
        """Log a run."""
        with installed("trackio"):
            artifact = trackio.Artifact(f"{run.name}-report", type="report")
        artifact.add_dir(run.files)
        # It prints how to open its pages: the log says so.
        with contextlib.redirect_stdout(io.StringIO()):
            tracked = trackio.init(
                project=self.project,
                name=run.name,
                space_id=self.space_id,
                config={**run.settings, **run.labels},
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            tracked.log(dict(run.figures))
            tracked.log_artifact(artifact)
            trackio.finish()
        return self.space_id or f"trackio show --project {self.project}"
