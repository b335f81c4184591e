"""Names of a recipe's stages and of the parts of a run."""

from collections.abc import Sequence

from curate.core.stage import Stage
from curate.selectors.compared import numbered

GENERATE = "generate"
# The part of a run in which selections are made without a stage.
ABLATION = "ablate"
# The part in which rows of earlier training are kept out and drawn, and the names of its stages.
REHEARSAL = "rehearse"


def stage_names(stages: Sequence[Stage]) -> list[str]:
    """Return the names of stages in a run: their methods, numbered from the second of a kind on."""
    return numbered([stage.method for stage in stages])
