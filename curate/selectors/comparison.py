"""Selections held against each other: what they share, how alike they rank, what each alone chooses.

    overlap     one | other | rows | other_rows | shared | jaccard | by_chance | ranked | correlation
    selections  name | rows | tokens | alone
    mix         name | source | origin | rows | tokens             (`kept` is what all chose from)
    alone       name | row_id | rank | elsewhere | elsewhere_rank  (the best few of each)

Jaccard = rows in both selections / rows in either. `by_chance` is the Jaccard similarity at the number
of rows that two random draws of these sizes share on average: no method agrees with another less than
that unless it avoids what the other takes. The rank correlation is Spearman's, over all rows that both
could score, so it sees past the budget; it is null for fewer than two rows. Rows without a score come
last in the order of their ids, which says nothing: they have no rank here.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, cached_files
from curate.core.reasons import Reason
from curate.core.store import Counts

VERSION = 2
KEPT = "kept"
LISTED = 20

Places = NDArray[np.int64]


@cached_files(version=VERSION, name="comparison")
def write_comparison(
    out: Path, rows: Table, kept: Table, tokens: Table, rankings: Mapping[str, Table]
) -> Counts:
    """Write what selections share and what they do not, see the tables above.

    Args:
        out: the folder.
        rows: the pool.
        kept: what all chose from.
        tokens: of the kept rows.
        rankings: by the names of the selections, the run's own first.
    """
    columns = ["row_id", "rank", "selected", "reason"]
    ranked = {name: rank_scored(table.read(columns)) for name, table in rankings.items()}
    row_table = (
        rows.scan()
        .select("row_id", "source", "origin")
        .join(tokens.scan(), on="row_id")
        .join(kept.scan().select("row_id"), on="row_id", how="semi")
        .collect()
    )
    names = list(ranked)
    ids, places, chosen = align(ranked)
    overlap(names, places, chosen).write_parquet(out / "overlap.parquet")
    alone = rows_in_one_selection(names, ids, places, chosen)
    count_selections(ranked, row_table, alone).write_parquet(out / "selections.parquet")
    mix(ranked, row_table).write_parquet(out / "mix.parquet")
    best = alone.sort("rank").group_by("name", maintain_order=True).head(LISTED)
    best.pipe(in_order, ranked).write_parquet(out / "alone.parquet")
    return {"rows_in": kept.height, "rows_out": int(chosen.any(axis=0).sum())}


def rank_scored(ranking: pl.DataFrame) -> pl.DataFrame:
    """Return a ranking in which rows without a score have no rank."""
    scored = pl.col("reason") != Reason.UNSCORED.value
    return ranking.with_columns(pl.when(scored).then("rank").alias("rank")).drop("reason")


def align(rankings: Mapping[str, pl.DataFrame]) -> tuple[pl.Series, Places, NDArray[np.bool_]]:
    """Return all rows by id, and for each ranking their ranks [K, N] (0: no score) and choices."""
    ids = pl.concat([r.select("row_id") for r in rankings.values()]).unique().sort("row_id")
    places = np.zeros((len(rankings), ids.height), dtype=np.int64)
    chosen = np.zeros((len(rankings), ids.height), dtype=np.bool_)
    for k, ranking in enumerate(rankings.values()):
        aligned = ids.join(ranking, on="row_id", how="left", maintain_order="left")
        places[k] = aligned["rank"].fill_null(0).to_numpy()
        chosen[k] = aligned["selected"].fill_null(value=False).to_numpy()
    return ids["row_id"], places, chosen


def overlap(names: Sequence[str], places: Places, chosen: NDArray[np.bool_]) -> pl.DataFrame:
    """Return one line for each pair of selections."""
    lines = []
    for i, j in combinations(range(len(names)), 2):
        both = int((chosen[i] & chosen[j]).sum())
        sizes = int(chosen[i].sum()), int(chosen[j].sum())
        pool = int(((places[i] > 0) | (places[j] > 0)).sum())
        ranked = (places[i] > 0) & (places[j] > 0)
        lines.append(
            {
                "one": names[i],
                "other": names[j],
                "rows": sizes[0],
                "other_rows": sizes[1],
                "shared": both,
                "jaccard": jaccard(both, *sizes),
                "by_chance": jaccard(sizes[0] * sizes[1] / max(pool, 1), *sizes),
                "ranked": int(ranked.sum()),
                "correlation": rank_correlation(places[i, ranked], places[j, ranked]),
            }
        )
    return pl.DataFrame(lines, schema=_OVERLAP)


_OVERLAP = {
    "one": pl.String, "other": pl.String, "rows": pl.Int64, "other_rows": pl.Int64,
    "shared": pl.Int64, "jaccard": pl.Float64, "by_chance": pl.Float64, "ranked": pl.Int64,
    "correlation": pl.Float64,
}  # fmt: skip


def jaccard(shared: float, one: int, other: int) -> float:
    """Return shared / either for two sets of these sizes; 1 for two empty ones."""
    either = one + other - shared
    return shared / either if either else 1.0


def rank_correlation(one: Places, other: Places) -> float | None:
    """Return Spearman's correlation of two orders of the same rows, None for fewer than two.

    Args:
        one: places of the rows, distinct; only their order counts.
        other: the same.
    """
    n = len(one)
    if n < 2:
        return None
    apart = (_dense(one) - _dense(other)).astype(np.float64)
    return float(1 - 6 * np.sum(apart * apart) / (n * (float(n) * n - 1)))


def _dense(places: Places) -> Places:
    dense = np.empty(len(places), dtype=np.int64)
    dense[np.argsort(places)] = np.arange(len(places))
    return dense


def rows_in_one_selection(
    names: Sequence[str], ids: pl.Series, places: Places, chosen: NDArray[np.bool_]
) -> pl.DataFrame:
    """Return the rows in one selection only, with the best place that another method gives them."""
    at = np.flatnonzero(chosen.sum(axis=0) == 1)
    owner = chosen[:, at].argmax(axis=0)
    others = np.where(places[:, at] > 0, places[:, at], np.iinfo(np.int64).max)
    others[owner, np.arange(len(at))] = np.iinfo(np.int64).max
    nearest = others.argmin(axis=0)
    best = others.min(axis=0)
    ranked_elsewhere = pl.Series(best < np.iinfo(np.int64).max)
    name_column = pl.Series(list(names), dtype=pl.String)
    return pl.DataFrame(
        {
            "name": name_column.gather(owner),
            "row_id": ids.gather(at),
            "rank": places[owner, at],
            "elsewhere": name_column.gather(nearest),
            "elsewhere_rank": best,
        }
    ).with_columns(pl.when(ranked_elsewhere).then(pl.col("elsewhere", "elsewhere_rank")))


def count_selections(
    rankings: Mapping[str, pl.DataFrame], row_table: pl.DataFrame, alone: pl.DataFrame
) -> pl.DataFrame:
    """Return one line for each selection: its rows and tokens, and the rows that no other has."""
    only = dict(alone.group_by("name").len().iter_rows())
    lines = []
    for name, ranking in rankings.items():
        selected_rows = ranking.filter("selected").join(row_table, on="row_id")
        tokens = (
            None if selected_rows["tokens"].null_count() else int(selected_rows["tokens"].sum())
        )
        lines.append((name, selected_rows.height, tokens, only.get(name, 0)))
    columns = {"name": pl.String, "rows": pl.Int64, "tokens": pl.Int64, "alone": pl.Int64}
    return pl.DataFrame(lines, schema=columns, orient="row")


def mix(rankings: Mapping[str, pl.DataFrame], row_table: pl.DataFrame) -> pl.DataFrame:
    """Return rows and tokens of every source and origin, in each selection and in the kept pool."""
    chosen = {name: ranking.filter("selected") for name, ranking in rankings.items()}
    parts = [
        row_table.join(rows, on="row_id", how="semi") if rows is not None else row_table
        for rows in (None, *chosen.values())
    ]
    counted = [
        part.group_by("source", "origin").agg(rows=pl.len().cast(pl.Int64), tokens=pl.sum("tokens"))
        for part in parts
    ]
    tables = [
        part.sort("source", "origin").select(pl.lit(name).alias("name"), pl.all())
        for name, part in zip((KEPT, *chosen), counted, strict=True)
    ]
    return pl.concat(tables)


def in_order(table: pl.DataFrame, rankings: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return a table's lines by the order of the selections, then by rank."""
    order = pl.DataFrame({"name": list(rankings), "at": range(len(rankings))})
    return table.join(order, on="name").sort("at", "rank").drop("at")
