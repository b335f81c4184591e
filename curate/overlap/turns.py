"""Turns of rows as words: which n-grams they hold, and where."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.turntext import text_of_struct
from curate.overlap.grams import GramSet, Powers, RunHashes
from curate.overlap.markup import without_markup
from curate.text.wordhash import hash_words


@dataclass(frozen=True)
class TurnGrams:
    """N-grams that turns hold: the first word, the turn, and which n-gram it is."""

    at: NDArray[np.int64]
    turn: NDArray[np.int64]
    gram: NDArray[np.uint64]

    def of(self, grams: GramSet) -> tuple["TurnGrams", NDArray[np.int64]]:
        """Return those that are in another set too, and their numbers in it."""
        place, number = grams.find(self.gram)
        return TurnGrams(self.at[place], self.turn[place], self.gram[place]), number


@dataclass(frozen=True)
class Turns:
    """The turns of some rows: row number and text, hashes of all words, and where each turn's end."""

    table: pl.DataFrame
    hashes: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    ends: NDArray[np.int64]
    powers: Powers

    @cached_property
    def runs(self) -> RunHashes:
        """Return the hashes of all runs of words."""
        return RunHashes(self.hashes, self.powers)

    def rows(self, turn: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of some turns."""
        rows: NDArray[np.int64] = self.table["row"].to_numpy()[turn]
        return rows

    def turns(self, word: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the turns of some words."""
        return np.searchsorted(self.ends, word, side="right")

    def find(self, grams: GramSet, rolled: NDArray[np.uint64], size: int) -> TurnGrams:
        """Return the n-grams of a set that a turn holds."""
        at, number = grams.find(rolled)
        turn = self.turns(at)
        inside = at + size <= self.ends[turn]
        return TurnGrams(at[inside], turn[inside], grams.grams[number[inside]])

    def hold(
        self, first: NDArray[np.int64], size: NDArray[np.int64], turn: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return whether runs of words lie in the turns."""
        held: NDArray[np.bool_] = first >= (self.ends - self.lengths)[turn]
        return held & (first + size <= self.ends[turn])

    def holds(
        self, word: NDArray[np.int64], turn: NDArray[np.int64], words: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Return whether the places are in the turns and one of some words is there."""
        inside = (word >= self.ends[turn] - self.lengths[turn]) & (word < self.ends[turn])
        # By a table, numpy below 2.2 fails for hashes above the largest int64.
        hashes = self.hashes[np.where(inside, word, 0)]
        some: NDArray[np.bool_] = np.isin(hashes, words, kind="sort")
        return some & inside


def read_turns(rows: pl.DataFrame, powers: Powers, *, joined: bool) -> Turns:
    """Return all turns of rows; of several user turns also all `joined`."""
    turn = pl.col("messages").struct
    table = (
        rows.select("messages", row=pl.int_range(pl.len(), dtype=pl.Int64))
        .explode("messages")
        .select("row", role=turn.field("role"), text=text_of_struct())
    )
    if joined:
        users = table.filter(role="user")
        whole = users.group_by("row", "role").agg(pl.col("text").str.join("\n"), n=pl.len())
        table = pl.concat([table, whole.filter(pl.col("n") > 1).drop("n")])
    table = table.select("row", "text").sort("row", maintain_order=True)
    table = table.with_columns(without_markup(table["text"]))
    hashes, lengths = hash_words(table["text"])
    return Turns(table, hashes, lengths, np.cumsum(lengths), powers)
