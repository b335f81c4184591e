"""Every row of a run in memory: the ledger, and columns of evidence from their first use on.

    row_id | source | fate | stage | reason | score | rank | ... | fuzzy.score | rules.copied | bm25.rank

A row is known by its position in the pool. What repeats is held once (categories), so a million rows
take some hundred megabytes; texts stay in a file, see rowtexts.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PanicException

from curate.runs.folder import RunFolder
from curate.runs.rowquery import TEXTS, row_evidence
from curate.view.rowtexts import RowTexts

# What a reader filters by a click: columns of few values.
FACETS = ("fate", "stage", "reason", "source", "origin")
# A column of more different texts is held as texts.
MOST_CATEGORIES = 10_000
LANGUAGES = ("prompt_language", "response_language")
Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class RowTable:
    """The rows of a run, in the order of the pool.

    Attributes:
        ledger: the columns of the ledger; those of few values are categories.
        evidence: further tables with a line for some of the rows, by name.
        texts: prompt and response.
    """

    ledger: pl.DataFrame
    evidence: dict[str, pl.LazyFrame]
    texts: RowTexts
    _columns: dict[str, pl.Series] = field(default_factory=dict)
    _places: dict[str, pl.Series] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    @classmethod
    def of(cls, run: RunFolder) -> "RowTable":
        """Return the rows of a run."""
        ledger = run.table("ledger").collect()
        facets = [_compact(ledger[name]) for name in FACETS]
        texts = RowTexts(run, ledger["row_id"])
        return cls(ledger.with_columns(facets), row_evidence(run), texts)

    @property
    def height(self) -> int:
        """Return how many rows there are."""
        return self.ledger.height

    @cached_property
    def facets(self) -> tuple[str, ...]:
        """Return the columns by which rows are counted: FACETS, and languages where a stage has them."""
        languages = [
            f"{name}.{language}"
            for language in LANGUAGES
            for name, table in self.evidence.items()
            if {language, "keep"} <= set(table.collect_schema().names())
        ]
        return (*FACETS, *languages[:2])

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """Return the columns that there are, those of evidence as TABLE.COLUMN, and their types."""
        columns = dict(self.ledger.schema)
        for name, table in self.evidence.items():
            own = table.collect_schema()
            columns |= {f"{name}.{column}": own[column] for column in own if column != "row_id"}
        return {**columns, **dict.fromkeys(TEXTS, pl.String())}

    def column(self, name: str) -> pl.Series:
        """Return a column, null for rows that its table has no line for.

        Raises:
            UserError: it is one of the texts, and these are not there, or not yet.
        """
        if name in self.ledger.columns:
            return self.ledger[name]
        if name in TEXTS:
            return self.texts.column(name)
        with self._lock:
            if name not in self._columns:
                self._columns[name] = self._read(name)
            return self._columns[name]

    def frame(self, names: Iterable[str]) -> pl.DataFrame:
        """Return some columns as a frame, texts as texts."""
        columns = (self.column(name).alias(name) for name in dict.fromkeys(names))
        return pl.DataFrame([plain_text(column) for column in columns])

    def evidence_of(self, position: int) -> dict[str, dict[str, object]]:
        """Return what the tables of evidence say of a row, without what they leave empty."""
        lines = {}
        for name, table in self.evidence.items():
            line = self._lines(name)[position]
            if line is not None:
                values = table.slice(line, 1).collect().drop("row_id").row(0, named=True)
                lines[name] = {key: value for key, value in values.items() if value is not None}
        return lines

    def prepare(self) -> None:
        """Read in a thread what the first filters by texts and evidence would wait for."""
        self.texts.start(self._number_lines)

    def _number_lines(self) -> None:
        # What fails here fails again where it is asked for, and is said there.
        with suppress(Exception, PanicException):
            for name in self.evidence:
                self.texts.give_way()
                self._lines(name)

    def position(self, row_id: str) -> int | None:
        """Return where a row is in the pool, None if it is not there."""
        places = (self.ledger["row_id"] == row_id).arg_true()
        return int(places[0]) if len(places) else None

    def _read(self, name: str) -> pl.Series:
        table, column = max(
            ((t, name.removeprefix(f"{t}.")) for t in self.evidence if name.startswith(f"{t}.")),
            key=lambda parts: len(parts[0]),
        )
        values = self.evidence[table].select(column).collect()[column].gather(self._lines(table))
        return _compact(values)

    def _lines(self, table: str) -> pl.Series:
        """Return for each row its line in a table of evidence."""
        with self._lock:
            if table not in self._places:
                ids = self.evidence[table].select("row_id").with_row_index("line")
                rows = self.ledger.lazy().select("row_id")
                joined = rows.join(ids, on="row_id", how="left", maintain_order="left").collect()
                self._places[table] = joined["line"]
            return self._places[table]


def plain_text(column: pl.Series) -> pl.Series:
    """Return a column with its categories as texts."""
    return column.cast(pl.String) if column.dtype == pl.Enum else column


def _compact(values: pl.Series) -> pl.Series:
    """Return a column of texts as numbers of its few different ones; any other as it is."""
    if values.dtype != pl.String:
        return values
    names = values.drop_nulls().unique().sort()
    return values.cast(pl.Enum(names)) if len(names) <= MOST_CATEGORIES else values
