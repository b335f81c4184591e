"""How near groups of rows are to the target examples, by measures that train nothing.

    embedding   cosine of the mean embeddings (SEmb of Poth et al. 2021, arXiv:2104.08247): the best of
                the cheap ways there to rank sources for a target
    ngrams      Jensen-Shannon divergence, 0 to 1, of words and pairs of words, hashed as in DSIR
    mmd         squared maximum mean discrepancy of embeddings (curate.models.discrepancy), with one
                bandwidth for all groups: the median distance of target examples and rows

That divergences of domains tell which task helps another: Pugantsov & McCreadie 2023, arXiv:2302.05735.
Ours: how many rows of a group mmd reads (DRAWN), and the number of BUCKETS.

Cost: one pass of the embedder over the rows, shared with other steps, and one reading of their words.
Pitfalls: on 26 P3 sets each measure put a target's own set first, and told no better than chance which
of the others help it (docs/methods/selecting.md); that is for trials. A group of few rows has few of the
n-grams that it could have, so by `ngrams` it looks farther than it is, and so does one that shares no
template with the target. A mean embedding says nothing of how widely a group spreads.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, cached
from curate.core.errors import UserError
from curate.core.fixedpoint import fixed_point
from curate.models.discrepancy import maximum_mean_discrepancy, median_distance
from curate.models.neighbours.nearest import nearest
from curate.selectors.dsir import count_buckets, hash_ngrams
from curate.selectors.groups import read_groups
from curate.selectors.pool_target import (
    PoolAndTarget,
    iter_pool_embeddings,
    iter_pool_texts,
    read_target_embeddings,
    read_target_texts,
)
from curate.selectors.vectors import read_pool_embeddings

VERSION = 1
Measure = Literal["embedding", "ngrams", "mmd"]
# Of these a small value is near.
DISTANCES = ("ngrams", "mmd")
BUCKETS = 10_000
DRAWN = 1_000
MOST_GROUPS = 1_000
# Beyond these, a figure says which processor added it up.
DECIMALS = 6
Vectors = NDArray[np.floating]
Counts = NDArray[np.int64]


@cached(version=VERSION, name="groups")
def row_groups(rows: Table, kept: Table, by: str, evidence: Table | None = None) -> pl.DataFrame:
    """Return row_id, position and group of the kept rows, in pool order.

    Raises:
        UserError: there are more groups than can be compared.
    """
    frame = kept.read().join(
        read_groups(rows, kept, by, evidence), on="row_id", how="left", maintain_order="left"
    )
    if (count := frame["group"].n_unique()) > MOST_GROUPS:
        raise UserError(
            f"select.by: {by} makes {count:,} groups of {frame.height:,} rows, and at most "
            f"{MOST_GROUPS:,} are compared; name something coarser"
        )
    return frame


@cached(version=VERSION, name="group-measures")
def measures(
    rows: Table, tokens: Table, groups: Table, embedded: PoolAndTarget, which: Sequence[Measure]
) -> pl.DataFrame:
    """Return group, rows, tokens, the measures and the rank by each, and nearest [Q], by group.

    Rank 1 is the nearest group; a group that has no value of a measure comes last. nearest is the
    largest cosine of a row of the group with each target example, -1 without any.
    """
    table = groups.read().join(tokens.read(["row_id", "tokens"]), on="row_id", how="left")
    lines = table.group_by("group").agg(rows=pl.len(), tokens=_sum("tokens")).sort("group")
    target = read_target_embeddings(embedded)
    parts = group_embeddings(embedded, table)
    values: dict[Measure, NDArray[np.float64]] = {}
    if "embedding" in which:
        values["embedding"] = mean_cosines(
            embedded, group_codes(groups.read(["group"])["group"]), lines.height
        )
    if "ngrams" in which:
        values["ngrams"] = ngram_divergences(rows, groups, embedded.target)
    if "mmd" in which:
        values["mmd"] = discrepancies(parts, target)
    near = np.array([_nearest(part, target) for part in parts], dtype=np.float32)
    columns = [pl.Series(name, values[name]).round(DECIMALS).fill_nan(None) for name in which]
    return (
        lines.with_columns(columns)
        .with_columns(rank_of(name) for name in which)
        .with_columns(nearest=pl.Series(near, dtype=pl.Array(pl.Float32, len(target))))
    )


def _sum(column: str) -> pl.Expr:
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum())


def rank_of(name: Measure) -> pl.Expr:
    """Return the rank by a measure: 1 for the nearest, the last ones for null."""
    far = pl.col(name) if name in DISTANCES else -pl.col(name)
    return far.fill_null(np.inf).rank("min").cast(pl.Int64).alias(f"{name}_rank")


def group_embeddings(embedded: PoolAndTarget, groups: pl.DataFrame) -> list[Vectors]:
    """Return the embeddings of each group's rows that are not blank, groups by name, rows by id."""
    pool = read_pool_embeddings(embedded)
    names = pl.DataFrame({"row_id": pool.ids}).join(
        groups.select("row_id", "group"), on="row_id", how="left", maintain_order="left"
    )["group"]
    codes = group_codes(names)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    return [pool.vectors[part[~pool.blank[part]]] for part in parts]


def mean_cosines(
    embedded: PoolAndTarget, codes: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Return the cosine of each group's mean embedding with the target's; NaN where one has none.

    Sums are exact in fixed point, and so the same in any order; no more than one block is held.

    Args:
        embedded: the rows in pool order.
        codes: the group of each row, in pool order.
        count: of groups.
    """
    target = fixed_point(read_target_embeddings(embedded)).sum(axis=0)
    sums, start = np.zeros((count, len(target))), 0
    for block in iter_pool_embeddings(embedded):
        np.add.at(sums, codes[start : start + len(block)], fixed_point(block))
        start += len(block)
    lengths = np.linalg.norm(sums, axis=1) * np.linalg.norm(target)
    cosines = np.full(count, np.nan)
    np.divide((sums * target).sum(axis=1), lengths, out=cosines, where=lengths > 0)
    return cosines


def group_codes(names: pl.Series) -> NDArray[np.int64]:
    """Return the number of each row's group, in the order of the groups' names."""
    return names.rank("dense").to_numpy().astype(np.int64) - 1


def discrepancies(parts: Sequence[Vectors], target: Vectors) -> NDArray[np.float64]:
    """Return the squared MMD of each group and the target; NaN where one has fewer than two rows."""
    examples = target[target.any(axis=1)]
    drawn = [evenly_spaced(part) for part in parts]
    width = median_distance(np.concatenate([examples, *drawn]))
    values = [maximum_mean_discrepancy(part, examples, width) for part in drawn]
    return np.array(values, dtype=np.float64)


def evenly_spaced(vectors: Vectors) -> Vectors:
    """Return at most DRAWN of the vectors."""
    count = min(len(vectors), DRAWN)
    return vectors[np.arange(count) * len(vectors) // max(count, 1)]


def ngram_divergences(rows: Table, groups: Table, target: Table) -> NDArray[np.float64]:
    """Return the divergence of each group's n-grams from the target's; NaN where one has none."""
    codes = group_codes(groups.read(["group"])["group"])
    counts = np.zeros((int(codes.max()) + 1) * BUCKETS, dtype=np.int64)
    start = 0
    for texts in iter_pool_texts(rows, groups, "example"):
        bucket, owner = hash_ngrams(texts, BUCKETS)
        counts += np.bincount(codes[start + owner] * BUCKETS + bucket, minlength=len(counts))
        start += len(texts)
    own = count_buckets([read_target_texts(target, "example")], BUCKETS)
    return np.array([jensen_shannon(part, own) for part in counts.reshape(-1, BUCKETS)])


def jensen_shannon(one: Counts, other: Counts) -> float:
    """Return the divergence of two counts in bits, 0 for the same shares and 1 where none is shared."""
    if not one.any() or not other.any():
        return float("nan")
    shares = np.stack([one / one.sum(), other / other.sum()])
    middle = np.broadcast_to(shares.mean(axis=0), shares.shape)
    filled = shares > 0
    return float((shares[filled] * np.log2(shares[filled] / middle[filled])).sum() / 2)


def _nearest(part: Vectors, target: Vectors) -> NDArray[np.float64]:
    cosines = nearest(target, [part], 1)[1]
    return cosines[:, 0] if cosines.size else np.full(len(target), -1.0)
