"""Names of a recipe's stages and of the parts of a run."""

from collections.abc import Sequence

from curate.core.registry import Params
from curate.select.compared import numbered

GENERATE = "generate"
# The part of a run in which selections are made without a stage.
ABLATION = "ablate"


def stage_names(stages: Sequence[Params]) -> list[str]:
    """Return the names of stages in a run: their kind, numbered from the second of a kind on."""
    return numbered([params.model_dump()["kind"] for params in stages])
