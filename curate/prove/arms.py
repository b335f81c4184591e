"""The arms of the proof: the selection, and random controls of the same size.

    selected        the selection
    random_rows     a uniform draw from the kept rows, as many rows as the selection
    random_tokens   a uniform draw whose tokens come nearest to the selection's from below

Rows alone would reward a method that likes long rows, so a claim has to hold against both.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.store import Artifact, Counts, Step
from curate.tables import read_table

VERSION = 1
CONTROLS = ("random_rows", "random_tokens")
ARMS = ("selected", *CONTROLS)


def arms_step(selection: Artifact, seeds: int, seed: int) -> Step:
    """Return the step that draws the arms."""
    return Step(
        "arms", VERSION, write_arms, {"selection": selection}, {"seeds": seeds, "seed": seed}
    )


def write_arms(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write arms.parquet: arm, seed, row_id, tokens."""
    ranking = read_table(inputs["selection"].file("ranking.parquet"))
    arms = pl.concat(
        draw_arms(ranking, [params["seed"], number]) for number in range(params["seeds"])
    )
    arms.write_parquet(out / "arms.parquet")
    return {"rows_in": ranking.height, "rows_out": arms.height}


def draw_arms(ranking: pl.DataFrame, seed: list[int]) -> pl.DataFrame:
    """Return all arms of one seed; controls are drawn from every ranked row, chosen ones included.

    Args:
        ranking: row_id, selected, tokens.
        seed: the run's seed and the number of the repetition.
    """
    chosen = ranking.filter("selected")
    rng = np.random.default_rng([*seed, 0xA12A5])
    # Sorted first, so that the draw does not depend on the ranking that it is a control for.
    shuffled = ranking.sort("row_id")[rng.permutation(ranking.height)]
    spent = shuffled["tokens"].cum_sum()
    within = max(int((spent <= chosen["tokens"].sum()).sum()), 1)
    parts = zip(ARMS, (chosen, shuffled[: chosen.height], shuffled[:within]), strict=True)
    return pl.concat(
        part.select(arm=pl.lit(arm), seed=pl.lit(seed[-1]), row_id="row_id", tokens="tokens")
        for arm, part in parts
    )
