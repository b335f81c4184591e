"""Further arms of a proof, which stand beside its verdict: what else the same training could be given.

    target_only    the target examples alone: does the selection add anything to them?
    target_plus    the selection and the target examples
    full           all kept rows
    balanced       as many rows as the selection, drawn at random, as many from each source
    rehearsed      the selection and the rows of earlier training that `rehearse` mixes in; with mix-cd
                   also rehearsed_random, where as many are drawn by chance
    NAME           what a method of `compare:` has selected, or a saved selection or file of that name

Each is trained as often as the selection, by the same seeds, so that a pair of trainings differs in its
rows alone. None of them has a part in the verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from curate.core.calls import Table, TableGroup, cached
from curate.proof.metrics import Metric
from curate.proof.results import gains_of
from curate.proof.statistics import estimate

VERSION = 1
TARGET_ONLY, TARGET_PLUS, FULL, BALANCED = "target_only", "target_plus", "full", "balanced"
PLAIN_ARMS = ("selected", "random")
OTHERS = (TARGET_ONLY, TARGET_PLUS, FULL, BALANCED)
# Which table an arm's rows are read from; of a file it is the arm's own name.
POOL, TARGET = "pool", "target"


@dataclass(frozen=True)
class ArmSources(TableGroup):
    """What the rows of arms are read from.

    rows: the pool. target: the target examples. files: rows of arms of their own, by the arms' names,
    and those of the second phase. rankings: what methods of `compare:` have selected, by their names.
    rehearsed: rows of arms that are trained on beside the selection, by the arms' names.
    """

    rows: Table
    target: Table | None = None
    files: Mapping[str, Table] = field(default_factory=dict)
    rankings: Mapping[str, Table] = field(default_factory=dict)
    rehearsed: Mapping[str, Table] = field(default_factory=dict)

    @property
    def tables(self) -> dict[str, Table]:
        """Return the table of rows of every place."""
        target = {TARGET: self.target} if self.target else {}
        return {POOL: self.rows, **target, **self.files, **self.rehearsed}


@cached(version=VERSION, name="other-arms")
def others(
    arms: Sequence[str], sources: ArmSources, selection: Table, runs: int, seed: int
) -> pl.DataFrame:
    """Return arm, seed, place (pool, target or an arm's name), row_id of the rows of further arms.

    Args:
        arms: their names.
        sources: of their rows.
        selection: the ranking.
        runs: how often each arm is trained.
        seed: of the run.
    """
    return pl.concat(
        _rows_of(name, sources, selection, [seed, number]).select(
            arm=pl.lit(name), seed=pl.lit(number), place="place", row_id="row_id"
        )
        for name in arms
        for number in range(runs)
    )


def _rows_of(name: str, sources: ArmSources, selection: Table, seed: list[int]) -> pl.DataFrame:
    """Return place and row_id of the rows of one training of an arm."""
    if name in sources.files:
        return _ids(sources.files[name].read(["row_id"]), name)
    if name in sources.rehearsed:
        prior = _ids(sources.rehearsed[name].read(["row_id"]), name)
        return pl.concat([_selected(selection), prior])
    if name in sources.rankings:
        return _selected(sources.rankings[name])
    if name == TARGET_ONLY:
        return _target(sources)
    if name == TARGET_PLUS:
        return pl.concat([_selected(selection), _target(sources)])
    ranking = selection.read()
    if name == FULL:
        return _ids(ranking.sort("row_id"), POOL)
    pool = sources.rows.read(["row_id", "source"])
    size = int(ranking["selected"].sum())
    return _ids(draw_balanced(ranking.join(pool, on="row_id"), size, seed), POOL)


def _ids(rows: pl.DataFrame, place: str) -> pl.DataFrame:
    return rows.select(place=pl.lit(place), row_id="row_id")


def _selected(ranking: Table) -> pl.DataFrame:
    return _ids(ranking.read().filter("selected"), POOL)


def _target(sources: ArmSources) -> pl.DataFrame:
    return _ids(sources.tables[TARGET].read(["row_id"]), TARGET)


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
