"""The proof of a run: the selections that it judges, and those made without a stage."""

from dataclasses import replace
from typing import cast

from curate.config.names import ABLATION
from curate.core.calls import Table
from curate.core.selector import Selector
from curate.core.store import Artifact
from curate.pipeline.ablation import leave_out
from curate.pipeline.material import proof_inputs
from curate.pipeline.run import LOG, Run, example_sets
from curate.pipeline.selection import rank_scores
from curate.proof.ablation import AblatedStage
from curate.proof.halves import VERDICT
from curate.proof.novelty import explore_novelty
from curate.proof.preferences import pair_ranking, ranking_learned
from curate.proof.together import prove_together
from curate.proof.values import NoveltyValues, ProofValues
from curate.proof.verdict import NOT_MEASURED
from curate.selectors.selection import SelectionResult, rank_by


def prove_selections(run: Run) -> Artifact | None:
    """Return the proof of the run's selections; None if the recipe asks for none."""
    settings = run.config.prove
    if settings is None or run.eval is None:
        return None
    run.part = "prove"
    params = settings.values
    names = run.config.proved_names
    proved = {
        name: (pair_ranking(run, c.ranking, params, name), c.params.budget)
        for name, c in run.selections.items()
        if name in names
    }
    material = proof_inputs(run, settings, VERDICT)
    if settings.ablate:
        stages = [_by_pairs(run, stage, params) for stage in ablated_selections(run)]
        material = replace(material, stages=stages)
    proof = prove_together(run, proved, material, params, run.config.judged_count)
    if settings.novelty is not None and proof.counts["verdict"] != NOT_MEASURED:
        novelty = cast(NoveltyValues, settings.novelty.model_dump(mode="json"))
        params["novelty"] = novelty
        ranking = next(iter(run.selections.values())).ranking
        run.findings["novelty"] = explore_novelty(run, ranking, params)
    return proof


def _by_pairs(run: Run, stage: AblatedStage, prove: ProofValues) -> AblatedStage:
    """Return a stage with what of the selection without it a proof trains on."""
    if stage.ranking is None:
        return stage
    return replace(stage, ranking=ranking_learned(run, stage.ranking, prove))


def ablated_selections(run: Run) -> list[AblatedStage]:
    """Return the recipe's stages, each with the selection that is made without it."""
    part, run.part = run.part, ABLATION
    own = next(iter(run.selections.values()))
    LOG.info("ablate: selections without a stage, from stored scores")

    def rank(other: Run, params: Selector, scores: Table) -> SelectionResult:
        return rank_scores(other, params, scores, rank_by)

    stages = leave_out(run, own, example_sets(run), rank)
    run.part = part
    return stages
