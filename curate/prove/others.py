"""Further arms of a proof, which stand beside its verdict: what else the same training could be given.

    target_only    the target examples alone: does the selection add anything to them?
    target_plus    the selection and the target examples
    full           all kept rows
    balanced       as many rows as the selection, drawn at random, as many from each source
    NAME           what a method of `compare:` has selected, or a saved selection or file of that name

Each is trained as often as the selection, by the same seeds, so that a pair of trainings differs in its
rows alone. None of them has a part in the verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table
from curate.prove.metrics import Metric
from curate.prove.results import gains_of
from curate.prove.statistics import estimate

VERSION = 1
TARGET_ONLY, TARGET_PLUS, FULL, BALANCED = "target_only", "target_plus", "full", "balanced"
PLAIN_ARMS = ("selected", "random")
OTHERS = (TARGET_ONLY, TARGET_PLUS, FULL, BALANCED)
# Which artifact an arm's rows are read from; of a file it is the arm's own name.
POOL, TARGET = "pool", "target"
FILE_PART, RANKING_PART = "file-", "ranking-"


def others_step(names: Sequence[str], inputs: Mapping[str, Artifact], runs: int, seed: int) -> Step:
    """Return the step that lists the rows of further arms.

    Args:
        names: of the arms.
        inputs: selection, rows, target, and `file-NAME` or `ranking-NAME` of arms by name.
        runs: how often each arm is trained.
        seed: of the run.
    """
    params = {"arms": list(names), "runs": runs, "seed": seed}
    return Step("other-arms", VERSION, write_others, inputs, params)


def write_others(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write others.parquet: arm, seed, place (pool, target or an arm's name), row_id."""
    parts = [
        _rows_of(name, inputs, [params["seed"], number]).select(
            arm=pl.lit(name), seed=pl.lit(number), place="place", row_id="row_id"
        )
        for name in params["arms"]
        for number in range(params["runs"])
    ]
    others = pl.concat(parts)
    others.write_parquet(out / "others.parquet")
    return {"rows_out": others.height}


def _rows_of(name: str, inputs: Mapping[str, Artifact], seed: list[int]) -> pl.DataFrame:
    """Return place and row_id of the rows of one training of an arm."""
    if f"{FILE_PART}{name}" in inputs:
        return _ids(read_table(inputs[f"{FILE_PART}{name}"].file("rows.parquet")), name)
    if f"{RANKING_PART}{name}" in inputs:
        return _selected(inputs[f"{RANKING_PART}{name}"])
    if name == TARGET_ONLY:
        return _target(inputs)
    if name == TARGET_PLUS:
        return pl.concat([_selected(inputs["selection"]), _target(inputs)])
    ranking = read_table(inputs["selection"].file("ranking.parquet"))
    if name == FULL:
        return _ids(ranking.sort("row_id"), POOL)
    size = int(ranking["selected"].sum())
    sources = read_table(inputs["rows"].file("rows.parquet"), columns=["row_id", "source"])
    return _ids(draw_balanced(ranking.join(sources, on="row_id"), size, seed), POOL)


def _ids(rows: pl.DataFrame, place: str) -> pl.DataFrame:
    return rows.select(place=pl.lit(place), row_id="row_id")


def _selected(selection: Artifact) -> pl.DataFrame:
    return _ids(read_table(selection.file("ranking.parquet")).filter("selected"), POOL)


def _target(inputs: Mapping[str, Artifact]) -> pl.DataFrame:
    return _ids(read_table(inputs["target"].file("rows.parquet")), TARGET)


def draw_balanced(rows: pl.DataFrame, size: int, seed: list[int]) -> pl.DataFrame:
    """Return rows drawn at random, as many from each source as far as it has them.

    Sources take turns, in random order; one that has no row left is passed over.

    Args:
        rows: row_id and source.
        size: how many rows to draw.
        seed: of the draw.
    """
    rng = np.random.default_rng([*seed, 0xBA1A])
    shuffled = rows.sort("row_id")[rng.permutation(rows.height)]
    turns = shuffled.with_columns(turn=pl.int_range(pl.len()).over("source"))
    return turns.sort("turn", maintain_order=True).head(size)


def describe_others(
    results: pl.DataFrame, names: Sequence[str], metric: Metric
) -> list[dict[str, Any]]:
    """Return how far the selection lies from each further arm, as proof.json has it; no verdicts.

    Beside it how much more the selection gives to the target examples, where both arms are there.

    Args:
        results: a line for each arm, seed and eval example.
        names: of the further arms.
        metric: the one that decides the verdict.
    """
    pairs = [("selected", name) for name in names]
    pairs += [(TARGET_PLUS, TARGET_ONLY)] if {TARGET_PLUS, TARGET_ONLY} <= {*names} else []
    return [
        {
            "arm": one,
            "against": other,
            "unit": metric.unit,
            **asdict(estimate(gains_of(results, one, metric), gains_of(results, other, metric))),
        }
        for one, other in pairs
    ]


def other_tables(inputs: Mapping[str, Artifact]) -> dict[str, Path]:
    """Return the table of rows of every place, from the inputs of `others_step`."""
    tables = {POOL: inputs["rows"].file("rows.parquet")}
    if "target" in inputs:
        tables[TARGET] = inputs["target"].file("rows.parquet")
    files = {name: a for name, a in inputs.items() if name.startswith(FILE_PART)}
    return tables | {
        name.removeprefix(FILE_PART): artifact.file("rows.parquet")
        for name, artifact in files.items()
    }
