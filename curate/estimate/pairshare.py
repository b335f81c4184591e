"""How many of the rows that fine-tunes learn, or are measured on, are preference pairs."""

from curate.core.calls import Table
from curate.core.preferences import is_pair
from curate.estimate.base_model import BaseModel
from curate.estimate.pace import Range, exactly
from curate.pipeline.inputs import makes_pairs
from curate.proof.settings import ProofSettings


def count_pairs(rows: Table) -> int:
    """Return how many rows have a rejected answer."""
    return int(rows.scan().select(is_pair().sum()).collect().item())


def learned_share(prove: ProofSettings, base: BaseModel) -> Range:
    """Return which share of a selection or a draw is learned: with `objective: dpo` its pairs alone.

    Which of its rows are pairs is known when they are selected; the pool's share is likely. Where the
    run may make pairs, all are taken for some.
    """
    if not prove.by_pairs or makes_pairs(base.config):
        return exactly(1.0)
    pool = base.inputs["pool"]
    share = count_pairs(pool) / pool.height
    return exactly(1.0) if share == 1 else Range(0.0, share, 1.0)


def pairs_clause(prove: ProofSettings, base: BaseModel) -> str:
    """Return that fine-tunes learn pairs, and what is not known of how many, as the end of a clause."""
    if not prove.by_pairs:
        return ""
    learned, pool = " on both answers of pairs", base.inputs["pool"]
    if makes_pairs(base.config):
        return f"{learned} (as if all rows were pairs: the run may make some)"
    if learned_share(prove, base).likely == 1:
        return learned
    return (
        f"{learned} (likely as many as in the pool, {count_pairs(pool):,} of {pool.height:,} rows: "
        "which rows are selected is not known)"
    )
