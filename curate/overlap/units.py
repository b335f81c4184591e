"""Units of eval prompts: the texts to look for in rows.

Each prompt is one as a whole; if it lists choices also without them, so that other choices or another
order hide nothing; and so is a system turn of some length that no other eval example has.
"""

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.overlap.markup import without_markup
from curate.text.shingles import WORD_OR_CHARACTER
from curate.text.wordhash import word_hashes
from curate.text.words import fold, split_words

_CHOICE = r"[ \t]*(?:[-*•]|\(?[A-Za-z0-9]{1,2}[).:])[ \t]+\S.*"
_CHOICES = re.compile(rf"\n[^\n]{{0,40}}(?:\n\s*)?(?:{_CHOICE}\n\s*)+{_CHOICE}\s*(?:\n.{{0,20}})?$")
# In one line: "Possible answers: tea, milk", "... Options: A) tea B) milk".
_INLINE = re.compile(
    r"\n[^\n:]{0,20}\b(?i:answers|choices|options)\b[^\n:]{0,20}:[ \t]*\S[^\n]*(?:\n.{0,20})?\s*$"
    r"|(?:(?<=[.?!])|\n)[^\n:.?!]{0,30}(?::[ \t]*)?"
    r"\s\(?[Aa1][).:] ?\S[^\n]*?\s\(?[Bb2][).:] ?\S[^\n]*\s*$"
)
# What both look for, to be looked for in many texts at once; separators are white space to Python alone.
_LISTED = r"\n|[\s\x1c-\x1f]\(?[Aa1][).:] ?\S"


@dataclass(frozen=True)
class Units:
    """The units of eval prompts and their words, those of all units one after the other.

    prompt: number of each unit's eval example; content: the same number for examples of one text;
    texts, words: of each unit; hashes: of all words; lengths, starts: how many each unit has, and where;
    owner: the unit of each word; examples: how many different ones there are; bare: whether a unit is a
    part of another, its prompt without choices.
    """

    prompt: NDArray[np.int64]
    content: NDArray[np.int64]
    texts: pl.Series
    words: pl.Series
    hashes: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    bare: NDArray[np.bool_]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Return the number of each unit's first word."""
        starts: NDArray[np.int64] = np.cumsum(self.lengths) - self.lengths
        return starts

    @property
    def owner(self) -> NDArray[np.int64]:
        """Return the unit of each word."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def examples(self) -> int:
        """Return the number of eval examples with different prompts."""
        return len(np.unique(self.content))


def user_text() -> pl.Expr:
    """Return the text of a row's user turns, a line break between them."""
    return _text_of("user")


def _text_of(role: str) -> pl.Expr:
    turn = pl.element().struct
    text = pl.when(turn.field("role") == role).then(turn.field("content"))
    return pl.col("messages").list.eval(text.drop_nulls()).list.join("\n")


def without_choices(text: str) -> str | None:
    """Return a question without the choices that it lists at its end, None if it lists none."""
    match = _CHOICES.search(text) or _INLINE.search(text)
    return text[: match.start()] if match and text[: match.start()].strip() else None


def split_units(eval_rows: pl.DataFrame, ngram: int) -> Units:
    """Return the units of eval examples, whole prompts first and in the order of the examples."""
    texts = without_markup(eval_rows.select(user_text()).to_series())
    whole = pl.DataFrame({"prompt": np.arange(len(texts)), "text": texts})
    listed = whole.filter(pl.col("text").str.contains(_LISTED))
    bare = listed.with_columns(
        text=pl.Series([without_choices(t) for t in listed["text"]], dtype=pl.String)
    ).drop_nulls()
    system = _system_turns(eval_rows, ngram)
    units = pl.concat([whole, bare, system])
    words = _unit_words(texts, bare, system)
    hashes, lengths = word_hashes(words)
    prompt = units["prompt"].to_numpy()
    content = texts.rank("dense").cast(pl.Int64).to_numpy()[prompt]
    is_bare = np.repeat([False, True, False], [whole.height, bare.height, system.height])
    return Units(prompt, content, units["text"], words, hashes, lengths, is_bare)


def _unit_words(texts: pl.Series, bare: pl.DataFrame, system: pl.DataFrame) -> pl.Series:
    """Return the words of all units; questions without choices have the first of the prompt's."""
    words = split_words(texts)
    prompt = pl.DataFrame({"words": words.gather(bare["prompt"])})
    count = fold(bare["text"]).str.count_matches(WORD_OR_CHARACTER)
    first = prompt.select(pl.col("words").list.head(pl.lit(count)))["words"]
    return pl.concat([words, first, split_words(system["text"])])


def _system_turns(eval_rows: pl.DataFrame, ngram: int) -> pl.DataFrame:
    """Return the system turns that are part of one example, not the way in which all are put."""
    turns = eval_rows.select(
        pl.int_range(pl.len()).alias("prompt"), _text_of("system").alias("text")
    ).with_columns(pl.col("text").map_batches(without_markup))
    long = split_words(turns["text"]).list.len() >= 2 * ngram
    return turns.filter(long & (pl.len().over("text") == 1))
