"""Greedy maximum entropy: rows that keep the attributes of the selection as evenly mixed as can be.

Delmas, Wysocka and Freitas 2023, arXiv:2311.06364. Each attribute k (where a row comes from, how long
it is, its tags) has a set V_k of values in the pool. With p the shares of the values among the rows
chosen,

    H_k = - sum p ln p        next row = argmin | (H_1 .. H_K) - (ln |V_1| .. ln |V_K|) |

so that each next row brings all entropies together nearest to those of an even mixture. A row may have
several values of an attribute, each counts. A row without one counts as a value of its own.

Rows with the same values are one kind to the method, so all kinds are tried at each step, not all
rows: rows x kinds x attributes operations. `approx` tries only as many random rows; the best of m
among L rows is one of the n best with probability 1 - C(L - n, m) / C(L, m). Within a kind, and
between kinds that are equally good, a shuffle by the seed decides.

Pitfalls: entropy falls again when the rare values are used up, so a gain below 0 says that a budget is
larger than an even mixture allows. Attributes whose values are nearly all different have no mixture to
speak of. Attributes are balanced one by one, not jointly.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curate.core.calls import Counted, Table, cached
from curate.core.entropy import entropies_after
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.selectors.groups import META, group_evidence, read_groups

VERSION = 1
SALT = 0x63E
PLAIN = ("source", "origin", "length")


@method
class GmeSelector(Selector):
    """Rows that keep attributes evenly mixed: greedy maximum entropy."""

    title: ClassVar[str] = "greedy maximum entropy"
    version: ClassVar[int] = VERSION
    evidence_keys: ClassVar[tuple[str, ...]] = ("attributes",)
    on_targets: ClassVar[str] = "within the range of random draws on all 8"

    method: Literal["gme"] = "gme"
    attributes: list[str] = Field(
        list(PLAIN),
        min_length=1,
        description="what is to be mixed: source, origin, length (tokens, in powers of two), "
        "meta.FIELD, a field of the records with a value or a list of values, or STAGE.COLUMN",
    )
    approx: int | None = Field(
        None,
        gt=0,
        description="try this many random rows at each step; all if not given",
        examples=[10],
    )

    @field_validator("attributes")
    @classmethod
    def _check_attributes(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in PLAIN and not all(name.partition(".")[::2]):
                raise ValueError(
                    f"{name!r} is none of {', '.join(PLAIN)}, meta.FIELD and STAGE.COLUMN"
                )
        if len(set(value)) < len(value):
            raise ValueError("each attribute can be named once")
        return value

    def score_rows(self, run: ScoreRun) -> Table:
        """Store the greedy order of all rows."""
        measured = {name: group_evidence(run, name, "attributes") for name in self.attributes}
        return run(
            scores,
            rows=run.rows,
            kept=run.kept,
            tokens=run.tokens,
            attributes=self.attributes,
            approx=self.approx,
            seed=run.seed,
            evidence={name: table for name, table in measured.items() if table} or None,
        )

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers in greedy order."""
        return scores["place"].arg_sort().to_numpy().astype(np.int64)


@dataclass(frozen=True)
class Bags:
    """Values of one attribute that rows of each kind have [C, W], and how often; 0 times is padding."""

    values: NDArray[np.int64]
    times: NDArray[np.int64]

    @property
    def distinct(self) -> int:
        """Return how many values there are."""
        return int(self.values.max()) + 1


@dataclass(frozen=True)
class GreedyMixture:
    """The greedy order: row numbers, and the distance to an even mixture after each."""

    rows: NDArray[np.int64]
    distance: NDArray[np.float64]


@cached(version=VERSION, name="score-gme")
def scores(
    rows: Table,
    kept: Table,
    tokens: Table,
    attributes: Sequence[str],
    approx: int | None,
    seed: int,
    evidence: Mapping[str, Table] | None = None,
) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id, place, distance.

    score is how much nearer to an even mixture the row brought the selection, distance what is left.
    """
    rng = np.random.default_rng([seed, SALT])
    table = _attributes(rows, kept, tokens, attributes, evidence or {})
    table = table[rng.permutation(table.height)]
    kinds, bags = find_kinds(table.drop("row_id"))
    mixed = mix_evenly(kinds, bags, approx, rng)
    start = np.linalg.norm([np.log(bag.distinct) for bag in bags])
    frame = pl.DataFrame(
        {
            "row_id": table["row_id"].gather(mixed.rows),
            "score": -np.diff(mixed.distance, prepend=start).astype(np.float32),
            "nearest_id": pl.Series([None] * len(kinds), dtype=pl.String),
            "place": np.arange(1, len(kinds) + 1),
            "distance": mixed.distance,
        }
    )
    values = {name: bag.distinct for name, bag in zip(attributes, bags, strict=True)}
    return Counted(frame, {"values": values})


def _attributes(
    rows: Table, kept: Table, tokens: Table, names: Sequence[str], evidence: Mapping[str, Table]
) -> pl.DataFrame:
    """Return the kept rows sorted by id, with a list of values for each attribute."""
    columns = {name: pl.col(name).fill_null("") for name in ("source", "origin")}
    # A power of two must not fall below itself by rounding.
    doublings = (pl.col("tokens").clip(1).log(2) + 1e-9).floor()
    columns["length"] = doublings.cast(pl.Int64).cast(pl.String)
    table = (
        rows.scan()
        .drop("messages")
        .join(kept.scan().select("row_id"), on="row_id", how="semi")
        .join(tokens.scan(), on="row_id")
        .sort("row_id")
    )
    plain = [pl.concat_list(columns[name]).alias(name) for name in names if name in PLAIN]
    attribute_table = table.select("row_id", "meta", *plain).collect()
    for name, verdicts in evidence.items():
        groups = read_groups(rows, kept, name, verdicts).select(
            "row_id", pl.concat_list("group").alias(name)
        )
        attribute_table = attribute_table.join(
            groups, on="row_id", how="left", maintain_order="left"
        )
    fields = [name for name in names if name.startswith(META)]
    for name in fields:
        values = _read_field(attribute_table["meta"], name.removeprefix(META))
        attribute_table = attribute_table.with_columns(
            pl.Series(name, values, dtype=pl.List(pl.String))
        )
    return attribute_table.select("row_id", *names)


def _read_field(metas: pl.Series, field: str) -> list[list[str]]:
    field_values = [json.loads(meta).get(field) for meta in metas]
    if all(value is None for value in field_values):
        raise UserError(f"select.attributes: no row has a field {field!r} in its meta")
    lists = [value if isinstance(value, list) else [value] for value in field_values]
    return [["" if v is None else str(v) for v in values] or [""] for values in lists]


def find_kinds(table: pl.DataFrame) -> tuple[NDArray[np.int64], list[Bags]]:
    """Return each row's kind, numbered as they come, and the values of each kind by attribute.

    Args:
        table: a column of lists of strings for each attribute.
    """
    keys = table.select(pl.all().list.sort().list.join("\x1f"))
    numbered = keys.with_row_index("row")
    first = numbered.select(pl.col("row").min().over(keys.columns))["row"]
    rows, kinds = np.unique(first.to_numpy(), return_inverse=True)
    return kinds, [make_bags(table[rows][name].to_list()) for name in table.columns]


def make_bags(lists: Sequence[Sequence[Any]]) -> Bags:
    """Return lists of values as numbers, in the order in which the values come."""
    counted = [Counter(values) for values in lists]
    names = {value: i for i, value in enumerate(dict.fromkeys(v for c in counted for v in c))}
    width = max(map(len, counted))
    values = np.zeros((len(lists), width), dtype=np.int64)
    times = np.zeros((len(lists), width), dtype=np.int64)
    for i, counts in enumerate(counted):
        values[i, : len(counts)] = [names[value] for value in counts]
        times[i, : len(counts)] = list(counts.values())
    return Bags(values, times)


def mix_evenly(
    kinds: NDArray[np.int64],
    bags: Sequence[Bags],
    approx: int | None,
    rng: np.random.Generator,
) -> GreedyMixture:
    """Return all rows in greedy order; of equally good rows the first comes first.

    Args:
        kinds: of each row [N].
        bags: values of each kind, for each attribute.
        approx: how many random rows are tried at each step; all if None.
        rng: draws them.
    """
    counts = [np.zeros(bag.distinct, dtype=np.int64) for bag in bags]
    max_entropies = [float(np.log(bag.distinct)) for bag in bags]
    left = _Queues(kinds) if approx is None else _Draws(kinds, approx, rng)
    rows = np.empty(len(kinds), dtype=np.int64)
    distance = np.empty(len(kinds))
    for place in range(len(kinds)):
        tried = left.tried()
        squares = np.zeros(len(tried))
        for bag, count, max_entropy in zip(bags, counts, max_entropies, strict=True):
            squares += (
                entropies_after(count, bag.values[tried], bag.times[tried]) - max_entropy
            ) ** 2
        best = int(squares.argmin())
        distance[place] = np.sqrt(squares[best])
        rows[place] = left.take(best)
        for bag, count in zip(bags, counts, strict=True):
            np.add.at(count, bag.values[tried[best]], bag.times[tried[best]])
    return GreedyMixture(rows, distance)


class _Queues:
    """All rows left: every kind is tried, and its first row is taken."""

    def __init__(self, kinds: NDArray[np.int64]) -> None:
        order = np.argsort(kinds, kind="stable")
        starts = np.flatnonzero(np.diff(kinds[order])) + 1
        self.rows: list[Iterator[int]] = [iter(p.tolist()) for p in np.split(order, starts)]
        self.sizes = np.bincount(kinds)
        self.kinds = np.arange(len(self.sizes))

    def tried(self) -> NDArray[np.int64]:
        return self.kinds

    def take(self, place: int) -> int:
        kind = int(self.kinds[place])
        self.sizes[kind] -= 1
        if not self.sizes[kind]:
            self.kinds = np.delete(self.kinds, place)
        return next(self.rows[kind])


class _Draws:
    """All rows left: a few random ones are tried."""

    def __init__(self, kinds: NDArray[np.int64], count: int, rng: np.random.Generator) -> None:
        self.kinds, self.count, self.rng = kinds, count, rng
        self.rows = np.arange(len(kinds))
        self.drawn = self.rows

    def tried(self) -> NDArray[np.int64]:
        count = min(self.count, len(self.rows))
        self.drawn = self.rng.choice(len(self.rows), count, replace=False, shuffle=False)
        return self.kinds[self.rows[self.drawn]]

    def take(self, place: int) -> int:
        at = self.drawn[place]
        row = int(self.rows[at])
        # The last one fills the gap.
        self.rows[at] = self.rows[-1]
        self.rows = self.rows[:-1]
        return row
