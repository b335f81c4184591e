"""Trackers: where a finished run is logged beside its folder.

    track: mlflow
    track: [{method: wandb, project: curation}, trackio]

A tracker of your own is a class with `@method`, found like every method: by an entry point of an
installed package in the group "curate.methods", or in a file under `plugins`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from curate.core.errors import UserError
from curate.core.methods import Method


@dataclass(frozen=True)
class TrackingRecord:
    """What trackers get of a finished run. No path in it is one of this machine.

    Attributes:
        name: of the run.
        verdict: better, worse, within ..., or none where nothing was proved.
        sentence: the verdict in words.
        settings: the recipe's values by their dotted keys, such as stages.1.threshold.
        figures: numbers by name: rows/selected, dropped/fuzzy, arms/random_rows/loss, cost/seconds ...
        tags: texts by name: seed, when it ran, versions.
        files: a folder with the report, the manifest and, where there is one, proof.json.
    """

    name: str
    verdict: str
    sentence: str
    settings: Mapping[str, str | int | float | bool]
    figures: Mapping[str, float]
    tags: Mapping[str, str]
    files: Path

    @property
    def labels(self) -> dict[str, str]:
        """Return verdict, sentence and tags by name."""
        return {"verdict": self.verdict, "sentence": self.sentence, **self.tags}


class Tracker(Method):
    """A place where finished runs are logged. Where it fails, the run stays finished."""

    family: ClassVar[str] = "tracker"
    packages: ClassVar[tuple[str, ...]] = ("curate.trackers",)

    def log_run(self, run: TrackingRecord) -> str:
        """Log a run; return where it is to be seen.

        Raises:
            UserError: it cannot be logged; what to do.
        """
        raise NotImplementedError


@contextmanager
def installed(extra: str) -> Iterator[None]:
    """Turn the lack of a tracker's library into a sentence.

    Raises:
        UserError: the library of the extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed: pip install 'curate-data[{extra}]'"
        ) from error
