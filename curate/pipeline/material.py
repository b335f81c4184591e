"""What a proof reads beside the pool: eval rows, watch sets, arms."""

from typing import Any

from curate.core.store import Artifact
from curate.pipeline.inputs import proof_steps
from curate.pipeline.run import Run
from curate.prove.halves import half_step
from curate.prove.others import FILE_PART, RANKING_PART
from curate.prove.proof import ProofInputs
from curate.prove.settings import ProofSettings
from curate.prove.watch_sets import WatchInputs
from curate.select.race import RaceParams


def _watch_sets(run: Run, settings: ProofSettings) -> WatchInputs | None:
    """Return the rows on which tuning must do no harm, and what is asked of them."""
    if run.watch is None:
        return None
    sets = [watched.judged_by for watched in settings.watch]
    return WatchInputs(run.watch, run.merged.get("watch"), sets)


def proof_params(settings: ProofSettings) -> dict[str, Any]:
    """Return what of the settings stands in the keys of a proof's steps."""
    return settings.model_dump(mode="json", exclude={"novelty", "compare"})


def proof_inputs(run: Run, settings: ProofSettings, half: str) -> ProofInputs:
    """Return what a proof reads beside the pool; where a race chooses, one half of the eval set."""
    assert run.eval is not None
    eval_rows, rendered = run.eval, run.merged.get("eval")
    if isinstance(run.config.select, RaceParams):
        eval_rows = run.execute(half_step(run.eval, run.eval, half, run.seed))
        if rendered is not None:
            rendered = run.execute(half_step(run.eval, rendered, half, run.seed))
    return ProofInputs(
        eval_rows, rendered, _proved_material(run, settings), _watch_sets(run, settings)
    )


def _proved_material(run: Run, settings: ProofSettings) -> dict[str, Artifact]:
    """Return rankings and rows of the arms that a proof names, by the name of an input."""
    steps = {f"{FILE_PART}{name}": step for name, step in proof_steps(run.config).items()}
    rows = dict(zip(steps, run.execute_all(list(steps.values())), strict=True))
    named = {arm for arm in settings.arms if isinstance(arm, str)}
    rankings = {
        f"{RANKING_PART}{name}": chosen.ranking
        for name, chosen in run.selections.items()
        if name in named
    }
    return {**rows, **rankings}
