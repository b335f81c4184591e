"""The stored artifacts that a run of a recipe would reuse, found without making any."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from curate.config.recipe import Config
from curate.config.running import RunSettings
from curate.core.bucket import is_bucket, open_store
from curate.core.store import Artifact, Computation
from curate.pipeline.curation import run_steps
from curate.pipeline.run import Run

LOG = logging.getLogger("curate")


class NotStoredError(Exception):
    """A step's artifact would have to be made; the keys of later steps depend on it."""


def reused_artifacts(config: Config) -> list[Artifact]:
    """Return the stored artifacts that a run would reuse, up to the first one that it would make.

    Files are not checked against their digests: that takes a run's time.
    """
    if not is_bucket(config.store) and not Path(config.store).is_dir():
        return []
    store, reused = open_store(config.store), list[Artifact]()

    def find_all(steps: Sequence[Computation]) -> list[Artifact]:
        stored = [store.look_up(step) for step in steps]
        artifacts = [artifact for artifact in stored if artifact is not None]
        reused.extend(artifacts)
        if len(artifacts) < len(steps):
            raise NotStoredError
        return artifacts

    with _silent(), suppress(NotStoredError):
        run_steps(Run(config.model_copy(update={"run": RunSettings()}), store, find_all))
    return reused


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the log lines of a run back: nothing is run."""
    disabled, LOG.disabled = LOG.disabled, True
    try:
        yield
    finally:
        LOG.disabled = disabled
