"""Forms of pieces: which turns may hold some, by the words with which these begin."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.overlap.grams import GramSet, Powers, RunHashes
from curate.overlap.turns import TurnGrams, Turns
from curate.text.shingles import roll
from curate.text.wordhash import hash_words

# First signs that a turn is looked at for.
SIGNS = 3
NEAR = {"turn": pl.Int64, "number": pl.Int64, "free": pl.Boolean}


@dataclass(frozen=True)
class FormStarts:
    """N-grams of one size with which forms begin.

    lengths: gram, words: how many the forms have that begin with it; forms: number, hash of all words,
    and `free` where it may stand inside a sentence.
    """

    grams: GramSet
    lengths: pl.DataFrame
    forms: pl.DataFrame


def form_starts(forms: pl.DataFrame, ngram: int) -> dict[int, FormStarts]:
    """Return, by their size, the n-grams with which forms (text, free) begin.

    Few sizes are enough for all: powers of two, and that of the index.
    """
    hashes, lengths = hash_words(forms["text"])
    places = np.cumsum(lengths) - lengths
    table = pl.DataFrame(
        {
            "number": np.arange(len(lengths)),
            "words": lengths,
            "hash": RunHashes(hashes, Powers()).of(places, lengths),
            "free": forms["free"].to_numpy() & (lengths <= ngram),
        }
    )
    sizes = np.array([*(1 << i for i in range((ngram - 1).bit_length())), ngram])
    fitting = np.searchsorted(sizes, lengths, side="right") - 1
    starts = {}
    for i in np.unique(fitting[lengths > 0]).tolist():
        size = int(sizes[i])
        rolled, _, _ = roll(hashes, np.array([len(hashes)]), size)
        of_size = table.filter(pl.Series(fitting == i)).with_columns(
            gram=pl.Series(rolled[places[fitting == i]])
        )
        starts[size] = FormStarts(
            GramSet(of_size["gram"].to_numpy()),
            of_size.select("gram", "words").unique(maintain_order=True),
            of_size.select("number", "hash", "free"),
        )
    return starts


def find_starts(turns: Turns, held: TurnGrams, starts: FormStarts) -> pl.DataFrame:
    """Return turns and the forms (number) all of whose words they hold in a row."""
    own, _ = held.of(starts.grams)
    if not len(own.at):
        return pl.DataFrame(schema=NEAR)
    near = pl.DataFrame({"turn": own.turn, "at": own.at, "gram": own.gram}).join(
        starts.lengths, on="gram"
    )
    first, size, turn = (near[name].to_numpy() for name in ("at", "words", "turn"))
    inside = turns.hold(first, size, turn)
    runs = pl.DataFrame(
        {"turn": turn[inside], "hash": turns.runs.of(first[inside], size[inside])}
    ).unique()
    return runs.join(starts.forms, on="hash").select("turn", "number", "free")


def may_hold(turns: Turns, near: pl.Series, signs: Iterable[str]) -> pl.Series:
    """Return which turns may hold forms: those that are `near`, and those with signs of one."""
    some = np.zeros(turns.table.height, dtype=np.bool_)
    some[near.to_numpy()] = True
    starts = sorted({pl.escape_regex(sign[:SIGNS]) for sign in signs})
    if starts:
        # Few and short patterns: much faster than `contains_any`.
        some |= turns.table["text"].str.contains("|".join(starts)).to_numpy()
    return pl.Series(some)
