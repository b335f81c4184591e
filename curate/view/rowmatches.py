"""Rows that meet the conditions of a filter: their positions, and how many of each kind there are.

Each condition is a mask over all rows, kept for a while: a click changes one of them, and the others
are at hand.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from threading import Lock
from typing import TypeVar

import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from curate.core.errors import UserError
from curate.runs.rowquery import quoted_condition
from curate.view.rowfilter import PAGE_ROWS, RowFilter
from curate.view.rowtable import Bits, RowTable

MOST_MASKS = 40
# Of a million rows in an order, eight megabytes.
MOST_ORDERS = 6
MOST_VALUES = 200
MOST_MESSAGE = 300
# Behind it, the engine speaks of its own plan.
PLAN = re.compile("; valid columns|This error occurred|Resolved plan until")
# No column of a run, so that none hides it.
POSITION = "\0position"
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class FacetCount:
    """A value of a facet, and how many rows have it among those that the other filters leave."""

    value: str
    rows: int
    chosen: bool


@dataclass(frozen=True)
class RowMatches:
    """The rows of a filter in its order."""

    positions: pl.Series

    @classmethod
    def none(cls) -> "RowMatches":
        """Return no rows."""
        return cls(pl.Series([], dtype=pl.Int64))

    @property
    def count(self) -> int:
        """Return how many rows there are."""
        return len(self.positions)

    @property
    def pages(self) -> int:
        """Return how many pages they make."""
        return max(-(-self.count // PAGE_ROWS), 1)

    def page(self, number: int) -> pl.Series:
        """Return the rows of a page."""
        return self.positions[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]


@dataclass(frozen=True)
class RowMatcher:
    """Finds the rows of filters in a table."""

    table: RowTable
    _masks: OrderedDict[str, Bits] = field(default_factory=OrderedDict)
    _orders: OrderedDict[tuple[str, str], pl.Series] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def find(self, query: RowFilter) -> RowMatches:
        """Return the rows of a filter.

        Raises:
            UserError: its condition is none, or names no column.
        """
        if query.where:
            # By itself: among others in brackets, half a condition could pass for a whole one.
            self._parsed(query.where)
        key = query.condition, query.sort

        def find() -> pl.Series:
            positions = pl.Series(np.flatnonzero(self._all_of(query.parts.values())))
            return self._ordered(positions, query.sort)

        return RowMatches(self._remembered(self._orders, key, find, MOST_ORDERS))

    def facets(self, query: RowFilter) -> dict[str, list[FacetCount]]:
        """Return the values of each facet under all other parts of a filter, the commonest first."""
        counts = {}
        for name in self.table.facets:
            others = [sql for part, sql in query.parts.items() if part != name]
            counts[name] = self._counts(name, self._all_of(others), query.values(name))
        return counts

    def _counts(self, name: str, mask: Bits, chosen: Iterable[str]) -> list[FacetCount]:
        column = self.table.column(name)
        kept = column if mask.all() else column.filter(pl.Series(mask))
        table = kept.rename("value").value_counts(sort=True, name="rows").head(MOST_VALUES)
        rows = {value or "": count for value, count in table.iter_rows()}
        absent = {value: 0 for value in chosen if value not in rows}
        return [FacetCount(v, n, v in set(chosen)) for v, n in (rows | absent).items()]

    def _all_of(self, conditions: Iterable[str]) -> Bits:
        whole = np.ones(self.table.height, dtype=np.bool_)
        for condition in conditions:
            whole &= self._mask(condition)
        return whole

    def _mask(self, condition: str) -> Bits:
        return self._remembered(
            self._masks, condition, lambda: self._evaluate(condition), MOST_MASKS
        )

    def _remembered(self, values: OrderedDict[K, V], key: K, make: Callable[[], V], most: int) -> V:
        """Return a value, from among the latest ones where it is there."""
        with self._lock:
            if key in values:
                values.move_to_end(key)
                return values[key]
        value = make()
        with self._lock:
            values[key] = value
            while len(values) > most:
                values.popitem(last=False)
        return value

    def _evaluate(self, condition: str) -> Bits:
        expression = self._parsed(condition)
        columns = [*self.table.schema]
        names = [name for name in expression.meta.root_names() if name in columns]
        rows = self.table.frame(names or ["row_id"])
        # As a filter: what is no condition is refused, and what is null is not met.
        met = rows.lazy().with_row_index(POSITION).filter(expression).select(POSITION)
        try:
            places = met.collect()[POSITION].to_numpy()
        except (PolarsError, PanicException) as error:
            raise UserError(condition_fault(str(error), columns)) from error
        mask = np.zeros(self.table.height, dtype=np.bool_)
        mask[places] = True
        return mask

    def _parsed(self, condition: str) -> pl.Expr:
        columns = [*self.table.schema]
        try:
            return pl.sql_expr(quoted_condition(condition, columns))
        except (PolarsError, PanicException) as error:
            raise UserError(condition_fault(str(error), columns)) from error

    def _ordered(self, positions: pl.Series, sort: str) -> pl.Series:
        name = sort.removeprefix("-")
        if not name:
            return positions
        if name not in self.table.schema:
            raise UserError(
                condition_fault(f'unable to find column "{name}"', [*self.table.schema])
            )
        keys = self.table.column(name).gather(positions)
        frame = pl.DataFrame({"key": keys, "position": positions})
        down = sort.startswith("-")
        ordered = frame.sort("key", descending=down, nulls_last=True, maintain_order=True)
        return ordered["position"]


def condition_fault(message: str, columns: Sequence[str]) -> str:
    """Return what is wrong with a condition, from what the engine says, and what may have been meant."""
    first = re.split(PLAN, " ".join(message.split()))[0].rstrip(". ")[:MOST_MESSAGE]
    name = re.search(r'unable to find column "([^"]*)"', first)
    close = get_close_matches(name[1], columns, 3) if name else []
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"The rows cannot be found: {first}.{meant} The columns are listed below the condition."
