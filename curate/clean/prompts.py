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

from curate.clean.grams import GramSet, Powers, RunHashes
from curate.clean.pieces import piece_forms, plain_text
from curate.clean.shingles import roll
from curate.clean.template import Template, example_limit, find_template
from curate.clean.units import Units, split_units
from curate.clean.words import fold, split_words, word_hashes

# Pieces of at least so many words are looked for inside of sentences too.
FREE_WORDS = 6
# Pieces of at least so many words are more than labels ("Answer:").
SEVERAL = 3
# Where pieces that few prompts hold make up less of a prompt, their order is what tells it.
HALF = 0.5
PIECES = {
    "unit": pl.Int64,
    "piece": pl.Int64,
    "text": pl.String,
    "words": pl.Int64,
    "start": pl.Int64,
}
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
    whole: prompt, hash of its words and plain text.
    grams: the units' own n-grams.
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
                "plain": plain_text(units.texts.gather(first)),
            }
        ),
        grams=GramSet(template.gram),
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
    level = np.split(template.shared.astype(np.int8) + template.most, units.starts[1:])
    lines = [
        (unit, number, *form)
        for unit, text in zip(slots.tolist(), fold(units.texts.gather(slots)), strict=True)
        for number, forms in enumerate(piece_forms(text, level[unit]))
        for form in forms
    ]
    pieces = pl.DataFrame(lines, schema=PIECES, orient="row")
    pieces = pieces.with_columns(plain_text(pieces["text"]).alias("text"))
    content = pl.Series(units.content).gather(pieces["unit"])
    few = pl.col("content").n_unique().over("text") <= example_limit(units.examples)
    pieces = (
        pieces.with_columns(content.alias("content"))
        .filter(few & (pl.col("text") != ""))
        .unique(["unit", "piece", "text"], keep="first", maintain_order=True)
    )
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
    return forms, pieces.select("unit", "piece", "number", "words", "start")


def _slots(units: Units, template: Template, runs: RunHashes, ngram: int) -> pl.DataFrame:
    """Return the slots of an n-gram or more, each with the n-gram whose words are the rarest."""
    rarity = np.concatenate([[0], np.cumsum(1 / template.examples)])
    grams, _, _ = roll(units.hashes, np.array([len(units.hashes)]), ngram)
    lines = []
    for unit in np.flatnonzero(template.slot).tolist():
        first, stop = units.starts[unit], units.starts[unit] + units.lengths[unit]
        own = first + np.flatnonzero(~template.most[first:stop])
        size = int(own[-1] + 1 - own[0]) if len(own) else 0
        if size >= ngram:
            begin = int(own[0])
            places = np.arange(begin, begin + size - ngram + 1)
            offset = int(np.argmax(rarity[places + ngram] - rarity[places]))
            hashed = runs.of(np.array([begin]), np.array([size]))[0]
            lines.append((unit, begin - first, size, hashed, grams[begin + offset], offset))
    return pl.DataFrame(lines, schema=SLOTS, orient="row")


def form_grams(index: PromptIndex) -> dict[int, tuple[GramSet, pl.DataFrame]]:
    """Return, by their size, the n-grams with which forms begin, and the forms (number) of each.

    A form of fewer words than an n-gram is one as a whole.
    """
    hashes, lengths = word_hashes(split_words(index.forms["text"]))
    sizes = np.minimum(lengths, index.ngram)
    tables = {}
    for size in sorted(set(sizes.tolist()) - {0}):
        gram, number, place = roll(hashes, lengths, size)
        first = (place == 0) & (sizes[number] == size)
        starts = GramSet(gram[first])
        numbers = number[first]
        forms = pl.DataFrame(
            {
                "gram": np.searchsorted(starts.grams, gram[first]),
                "number": numbers,
                "free": index.forms["free"].to_numpy()[numbers] & (lengths[numbers] == size),
            }
        )
        tables[size] = (starts, forms)
    return tables
