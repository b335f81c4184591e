"""Selections as sets: how far they lie from the target, and how diverse they are, beside random draws.

    name | draw | rows | read | vendi | discrepancy

`discrepancy` is the squared maximum mean discrepancy to the target examples (curate.models.discrepancy),
`vendi` the Vendi score (curate.models.vendi), both of whole rows' embeddings by the run's own embedder.
`draw` numbers DRAWS random draws of as many kept rows as the run's own selection has, null for
selections. One bandwidth serves all sets: the median distance among the target and the first draw. Of a
set of more than SAMPLED rows so many are read, and rows in which the embedder knows nothing are left
out: `read` of `rows` are.

Cost: vectors of target coverage, and SAMPLED^2 products of two of them for each set.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, cached
from curate.core.run import ScoreRun
from curate.models.discrepancy import maximum_mean_discrepancy, median_distance
from curate.models.vendi import vendi_score
from curate.selectors.pool_target import (
    PoolAndTarget,
    embed_pool_and_target,
    iter_pool_embeddings,
    read_target_embeddings,
)

VERSION = 1
DRAWS = 9
SAMPLED = 2_000
DECIMALS = 6
SCHEMA = {
    "name": pl.String, "draw": pl.Int64, "rows": pl.Int64, "read": pl.Int64, "vendi": pl.Float64,
    "discrepancy": pl.Float64,
}  # fmt: skip

Places = NDArray[np.int64]
Vectors = NDArray[np.float32]


def measure_sets(run: ScoreRun, rankings: Mapping[str, Table]) -> Table:
    """Measure selections, by their names, the run's own first, and random draws of its size."""
    return run(set_measures, embed_pool_and_target(run), dict(rankings), run.seed)


@cached(version=VERSION, name="set-measures")
def set_measures(embedded: PoolAndTarget, rankings: Mapping[str, Table], seed: int) -> pl.DataFrame:
    """Return a line for each selection and each random draw."""
    ids = embedded.kept.read(["row_id"])
    rng = np.random.default_rng([seed, 0x5E75])
    chosen = {name: _selected(ids, table) for name, table in rankings.items()}
    size = len(next(iter(chosen.values())))
    draws = [np.sort(rng.permutation(ids.height)[:size]) for _ in range(DRAWS)]
    sets: list[tuple[str, int | None, Places]]
    sets = [(name, None, places) for name, places in chosen.items()]
    sets += [("random", draw, places) for draw, places in enumerate(draws)]
    sampled = [np.sort(rng.permutation(places)[:SAMPLED]) for *_, places in sets]
    vectors = _gather(embedded, sampled)
    target = _without_blank(read_target_embeddings(embedded))
    target = target[np.sort(rng.permutation(len(target))[:SAMPLED])]
    width = median_distance(np.concatenate([target, vectors[len(chosen)]]))
    lines = [
        (name, draw, len(places), len(own), *_measure(own, target, width))
        for (name, draw, places), own in zip(sets, vectors, strict=True)
    ]
    return pl.DataFrame(lines, schema=SCHEMA, orient="row")


def _selected(ids: pl.DataFrame, ranking: Table) -> Places:
    """Return the places of a selection's rows among the kept ones."""
    selected = ranking.read(["row_id", "selected"])
    aligned = ids.join(selected, on="row_id", how="left", maintain_order="left")
    return np.flatnonzero(aligned["selected"].fill_null(value=False).to_numpy())


def _gather(embedded: PoolAndTarget, sets: list[Places]) -> list[Vectors]:
    """Return the vectors of each set of places, from blocks of which one is held at a time."""
    parts: list[list[Vectors]] = [[] for _ in sets]
    start = 0
    for block in iter_pool_embeddings(embedded):
        for own, places in zip(parts, sets, strict=True):
            within = places[(places >= start) & (places < start + len(block))]
            own.append(block[within - start])
        start += len(block)
    return [_without_blank(np.concatenate(own)) for own in parts]


def _without_blank(vectors: Vectors) -> Vectors:
    return vectors[vectors.any(axis=1)]


def _measure(vectors: Vectors, target: Vectors, width: float) -> tuple[float | None, float | None]:
    """Return Vendi score and discrepancy; None of what a set is too small for."""
    discrepancy = maximum_mean_discrepancy(vectors, target, width)
    return (
        vendi_score(vectors) if len(vectors) else None,
        None if discrepancy is None else round(discrepancy, DECIMALS),
    )
