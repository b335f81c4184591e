"""Search for eval prompts in rows, which stream past once: what each batch of rows has of them."""

from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.clean.grams import GramSet, RunHashes
from curate.clean.pieces import plain_text, split_pieces
from curate.clean.prompts import PromptIndex, form_grams
from curate.clean.shingles import roll
from curate.clean.words import split_words, word_hashes

# Rows of each n-gram that are remembered: what so many hold tells nothing.
REMEMBERED = 1_000
IDS = {"row": pl.Int64, "row_id": pl.String}
WHOLE = {"row": pl.Int64, "prompt": pl.Int64, "same": pl.Boolean}
GRAMS = {"row": pl.Int64, "turn": pl.Int64, "gram": pl.Int64, "place": pl.Int64}
FORMS = {"row": pl.Int64, "number": pl.Int64, "inside": pl.Boolean}
SLOTS = {"row": pl.Int64, "unit": pl.Int64, "start": pl.Int64, "size": pl.Int64}


@dataclass(frozen=True)
class RowCounts:
    """How many of `rows` rows hold each n-gram (in the index's order) and each form of a piece.

    forms: number, inside (in a sentence, not by itself), held (rows).
    """

    rows: int
    grams: NDArray[np.int64]
    forms: pl.DataFrame


@dataclass(frozen=True)
class Hits:
    """What rows, by their numbers, hold of eval prompts.

    ids: row_id of each row that holds anything; whole: prompts that are a turn by their words, and if
    the plain text is the `same`; grams: n-grams, with the number of the turn and the place in it; forms:
    of pieces, by themselves or inside a sentence; slots: of units, from end to end.
    """

    ids: pl.DataFrame
    whole: pl.DataFrame
    grams: pl.DataFrame
    forms: pl.DataFrame
    slots: pl.DataFrame


@dataclass(frozen=True)
class Turns:
    """The turns of some rows: row number and text, hashes of all words, how many each turn has."""

    table: pl.DataFrame
    hashes: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    runs: RunHashes

    @property
    def row(self) -> NDArray[np.int64]:
        """Return the row of each turn."""
        return self.table["row"].to_numpy()

    @property
    def starts(self) -> NDArray[np.int64]:
        """Return the number of each turn's first word."""
        starts: NDArray[np.int64] = np.cumsum(self.lengths) - self.lengths
        return starts

    def goes_on(
        self, at: NDArray[np.int64], turn: NDArray[np.int64], words: NDArray[np.uint64], step: int
    ) -> NDArray[np.bool_]:
        """Return whether the turns hold one of some words before (-1) or at (0) a word's number."""
        inside = (at + step >= self.starts[turn]) & (
            at + step < self.starts[turn] + self.lengths[turn]
        )
        some: NDArray[np.bool_] = np.isin(self.hashes[np.where(inside, at + step, 0)], words)
        return some & inside


class PromptSearch:
    """A search for eval prompts in batches of rows."""

    def __init__(self, index: PromptIndex) -> None:
        self.index = index
        self.rows = 0
        self._turns = 0
        self._held = np.zeros(len(index.grams.grams), dtype=np.int64)
        self._forms = form_grams(index)
        self._anchors = GramSet(index.slots["gram"].to_numpy())
        self._batches: list[Hits] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Look for the prompts in all turns of some rows: row_id and messages."""
        turns = read_turns(batch, joined=self.index.several)
        found = {
            "whole": self._find_whole(turns),
            "grams": self._find_grams(turns),
            "forms": self._find_forms(turns),
            "slots": self._find_slots(turns),
        }
        rows = (
            pl.concat([part.select("row") for part in found.values()]).unique().sort("row")["row"]
        )
        ids = pl.DataFrame({"row": rows, "row_id": batch["row_id"].gather(rows)})
        later = {
            name: part.with_columns(pl.col("row") + self.rows)
            for name, part in {"ids": ids, **found}.items()
        }
        self._batches.append(Hits(**later))
        self.rows += batch.height
        self._turns += turns.table.height

    @property
    def hits(self) -> Hits:
        """Return what all rows so far hold."""
        empty = Hits(*(pl.DataFrame(schema=s) for s in (IDS, WHOLE, GRAMS, FORMS, SLOTS)))
        parts = [empty, *self._batches]
        return Hits(*(pl.concat([getattr(p, f.name) for p in parts]) for f in fields(Hits)))

    def count(self) -> RowCounts:
        """Return how many rows so far hold each thing."""
        forms = self.hits.forms.group_by("number", "inside").agg(held=pl.len().cast(pl.Int64))
        return RowCounts(self.rows, self._held.copy(), forms)

    def _find_whole(self, turns: Turns) -> pl.DataFrame:
        whole = self.index.whole
        hashed = turns.table.with_columns(
            hash=pl.Series(turns.runs.of(turns.starts, turns.lengths))
        ).filter(pl.col("hash").is_in(whole["hash"].implode()))
        texts = hashed.with_columns(text=plain_text(hashed["text"]))
        same = (pl.col("text") == pl.col("plain")) & (pl.col("text") != "")
        return texts.join(whole, on="hash").select("row", "prompt", same=same)

    def _find_grams(self, turns: Turns) -> pl.DataFrame:
        gram, turn, place = roll(turns.hashes, turns.lengths, self.index.ngram)
        at, number = self.index.grams.find(gram)
        hits = pl.DataFrame(
            {
                "row": turns.row[turn[at]],
                "turn": turn[at] + self._turns,
                "gram": number,
                "place": place[at],
            }
        )
        remembered = hits.filter(pl.Series(self._held[number] < REMEMBERED))
        held = hits.select("row", "gram").unique()["gram"].to_numpy()
        self._held += np.bincount(held, minlength=len(self._held))
        return remembered

    def _find_forms(self, turns: Turns) -> pl.DataFrame:
        """Return the forms of pieces that turns hold, looked for in those that hold their words."""
        forms = self.index.forms
        signs = forms.filter(words=0)["text"].to_list()
        near = np.zeros(turns.table.height, dtype=np.bool_)
        if signs:
            near |= turns.table["text"].str.contains_any(signs).to_numpy()
        free = [pl.DataFrame(schema={"turn": pl.Int64, "number": pl.Int64})]
        for size, (known, numbers) in self._forms.items():
            gram, turn, _ = roll(turns.hashes, turns.lengths, size)
            at, number = known.find(gram)
            near[turn[at]] = True
            some = pl.DataFrame({"turn": turn[at], "gram": number}).unique()
            free.append(some.join(numbers.filter("free"), on="gram").select("turn", "number"))
        table = turns.table.filter(pl.Series(near))
        pieces = split_pieces(table["text"])
        alone = pieces.with_columns(table["row"].gather(pieces["number"]).alias("row"))
        alone = alone.select("row", "text").join(forms, on="text").select("row", "number")
        inside = self._inside(turns, pl.concat(free))
        return pl.concat(
            [alone.with_columns(inside=pl.lit(False)), inside.with_columns(inside=pl.lit(True))]
        ).unique()

    def _inside(self, turns: Turns, free: pl.DataFrame) -> pl.DataFrame:
        """Return row and number of the forms that stand in turns with all their signs."""
        texts = plain_text(turns.table["text"].gather(free["turn"]))
        parts = self.index.forms["text"].gather(free["number"])
        held = pl.DataFrame({"text": texts, "part": parts}).select(
            pl.col("text").str.contains(pl.col("part"), literal=True)
        )
        row = pl.Series(turns.row[free["turn"].to_numpy()])
        return free.select(row.alias("row"), "number").filter(held.to_series())

    def _find_slots(self, turns: Turns) -> pl.DataFrame:
        """Return the slots that turns hold from end to end.

        A short one must end there: it may go on with no word that many slots hold.
        """
        ngram = self.index.ngram
        gram, turn, place = roll(turns.hashes, turns.lengths, ngram)
        at, number = self._anchors.find(gram)
        near = pl.DataFrame(
            {"turn": turn[at], "place": place[at], "gram": self._anchors.grams[number]}
        ).join(self.index.slots, on="gram")
        owner, size = near["turn"].to_numpy(), near["size"].to_numpy()
        begin = (near["place"] - near["offset"]).to_numpy()
        fits = (begin >= 0) & (begin + size <= turns.lengths[owner])
        near, owner, size, begin = near.filter(fits), owner[fits], size[fits], begin[fits]
        first = turns.starts[owner] + begin
        held = turns.runs.of(first, size) == near["hash"].to_numpy()
        goes_on = turns.goes_on(first, owner, self.index.slot_words, -1)
        goes_on |= turns.goes_on(first + size, owner, self.index.slot_words, 0)
        held &= ~goes_on | (size >= 2 * ngram)
        row = pl.Series(turns.row[owner]).alias("row")
        return near.select(row, "unit", "start", "size").filter(held).unique()


def read_turns(rows: pl.DataFrame, *, joined: bool) -> Turns:
    """Return all turns of rows; of several user turns also all `joined`."""
    turn = pl.col("messages").struct
    table = (
        rows.select("messages", row=pl.int_range(pl.len(), dtype=pl.Int64))
        .explode("messages")
        .select("row", role=turn.field("role"), text=turn.field("content"))
    )
    if joined:
        users = table.filter(role="user")
        whole = users.group_by("row", "role").agg(pl.col("text").str.join("\n"), n=pl.len())
        table = pl.concat([table, whole.filter(pl.col("n") > 1).drop("n")])
    table = table.select("row", "text").sort("row", maintain_order=True)
    hashes, lengths = word_hashes(split_words(table["text"]))
    return Turns(table, hashes, lengths, RunHashes(hashes))
