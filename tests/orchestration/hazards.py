"""Steps for tests of engines: one whose worker dies, one that fails, one that logs, one that is busy."""

import logging
import os
import signal
import time
from pathlib import Path

import polars as pl

from curate.core.calls import Counted, cached
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.wants import ONE_GPU
from curate.models.weights import LOADS

LOG = logging.getLogger("curate")


@cached(version=1, name="test-number")
def number(value: int) -> pl.DataFrame:
    """Return a number and the process that wrote it."""
    return pl.DataFrame({"value": [value]})


@cached(version=1, name="test-process")
def process(value: int) -> Counted[pl.DataFrame]:
    """Return which process computes it, in the counts."""
    return Counted(pl.DataFrame({"value": [value]}), {"process": os.getpid()})


@cached(version=1, name="test-busy")
def busy(value: int, seconds: float) -> Counted[pl.DataFrame]:
    """Compute for so many seconds of a core; the counts tell how many it was."""
    started = time.thread_time()
    while time.thread_time() - started < seconds:
        pass
    return Counted(pl.DataFrame({"value": [value]}), {"cpu": time.thread_time() - started})


@cached(version=1, name="test-deaths")
def deaths(folder: str, times: int) -> pl.DataFrame:
    """Return the attempts it took, of which so many end with the death of their process."""
    attempts = len(list(Path(folder).iterdir()))
    if attempts < times:
        Path(folder, str(attempts)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return pl.DataFrame({"attempts": [attempts + 1]})


@cached(version=1, name="test-fault")
def fault(place: str) -> pl.DataFrame:
    """Fail as a step does that finds a fault of the user's."""
    LOG.warning("%s is read", place)
    raise UserError(f"{place} is at fault")


@cached(version=1, name="test-loads")
def loads(value: int) -> Counted[pl.DataFrame]:
    """Return which process computes it, and how often that has read weights of models."""
    counts = {"process": os.getpid(), "loads": LOADS.total()}
    return Counted(pl.DataFrame({"value": [value]}), counts)


@cached(version=1, name="test-model")
def reading(model: ModelSource) -> Counted[pl.DataFrame]:
    """Return the dtype of a model, and where it lies."""
    return Counted(pl.DataFrame({"dtype": [model.dtype]}), {"folder": str(model.folder)})


@cached(version=1, name="test-file")
def content(path: str) -> pl.DataFrame:
    """Return what a file holds."""
    return pl.DataFrame({"text": [Path(path).read_text()]})


@cached(version=1, name="test-tuned", wants=ONE_GPU)
def tuned(model: ModelSource, seed: int) -> pl.DataFrame:
    """Return a seed and the dtype of a model, with a GPU where there is one."""
    return pl.DataFrame({"dtype": [model.dtype], "seed": [seed]})
