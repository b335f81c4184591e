"""Weights & Biases: a run of a project.

It is logged as the environment says: WANDB_API_KEY or `wandb login` for an account, WANDB_BASE_URL for a
server of your own, WANDB_MODE=offline for a folder that `wandb sync` uploads later. Keys of the recipe
become its config, verdict, figures and provenance its summary, and the report an artifact. Source, host,
and the machine's figures, which W&B takes by itself, are not logged.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from curate.core.errors import UserError
from curate.core.lazy import lazy_module
from curate.core.methods import method
from curate.trackers.tracker import Tracker, TrackingRecord, installed

if TYPE_CHECKING:
    import wandb
else:
    wandb = lazy_module("wandb")

OFFLINE = ("offline", "disabled", "dryrun")


@method
class WandbTracker(Tracker):
    """Logs a run to Weights & Biases."""

    method: Literal["wandb"] = "wandb"
    project: str = Field("curate", min_length=1, description="the project")
    entity: str | None = Field(
        None,
        min_length=1,
        description="user or team of the project; your default one if not given",
        examples=["my-team"],
    )

    def log_run(self, run: TrackingRecord) -> str:
        """Log a run.

        Raises:
            UserError: there is no key of an account.
        """
        with installed("wandb"):
            offline = wandb.setup(_private_settings()).settings.mode in OFFLINE
        # Else it asks for a key on a terminal, and waits where nobody sits before it.
        if not offline and not wandb.login(prompt=False):
            raise UserError(
                "no key of W&B is there: run `wandb login`, or set WANDB_API_KEY, or WANDB_MODE=offline"
            )
        with wandb.init(
            project=self.project,
            entity=self.entity,
            name=run.name,
            config=dict(run.settings),
            settings=_private_settings(),
        ) as tracked:
            tracked.summary.update({**run.labels, **run.figures})
            artifact = wandb.Artifact(f"{run.name}-report", type="report")
            artifact.add_dir(str(run.files))
            tracked.log_artifact(artifact)
        return str(Path(tracked.dir).parent if offline else tracked.url)


def _private_settings() -> "wandb.Settings":
    """Return settings by which W&B takes nothing of machine, script and repository."""
    return wandb.Settings(
        console="off",
        disable_git=True,
        disable_job_creation=True,
        host="",
        quiet=True,
        save_code=False,
        silent=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
