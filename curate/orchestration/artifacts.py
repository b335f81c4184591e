"""What Prefect's pages show of a run: the funnel, the verdict, a link to the report."""

import logging
import re

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from curate.core.digests import digest_of
from curate.pipeline.run import RunResult

LOG = logging.getLogger("curate")
COLUMNS = ("stage", "rows_in", "rows_out", "rejected", "dropped", "seconds", "cached")


def publish_artifacts(result: RunResult) -> None:
    """Show a run in Prefect, which is not worth failing for: the work is done."""
    try:
        _create_artifacts(result)
    except Exception as error:
        LOG.warning("Prefect does not show the run's artifacts: %s", error)


def _create_artifacts(result: RunResult) -> None:
    name = artifact_key(result.manifest["name"])
    create_table_artifact(
        key=f"{name}-funnel",
        table=[{k: str(s.get(k, "")) for k in COLUMNS} for s in result.manifest["stages"]],
        description="Rows in and out of every stage",
    )
    sentence = result.proof["sentence"] if result.proof else "No proof was asked for."
    create_markdown_artifact(
        key=f"{name}-verdict", markdown=sentence, description="Does the selection beat random?"
    )
    create_link_artifact(
        key=f"{name}-report", link=result.report.resolve().as_uri(), link_text="Report"
    )


def artifact_key(name: str) -> str:
    """Return a run's name in the letters that Prefect takes, told apart from others by a digest."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if name.isascii() and plain else f"{plain}-{digest_of(name)[:8]}".lstrip("-")
