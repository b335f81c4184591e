"""The stages of a run by their methods, for parts of the page that are not sections of their own yet."""

from collections.abc import Iterable, Mapping
from typing import Any

from curate.core.stage import with_method
from curate.runs.folder import RunFolder
from curate.selectors.compared import numbered


def stages_of(run: RunFolder, kinds: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Return the parameters of the run's stages of these kinds, by name, if their verdicts are there."""
    stages = [with_method(one) for one in run.manifest["config"].get("stages", [])]
    names = numbered([params["method"] for params in stages])
    return {
        name: params
        for name, params in zip(names, stages, strict=True)
        if params["method"] in kinds and run.has(f"evidence/{name}")
    }
