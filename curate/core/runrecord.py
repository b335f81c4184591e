"""A finished run as the sections of its report read it: its tables, its stages, its selection."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl


class RunTables(Protocol):
    """A finished run, as a section of its report reads it."""

    def has(self, name: str) -> bool:
        """Return whether the run has a table, e.g. "evidence/exact"."""

    def table(self, name: str) -> "pl.LazyFrame":
        """Return one of the run's tables."""

    def rows(self, role: str) -> "pl.LazyFrame | None":
        """Return the rows of the pool or of an example set, None where the store has none."""


@dataclass(frozen=True)
class SelectionRecord:
    """The selection of a finished run: the method's label, and its ranking and scores.

    takes_turns: whether the target examples name rows one after the other (round robin).
    unscored: a sentence on the rows that the method could not score, empty for none.
    """

    run: RunTables
    label: str
    takes_turns: bool = False
    unscored: str = ""

    def ranking(self) -> "pl.LazyFrame":
        """Return row_id, score, rank, selected, nearest_id, tokens ... of every kept row."""
        return self.run.table("evidence/select")

    def scores(self) -> "pl.LazyFrame":
        """Return what the method stored of every kept row."""
        return self.run.table("evidence/scores")


@dataclass(frozen=True)
class StageRecord:
    """A stage of a finished run: its name there, its label, and its tables.

    embedder: the run's embedder, for stages that name none.
    sweep: a function that returns, for a number of thresholds, how many rows each would drop (columns
        threshold and dropped), None where that cannot be tried.
    """

    run: RunTables
    name: str
    label: str
    embedder: str = ""
    sweep: "Callable[[int], pl.DataFrame | None]" = lambda points: None

    @property
    def anchor(self) -> str:
        """Return the anchor of the stage's section."""
        return f"stage-{self.name}"

    def evidence(self) -> "pl.LazyFrame":
        """Return the stage's verdicts: row_id, keep, reason, score, threshold, duplicate_of ..."""
        return self.run.table(f"evidence/{self.name}")

    def has(self, part: str) -> bool:
        """Return whether the stage left a further table, e.g. "pairs"."""
        return self.run.has(f"evidence/{self.name}-{part}")

    def table(self, part: str) -> "pl.LazyFrame":
        """Return a further table of the stage."""
        return self.run.table(f"evidence/{self.name}-{part}")
