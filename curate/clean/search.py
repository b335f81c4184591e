"""Search for eval prompts in rows, which stream past once: what each batch of rows has of them."""

from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.clean.grams import GramSet, Powers, RunHashes, roll_sizes
from curate.clean.pieces import plain_text, split_pieces
from curate.clean.prompts import FormStarts, PromptIndex, form_starts
from curate.clean.words import split_words, word_hashes

# Rows of each n-gram that are remembered: what so many hold tells nothing.
REMEMBERED = 1_000
# First signs that a turn is looked at for.
SIGNS = 3
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
class HeldGrams:
    """N-grams that turns hold: the first word, the turn, and which n-gram it is."""

    at: NDArray[np.int64]
    turn: NDArray[np.int64]
    gram: NDArray[np.uint64]

    def of(self, grams: GramSet) -> tuple["HeldGrams", NDArray[np.int64]]:
        """Return those that are in another set too, and their numbers in it."""
        place, number = grams.find(self.gram)
        return HeldGrams(self.at[place], self.turn[place], self.gram[place]), number


@dataclass(frozen=True)
class Turns:
    """The turns of some rows: row number and text, hashes of all words, and where each turn's end."""

    table: pl.DataFrame
    hashes: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    ends: NDArray[np.int64]
    runs: RunHashes

    def rows(self, turn: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of some turns."""
        rows: NDArray[np.int64] = self.table["row"].to_numpy()[turn]
        return rows

    def turns(self, word: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the turns of some words."""
        return np.searchsorted(self.ends, word, side="right")

    def find(self, grams: GramSet, rolled: NDArray[np.uint64], size: int) -> HeldGrams:
        """Return the n-grams of a set that a turn holds."""
        at, number = grams.find(rolled)
        turn = self.turns(at)
        inside = at + size <= self.ends[turn]
        return HeldGrams(at[inside], turn[inside], grams.grams[number[inside]])

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


class PromptSearch:
    """A search for eval prompts in batches of rows."""

    def __init__(self, index: PromptIndex) -> None:
        self.index = index
        self.rows = 0
        self._turns = 0
        self._held = np.zeros(len(index.grams.grams), dtype=np.int64)
        self._starts = form_starts(index)
        self._anchors = GramSet(index.slots["gram"].to_numpy())
        starts = [s.grams for size, s in self._starts.items() if size == index.ngram]
        # All n-grams of that size at once, since rows hold few of any.
        self._grams = GramSet(
            np.concatenate([s.grams for s in (index.grams, self._anchors, *starts)])
        )
        self._powers = Powers()
        self._batches: list[Hits] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Look for the prompts in all turns of some rows: row_id and messages."""
        ngram = self.index.ngram
        turns = read_turns(batch, self._powers, joined=self.index.several)
        near = [pl.DataFrame(schema={"turn": pl.Int64, "number": pl.Int64, "free": pl.Boolean})]
        hits = {"whole": self._find_whole(turns)}
        for size, rolled in roll_sizes(turns.hashes, {*self._starts, ngram}):
            grams = self._grams if size == ngram else self._starts[size].grams
            held = turns.find(grams, rolled, size)
            if size in self._starts:
                near.append(_find_starts(turns, held, self._starts[size]))
            if size == ngram:
                hits["grams"] = self._find_grams(turns, held)
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
        empty = Hits(*(pl.DataFrame(schema=s) for s in (IDS, WHOLE, GRAMS, FORMS, SLOTS)))
        parts = [empty, *self._batches]
        return Hits(*(pl.concat([getattr(p, f.name) for p in parts]) for f in fields(Hits)))

    def count(self) -> RowCounts:
        """Return how many rows so far hold each thing."""
        forms = self.hits.forms.group_by("number", "inside").agg(held=pl.len().cast(pl.Int64))
        return RowCounts(self.rows, self._held.copy(), forms)

    def _find_whole(self, turns: Turns) -> pl.DataFrame:
        whole = self.index.whole
        hashes = turns.runs.of(turns.ends - turns.lengths, turns.lengths)
        in_set = pl.col("hash").is_in(whole["hash"].implode())
        equal = turns.table.with_columns(hash=pl.Series(hashes)).filter(in_set)
        pairs = equal.with_columns(text=plain_text(equal["text"])).join(whole, on="hash")
        plain = plain_text(self.index.units.texts.gather(pairs["prompt"]))
        same = (pairs["text"] == plain) & (plain != "")
        return pairs.select("row", "prompt", same=same)

    def _find_grams(self, turns: Turns, held: HeldGrams) -> pl.DataFrame:
        own, number = held.of(self.index.grams)
        hits = pl.DataFrame(
            {
                "row": turns.rows(own.turn),
                "turn": own.turn + self._turns,
                "gram": number,
                "place": own.at - (turns.ends - turns.lengths)[own.turn],
            }
        )
        remembered = hits.filter(pl.Series(self._held[number] < REMEMBERED))
        once = hits.select("row", "gram").unique()["gram"].to_numpy()
        self._held += np.bincount(once, minlength=len(self._held))
        return remembered

    def _find_forms(self, turns: Turns, near: pl.DataFrame) -> pl.DataFrame:
        """Return the forms of pieces in the turns that hold its words, and in all with its signs."""
        forms = self.index.forms
        if not forms.height:
            return pl.DataFrame(schema=FORMS)
        some = pl.Series(np.arange(turns.table.height)).is_in(near["turn"].unique().implode())
        # Few and short patterns are looked for at once.
        signs = forms.filter(words=0)["text"].str.head(SIGNS).unique(maintain_order=True).to_list()
        if signs:
            some |= turns.table["text"].str.contains_any(signs)
        table = turns.table.filter(some)
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

    def _find_slots(self, turns: Turns, held: HeldGrams) -> pl.DataFrame:
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


def _find_starts(turns: Turns, held: HeldGrams, starts: FormStarts) -> pl.DataFrame:
    """Return turns and the forms (number) all of whose words they hold in a row."""
    own, _ = held.of(starts.grams)
    near = pl.DataFrame({"turn": own.turn, "at": own.at, "gram": own.gram}).join(
        starts.lengths, on="gram"
    )
    first, size, turn = (near[name].to_numpy() for name in ("at", "words", "turn"))
    inside = turns.hold(first, size, turn)
    runs = pl.DataFrame(
        {"turn": turn[inside], "hash": turns.runs.of(first[inside], size[inside])}
    ).unique()
    return runs.join(starts.forms, on="hash").select("turn", "number", "free")


def read_turns(rows: pl.DataFrame, powers: Powers, *, joined: bool) -> Turns:
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
    return Turns(table, hashes, lengths, np.cumsum(lengths), RunHashes(hashes, powers))
