"""What Prefect's pages show of a run: progress, the funnel, the verdict with its figures, the report."""

import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from curate.core.digests import digest_of
from curate.pipeline.run import RunResult
from curate.report.markdown import report_markdown
from curate.runs.folder import open_run

LOG = logging.getLogger("curate")
PROGRESS_SECONDS = 1.0
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
    run = open_run(result.folder)
    create_markdown_artifact(
        key=f"{name}-verdict",
        markdown=report_markdown(run),
        description="Does the selection beat random?",
    )
    create_markdown_artifact(
        key=f"{name}-report",
        # A page of a server may not link to files: browsers do not follow.
        markdown=f"On the machine that ran the flow:\n\n```\n{result.report.resolve()}\n```",
        description="Where the report lies",
    )


T = TypeVar("T")


def counted(name: str, values: Sequence[T]) -> Iterator[T]:
    """Yield values, and show in Prefect how many of them are done, where there are several."""
    if len(values) < 2:
        yield from values
        return
    last, artifact = time.monotonic(), None
    with suppress(Exception):
        artifact = _create(name)
    for number, value in enumerate(values):
        if artifact and time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            _update(artifact, number / len(values))
        yield value
    if artifact:
        _update(artifact, 1.0)


def _create(name: str) -> UUID:
    """Show that no work of a name is done yet; return what shows it."""
    artifact = create_progress_artifact(0.0, f"{artifact_key(name)}-progress", name)
    assert isinstance(artifact, UUID)
    return artifact


def _update(artifact: UUID, share: float) -> None:
    """Show a share of work done; a server that does not take it is no failure of the run."""
    with suppress(Exception):
        update_progress_artifact(artifact, 100 * share)


def artifact_key(name: str) -> str:
    """Return a run's name in the letters that Prefect takes, told apart from others by a digest."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if name.isascii() and plain else f"{plain}-{digest_of(name)[:8]}".lstrip("-")
