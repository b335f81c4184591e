"""Search for eval prompts in rows, which stream past once: what each batch of rows has of them."""

from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.overlap.forms import NEAR, find_starts, form_starts, may_hold
from curate.overlap.grams import GramSet, Powers, roll_sizes
from curate.overlap.pieces import plain_text, split_pieces
from curate.overlap.prompts import PromptIndex
from curate.overlap.turns import TurnGrams, Turns, read_turns

# Rows of each n-gram that are remembered: what so many hold tells nothing.
REMEMBERED = 1_000
IDS = {"row": pl.Int64, "row_id": pl.String}
WHOLE = {"row": pl.Int64, "prompt": pl.Int64, "same": pl.Boolean}
GRAMS = {"row": pl.Int64, "turn": pl.Int64, "gram": pl.Int64, "place": pl.Int64}
FORMS = {"row": pl.Int64, "number": pl.Int64, "inside": pl.Boolean}
SLOTS = {"row": pl.Int64, "unit": pl.Int64, "start": pl.Int64, "size": pl.Int64}


@dataclass(frozen=True)
class RowCounts:
    """How many of `rows` rows hold each n-gram and part (in the index's order) and form of a piece.

    forms: number, inside (in a sentence, not by itself), held (rows).
    """

    rows: int
    grams: NDArray[np.int64]
    parts: NDArray[np.int64]
    forms: pl.DataFrame


@dataclass(frozen=True)
class Hits:
    """What rows, by their numbers, hold of eval prompts.

    ids: row_id of each row that holds anything; whole: prompts that are a turn by their words, and if
    the plain text is the `same`; grams, parts: with the number of the turn and the place in it; forms:
    of pieces, by themselves or inside a sentence; slots: of units, from end to end.
    """

    ids: pl.DataFrame
    whole: pl.DataFrame
    grams: pl.DataFrame
    parts: pl.DataFrame
    forms: pl.DataFrame
    slots: pl.DataFrame


class PromptSearch:
    """A search for eval prompts in batches of rows."""

    def __init__(self, index: PromptIndex) -> None:
        self.index = index
        self.rows = 0
        self._turns = 0
        self._held = np.zeros(len(index.grams.grams), dtype=np.int64)
        self._parts = np.zeros(len(index.parts.grams.grams), dtype=np.int64)
        self._starts = form_starts(index.forms, index.ngram)
        self._anchors = GramSet(index.slots["gram"].to_numpy())
        starts = [s.grams for size, s in self._starts.items() if size == index.ngram]
        others = [s.grams for s in (self._anchors, *starts) if len(s.grams)]
        # All n-grams of that size at once, since rows hold few of any.
        grams = np.concatenate([index.grams.grams, *others])
        self._grams = GramSet(grams) if others else index.grams
        self._sizes = {*self._starts, index.ngram, *([index.parts.words] * len(self._parts))[:1]}
        self._powers = Powers()
        self._batches: list[Hits] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Look for the prompts in all turns of some rows: row_id and messages."""
        ngram, parts = self.index.ngram, self.index.parts
        turns = read_turns(batch, self._powers, joined=self.index.several)
        near = [pl.DataFrame(schema=NEAR)]
        hits = {"whole": self._find_whole(turns)}
        hits["parts"] = pl.DataFrame(schema=GRAMS)
        for size, rolled in roll_sizes(turns.hashes, self._sizes):
            if size == parts.words and len(self._parts):
                held = turns.find(parts.grams, rolled, size)
                hits["parts"] = self._find_grams(turns, held, parts.grams, self._parts)
            if size not in self._starts and size != ngram:
                continue
            grams = self._grams if size == ngram else self._starts[size].grams
            held = turns.find(grams, rolled, size)
            if size in self._starts:
                near.append(find_starts(turns, held, self._starts[size]))
            if size == ngram:
                hits["grams"] = self._find_grams(turns, held, self.index.grams, self._held)
                hits["slots"] = self._find_slots(turns, held)
        hits["forms"] = self._find_forms(turns, pl.concat(near))
        rows = pl.concat([part.select("row") for part in hits.values()]).unique().sort("row")["row"]
        ids = pl.DataFrame({"row": rows, "row_id": batch["row_id"].gather(rows)})
        later = {
            name: part.with_columns(pl.col("row") + self.rows)
            for name, part in {"ids": ids, **hits}.items()
        }
        self._batches.append(Hits(**later))
        self.rows += batch.height
        self._turns += turns.table.height

    @property
    def hits(self) -> Hits:
        """Return what all rows so far hold."""
        empty = Hits(*(pl.DataFrame(schema=s) for s in (IDS, WHOLE, GRAMS, GRAMS, FORMS, SLOTS)))
        parts = [empty, *self._batches]
        return Hits(*(pl.concat([getattr(p, f.name) for p in parts]) for f in fields(Hits)))

    def count(self) -> RowCounts:
        """Return how many rows so far hold each thing."""
        forms = self.hits.forms.group_by("number", "inside").agg(held=pl.len().cast(pl.Int64))
        return RowCounts(self.rows, self._held.copy(), self._parts.copy(), forms)

    def _find_whole(self, turns: Turns) -> pl.DataFrame:
        whole = self.index.whole
        hashes = turns.runs.of(turns.ends - turns.lengths, turns.lengths)
        in_set = pl.col("hash").is_in(whole["hash"].implode())
        equal = turns.table.with_columns(hash=pl.Series(hashes)).filter(in_set)
        pairs = equal.with_columns(text=plain_text(equal["text"])).join(whole, on="hash")
        plain = plain_text(self.index.units.texts.gather(pairs["prompt"]))
        same = (pairs["text"] == plain) & (plain != "")
        return pairs.select("row", "prompt", same=same)

    def _find_grams(
        self, turns: Turns, held: TurnGrams, grams: GramSet, rows: NDArray[np.int64]
    ) -> pl.DataFrame:
        """Return where the n-grams stand, and add to how many rows hold each."""
        own, number = held.of(grams)
        hits = pl.DataFrame(
            {
                "row": turns.rows(own.turn),
                "turn": own.turn + self._turns,
                "gram": number,
                "place": own.at - (turns.ends - turns.lengths)[own.turn],
            }
        )
        remembered = hits.filter(pl.Series(rows[number] < REMEMBERED))
        once = hits.select("row", "gram").unique()["gram"].to_numpy()
        rows += np.bincount(once, minlength=len(rows))
        return remembered

    def _find_forms(self, turns: Turns, near: pl.DataFrame) -> pl.DataFrame:
        """Return the forms of pieces in the turns that hold its words, and in all with its signs."""
        forms = self.index.forms
        if not forms.height:
            return pl.DataFrame(schema=FORMS)
        table = turns.table.filter(may_hold(turns, near["turn"], forms.filter(words=0)["text"]))
        pieces = split_pieces(table["text"])
        rows = table["row"].gather(pieces["number"])
        alone = pieces.select(row=rows, text="text").join(forms, on="text").select("row", "number")
        inside = self._inside(turns, near.filter("free"))
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
        row = pl.Series(turns.rows(free["turn"].to_numpy()))
        return free.select(row.alias("row"), "number").filter(held.to_series())

    def _find_slots(self, turns: Turns, held: TurnGrams) -> pl.DataFrame:
        """Return the slots that turns hold from end to end.

        A short one must end there: it may go on with no word that many slots hold.
        """
        anchors, _ = held.of(self._anchors)
        near = pl.DataFrame(
            {"turn": anchors.turn, "at": anchors.at, "gram": anchors.gram}
        ).join(self.index.slots, on="gram")  # fmt: skip
        turn, size = near["turn"].to_numpy(), near["size"].to_numpy()
        first = (near["at"] - near["offset"]).to_numpy()
        inside = turns.hold(first, size, turn)
        near, turn, size, first = near.filter(inside), turn[inside], size[inside], first[inside]
        whole = turns.runs.of(first, size) == near["hash"].to_numpy()
        words = self.index.slot_words
        goes_on = turns.holds(first - 1, turn, words) | turns.holds(first + size, turn, words)
        whole &= ~goes_on | (size >= 2 * self.index.ngram)
        row = pl.Series(turns.rows(turn)).alias("row")
        return near.select(row, "unit", "start", "size").filter(whole).unique()
