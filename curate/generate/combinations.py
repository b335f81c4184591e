"""Combinations of the values that a pool's records have in some fields, and which of them it lacks most.

    {"topic": "fractions", "level": "expert"}      a combination of the fields topic and level

With p the shares of the values of a field k among the rows, of which it has the set V_k, and with the
combinations as one field more,

    H_k = - sum p ln p        next = argmin | (H_1 .. H_K) - (ln |V_1| .. ln |V_K|) |

as greedy maximum entropy has it (Delmas et al. 2023, arXiv:2311.06364), which chooses among rows that
there are. Ours is that it begins with the counts of the pool, that any combination may come next, and
that combinations count as well, so that one that is absent comes before one that is rare. Each that is
named is counted as if it were there already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from curate.core.entropy import entropies_after
from curate.core.errors import UserError

MOST_COMBINATIONS = 20_000
DECIMALS = 12
# Of a column: what the record says, before it is a list.
TEXT = ".text"


@dataclass(frozen=True)
class PoolFields:
    """The values of the rows in some fields.

    rows: row_id and a list of values for each field; only rows that have one in some field.
    values: the values of each field, sorted.
    """

    rows: pl.DataFrame
    values: Mapping[str, Sequence[str]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return how many values each field has."""
        return tuple(len(values) for values in self.values.values())


def read_fields(
    pool: pl.LazyFrame, fields: Sequence[str], more: Mapping[str, Sequence[str]]
) -> PoolFields:
    """Return what the rows of a pool have in fields of their records.

    Args:
        pool: row_id and meta.
        fields: their names.
        more: values that count as well, though no row may have them.

    Raises:
        UserError: a field has no value, or there are too many combinations.
    """
    texts = [_text_of(field) for field in fields]
    rows = pool.select("row_id", "meta", *texts).collect().sort("row_id")
    for field in fields:
        rows = rows.join(_lists_of(rows, field), on="row_id", how="left", maintain_order="left")
    some = pl.any_horizontal(pl.col(field).list.len() > 0 for field in fields)
    rows = rows.select("row_id", *fields).filter(some)
    values = {
        field: sorted({*rows[field].explode().drop_nulls().unique(), *more.get(field, ())})
        for field in fields
    }
    lacking = [field for field, names in values.items() if not names]
    if lacking:
        raise UserError(
            f"fields: no row of the pool has a value of {lacking[0]!r} in its record; name a field "
            "of the records, or give `values` of it"
        )
    count = int(np.prod([len(names) for names in values.values()]))
    if count > MOST_COMBINATIONS:
        raise UserError(
            f"fields: {count:,} combinations of {', '.join(fields)} are more than "
            f"{MOST_COMBINATIONS:,}; name fewer fields, or fields of fewer values"
        )
    return PoolFields(rows, values)


def _text_of(field: str) -> pl.Expr:
    """Return the value of a field of meta; a list as JSON."""
    return pl.col("meta").str.json_path_match(f"$.{field}").alias(f"{field}{TEXT}")


def _lists_of(rows: pl.DataFrame, field: str) -> pl.DataFrame:
    """Return row_id and the values of a field, of the rows that have some."""
    text = pl.col(f"{field}{TEXT}")
    may_be_list = text.str.starts_with("[")
    single = rows.filter(~may_be_list, text.str.len_chars() > 0)
    several = rows.filter(may_be_list)
    values = [_values_of(meta, field) for meta in several["meta"]]
    lists = [
        single.select("row_id", pl.concat_list(text).alias(field)),
        several.select("row_id", pl.Series(field, values, dtype=pl.List(pl.String))),
    ]
    return pl.concat(lists).filter(pl.col(field).list.len() > 0)


def _values_of(meta: str, field: str) -> list[str]:
    """Return the values of a field of a record, each once; what is no text in a list as JSON."""
    value = orjson.loads(meta)[field]
    if isinstance(value, str):
        return [value]
    some = (one for one in value if one is not None and one != "")
    texts = (one if isinstance(one, str) else orjson.dumps(one).decode() for one in some)
    return list(dict.fromkeys(texts))


def count_values(pool_fields: PoolFields, field: str) -> NDArray[np.int64]:
    """Return how many rows have each value of a field [V]."""
    names = pool_fields.values[field]
    counts = pool_fields.rows[field].explode().value_counts(name="rows")
    rows = dict(zip(counts[field], counts["rows"], strict=True))
    return np.array([rows.get(name, 0) for name in names], dtype=np.int64)


def count_combinations(pool_fields: PoolFields) -> NDArray[np.int64]:
    """Return how many rows have each combination [C], in the order of `combinations`."""
    fields = list(pool_fields.values)
    rows = pool_fields.rows
    for field in fields:
        numbers = {name: number for number, name in enumerate(pool_fields.values[field])}
        rows = rows.explode(field).drop_nulls(field)
        rows = rows.with_columns(pl.col(field).replace_strict(numbers, return_dtype=pl.Int64))
    places = np.ravel_multi_index([rows[field].to_numpy() for field in fields], pool_fields.shape)
    return np.bincount(places, minlength=int(np.prod(pool_fields.shape))).astype(np.int64)


def combinations(pool_fields: PoolFields) -> NDArray[np.int64]:
    """Return all combinations as numbers of values [C, K]."""
    return np.indices(pool_fields.shape).reshape(len(pool_fields.shape), -1).T


def name_combinations(
    pool_fields: PoolFields, count: int, rng: np.random.Generator
) -> list[dict[str, str]]:
    """Return so many combinations that a pool lacks most, each by the value of every field.

    Args:
        pool_fields: what the pool has.
        count: how many; one may come several times.
        rng: decides between those that are equally lacking.
    """
    every = combinations(pool_fields)[rng.permutation(int(np.prod(pool_fields.shape)))]
    whole = np.ravel_multi_index(list(every.T), pool_fields.shape)
    columns = [*every.T, whole]
    counts = [
        *(count_values(pool_fields, field) for field in pool_fields.values),
        count_combinations(pool_fields),
    ]
    chosen = []
    for _ in range(count):
        squares = np.zeros(len(every))
        for column, one in zip(columns, counts, strict=True):
            values = np.arange(len(one))[:, None]
            squares += (entropies_after(one, values, np.ones_like(values)) - np.log(len(one)))[
                column
            ] ** 2
        best = int(squares.round(DECIMALS).argmin())
        for column, one in zip(columns, counts, strict=True):
            one[column[best]] += 1
        chosen.append(every[best])
    return [
        {field: names[i] for (field, names), i in zip(pool_fields.values.items(), row, strict=True)}
        for row in chosen
    ]
