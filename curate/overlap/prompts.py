"""Index of eval prompts: what to look for of each in rows.

A prompt is looked for by the n-grams that are its own. One that has next to none, a short question or a
short slot in a template, is looked for as a whole: by its *pieces* (sentences, lines, quotations, each
also without the template at its ends) in any order, and by its *slot*, all words from the first to the
last that is no template.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.overlap.grams import GramSet, Powers, RunHashes
from curate.overlap.parts import UnitGrams, find_parts
from curate.overlap.pieces import piece_forms, plain_text, split_pieces
from curate.overlap.template import Template, example_limit, find_template
from curate.overlap.units import Units, split_units
from curate.text.shingles import roll
from curate.text.words import fold

# Pieces of at least so many words are looked for inside of sentences too.
FREE_WORDS = 6
# Pieces of at least so many words are more than labels ("Answer:").
SEVERAL = 3
# Where pieces that few prompts hold make up less of a prompt, their order is what tells it.
HALF = 0.5
# Prompts that are split into pieces at once.
SLICE = 512
FORMS = {"number": pl.Int64, "text": pl.String, "words": pl.Int64, "free": pl.Boolean}
PIECES = dict.fromkeys(("unit", "piece", "number", "words", "weight", "start"), pl.Int64)
SLOTS = {
    "unit": pl.Int64,
    "start": pl.Int64,
    "size": pl.Int64,
    "hash": pl.UInt64,
    "gram": pl.UInt64,
    "offset": pl.Int64,
}


@dataclass(frozen=True)
class PromptIndex:
    """What to look for of eval prompts, and what tells that it is found.

    ids: of the eval examples; several: whether any has several user turns.
    whole: prompt, hash of its words.
    grams: the units' own n-grams; parts: shorter ones of short units.
    forms: number, text, words (how many) of the pieces' forms, and `free` where one may stand inside a
        sentence; pieces: the forms (number) of each unit's pieces, with their weight and first word.
    slots: unit, first word, number and hash of the words; an n-gram in it, and from which word on.
    slot_words: words that the slots of several prompts hold.
    """

    ngram: int
    ids: pl.Series
    several: bool
    units: Units
    template: Template
    whole: pl.DataFrame
    grams: GramSet
    parts: UnitGrams
    forms: pl.DataFrame
    pieces: pl.DataFrame
    slots: pl.DataFrame
    slot_words: NDArray[np.uint64]


def index_prompts(eval_rows: pl.DataFrame, ngram: int) -> PromptIndex:
    """Return the index of eval examples: row_id and messages."""
    units = split_units(eval_rows, ngram)
    template = find_template(units, ngram)
    forms, pieces = _pieces(units, template)
    users = pl.col("messages").list.eval(pl.element().struct.field("role") == "user").list.sum()
    first = pl.Series(np.arange(eval_rows.height))
    runs = RunHashes(units.hashes, Powers())
    return PromptIndex(
        ngram=ngram,
        ids=eval_rows["row_id"],
        several=bool((eval_rows.select(users).to_series() > 1).any()),
        units=units,
        template=template,
        whole=pl.DataFrame(
            {
                "prompt": first,
                "hash": runs.of(units.starts, units.lengths)[: len(first)],
            }
        ),
        grams=GramSet(template.gram),
        parts=find_parts(units, template, ngram),
        forms=forms,
        pieces=pieces,
        slots=_slots(units, template, runs, ngram),
        slot_words=np.unique(units.hashes[(template.examples > 1) & ~template.most]),
    )


def _pieces(units: Units, template: Template) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the forms of the pieces that few prompts hold, and the pieces of each slot.

    Those of a word or two are left out where there are others.
    """
    slots = np.flatnonzero(template.slot)
    if not len(slots):
        return pl.DataFrame(schema=FORMS), pl.DataFrame(schema=PIECES)
    level = (template.shared.astype(np.int8) + template.most)[template.slot[units.owner]]
    pieces = piece_forms(fold(units.texts.gather(slots)), level)
    # The words of these units alone are counted.
    before = np.cumsum(units.lengths[slots]) - units.lengths[slots]
    number = pl.col("number")
    pieces = pieces.with_columns(
        plain_text(pieces["text"]).alias("text"),
        start=pl.col("start") - pl.lit(pl.Series(before)).gather(number),
        unit=pl.lit(pl.Series(slots)).gather(number),
    )
    few = ~pl.col("text").is_in(_common_pieces(units, slots, pieces).implode())
    pieces = pieces.filter(few & (pl.col("text") != "")).unique(
        ["unit", "piece", "text"], keep="first", maintain_order=True
    )
    pieces = pieces.join(_repeated(pieces), on=["unit", "piece"], how="anti", maintain_order="left")
    # Template at the ends of a piece is none of its own words.
    own = pl.max_horizontal("words", 1).min().over("unit", "piece")
    pieces = pieces.with_columns(weight=own)
    several = pl.col("words") >= SEVERAL
    whole = pl.col("words").max().over("unit", "piece") / pl.len().over("unit", "piece")
    varied = np.bincount(units.owner[~template.shared], minlength=len(units.lengths))
    most = pl.lit(pl.Series(varied)).gather(pl.col("unit")) * HALF
    pieces = (
        pieces.filter(several | ~several.any().over("unit"))
        .filter(whole.sum().over("unit") >= most)
        .with_columns(number=pl.col("text").rank("dense").cast(pl.Int64) - 1)
    )
    seldom = np.concatenate([[0], np.cumsum(~template.common)])
    at = units.starts[pieces["unit"].to_numpy()] + pieces["start"].to_numpy()
    rare = pl.Series(seldom[at + pieces["words"].to_numpy()] > seldom[at])
    forms = (
        pieces.with_columns(free=rare & (pl.col("words") >= FREE_WORDS))
        .group_by("number")
        .agg(pl.col("text", "words", "free").first())
        .sort("number")
    )
    return forms, pieces.select(*PIECES)


def _repeated(pieces: pl.DataFrame) -> pl.DataFrame:
    """Return the pieces (unit, piece) that a longer one of their unit holds: a title, a name."""
    text = pl.concat_str(pl.lit(" "), "text", pl.lit(" "))
    forms = pieces.filter(pl.col("words") > 0).select("unit", "piece", "words", text=text)
    shortest = forms.sort("words").unique(["unit", "piece"], keep="first", maintain_order=True)
    longest = forms.sort("words").unique(["unit", "piece"], keep="last", maintain_order=True)
    pairs = shortest.join(longest, on="unit", suffix="_longer").filter(
        (pl.col("piece") != pl.col("piece_longer")) & (pl.col("words") < pl.col("words_longer"))
    )
    held = pl.col("text_longer").str.contains(pl.col("text"), literal=True)
    return pairs.filter(held).select("unit", "piece").unique()


def _common_pieces(units: Units, slots: NDArray[np.int64], pieces: pl.DataFrame) -> pl.Series:
    """Return the pieces that many prompts hold, those included that are looked for by n-grams."""
    # A prompt without its choices has no piece that the whole one has not.
    others = np.setdiff1d(np.flatnonzero(~units.bare), slots)
    content = pl.lit(pl.Series(units.content)).gather(pl.col("unit"))
    many = pl.len() > example_limit(units.examples)
    held = pieces.select("text", content=content).unique()
    texts = held.group_by("text").agg(many=many)
    rare = texts.filter(~pl.col("many")).select("text")
    # The pieces of all prompts at once would be many times their text.
    for begin in range(0, len(others), SLICE):
        part = others[begin : begin + SLICE]
        split = split_pieces(units.texts.gather(part)).join(rare, "text", "semi")
        unit = split.select("text", unit=pl.lit(pl.Series(part)).gather(pl.col("number")))
        held = pl.concat([held, unit.select("text", content=content)])
    return held.unique().group_by("text").agg(many=many).filter("many")["text"]


def _slots(units: Units, template: Template, runs: RunHashes, ngram: int) -> pl.DataFrame:
    """Return the slots of an n-gram or more, each with the n-gram whose words are the rarest."""
    own = np.flatnonzero(template.slot[units.owner] & ~template.most)
    unit, first, count = np.unique(units.owner[own], return_index=True, return_counts=True)
    begin, end = own[first], own[first + count - 1] + 1
    long = end - begin >= ngram
    unit, begin, size = unit[long], begin[long], (end - begin)[long]
    grams, _, _ = roll(units.hashes, np.array([len(units.hashes)]), ngram)
    anchor = _rarest(1 / template.examples, begin, size, ngram)
    return pl.DataFrame(
        {
            "unit": unit,
            "start": begin - units.starts[unit],
            "size": size,
            "hash": runs.of(begin, size),
            "gram": grams[anchor],
            "offset": anchor - begin,
        },
        schema=SLOTS,
    )


def _rarest(
    rarity: NDArray[np.float64], begin: NDArray[np.int64], size: NDArray[np.int64], ngram: int
) -> NDArray[np.int64]:
    """Return where in each of some runs of words the first of its rarest n-grams begins."""
    if not len(begin):
        return begin
    total = np.concatenate([[0], np.cumsum(rarity)])
    sums = total[ngram:] - total[:-ngram]
    places = size - ngram + 1
    at = np.arange(int(places.sum())) + np.repeat(begin - np.cumsum(places) + places, places)
    most = np.maximum.reduceat(sums[at], np.cumsum(places) - places)
    rarest = np.flatnonzero(sums[at] == np.repeat(most, places))
    run = np.repeat(np.arange(len(begin)), places)[rarest]
    return at[rarest[np.unique(run, return_index=True)[1]]]
