"""What a proof reads beside the pool: eval rows, watch sets, arms."""

from curate.core.calls import Table
from curate.pipeline.inputs import THEN, proof_sets
from curate.pipeline.rehearse import rehearsed_tables
from curate.pipeline.run import Run
from curate.pool.rowset import read_sets
from curate.proof.halves import half_call
from curate.proof.preferences import pair_ranking
from curate.proof.proof import ProofInputs
from curate.proof.settings import ProofSettings
from curate.proof.watch_sets import WatchInputs


def _watch_sets(run: Run, settings: ProofSettings) -> WatchInputs | None:
    """Return the rows on which tuning must do no harm, and what is asked of them."""
    if run.watch is None:
        return None
    sets = [watched.judged_by for watched in settings.watch]
    return WatchInputs(run.watch, run.merged.get("watch"), sets)


def proof_inputs(run: Run, settings: ProofSettings, half: str) -> ProofInputs:
    """Return what a proof reads beside the pool; where a race chooses, one half of the eval set."""
    assert run.eval is not None
    eval_rows, rendered = run.eval, run.merged.get("eval")
    if run.config.race is not None:
        eval_rows = run.result(half_call(run.eval, run.eval, half, run.seed))
        if rendered is not None:
            rendered = run.result(half_call(run.eval, rendered, half, run.seed))
    named = {arm for arm in settings.arms if isinstance(arm, str)}
    files = _arm_files(run)
    return ProofInputs(
        eval_rows,
        rendered,
        files=files,
        rankings={
            name: pair_ranking(run, chosen.ranking, settings.values, name)
            for name, chosen in run.selections.items()
            if name in named
        },
        rehearsed=rehearsed_tables(run),
        then=files.pop(THEN, None),
        watch=_watch_sets(run, settings),
    )


def _arm_files(run: Run) -> dict[str, Table]:
    """Return the rows of arms that are files, by the arms' names, and those of a second phase."""
    sets = proof_sets(run.config)
    return dict(zip(sets, read_sets(run, list(sets.values())), strict=True))
