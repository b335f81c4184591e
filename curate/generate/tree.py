"""The tree of a multi-hop expansion, as a table for the report: seeds and all that was made of them."""

from collections.abc import Sequence

import polars as pl

from curate.generate.candidates import Candidate
from curate.generate.generation import SeedExample

TREE_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "parent": pl.String(),
        "seed": pl.String(),
        "hop": pl.Int32(),
        "operator": pl.String(),
        "topic": pl.String(),
        "relation": pl.String(),
        "attribute": pl.String(),
        "persona": pl.String(),
        "relevance": pl.Int32(),
        "diversity": pl.Int32(),
        "rewrites": pl.Int32(),
        "similarity": pl.Float64(),
        "kept": pl.Boolean(),
        "flaw": pl.String(),
    }
)
NOTED = tuple(name for name in TREE_SCHEMA if name in {
    "operator", "topic", "relation", "attribute", "persona",
    "relevance", "diversity", "rewrites", "similarity",
})  # fmt: skip


def tree_of(seeds: Sequence[SeedExample], candidates: Sequence[Candidate]) -> pl.DataFrame:
    """Return one line for each seed (hop 0) and each candidate, in the order in which they were made.

    `similarity` is the cosine of a prompt to its seed's; what went before it had a prompt has none.
    Two candidates that are the same have the same row_id, and one of them is dropped.
    """
    roots = [
        {"row_id": s.row_id, "seed": s.row_id, "hop": 0, "similarity": 1.0, "kept": True}
        for s in seeds
    ]
    grown = [
        {
            "row_id": c.row_id,
            "parent": c.parents[0],
            "seed": c.notes["seed"],
            "hop": c.hop,
            **{name: c.notes.get(name) for name in NOTED},
            "kept": c.reject_reason is None,
            "flaw": c.reject_reason.value if c.reject_reason else None,
        }
        for c in candidates
    ]
    return pl.DataFrame([*roots, *grown], schema=TREE_SCHEMA)
