"""How much of a prompt stands in its response.

An answer often holds most of its prompt and is right to: corrections, paraphrases, extracts, workings
that restate the problem. None of them repeats the instruction. So the prompt counts as copied only if
its first and its last words stand in the answer as well, since one of the two is the instruction.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.clean.heuristics.repetition import cover, own_keys
from curate.clean.shingles import hash_words, roll

NGRAM = 8
# A shorter prompt is quoted by many a good answer.
FEWEST_WORDS = 8
# A response that is shorter than this share of its prompt cannot hold most of it.
SHORTEST = 0.5


def copied_share(prompts: pl.Series, responses: pl.Series) -> NDArray[np.float32]:
    """Return the share of each prompt's words that lie in word 8-grams of its response [N].

    0 for prompts of few words or of which the response lacks one of the ends, and where the response is
    much shorter than the prompt.
    """
    told = np.asarray(prompts.str.len_bytes() * SHORTEST <= responses.str.len_bytes())
    shares = np.zeros(len(prompts), dtype=np.float32)
    at = np.flatnonzero(told)
    if len(at):
        shares[at] = _shares(prompts.gather(at), responses.gather(at))
    return shares


def _shares(prompts: pl.Series, responses: pl.Series) -> NDArray[np.float32]:
    words, lengths = hash_words(prompts)
    asked, owner, position = roll(words, lengths, NGRAM)
    answered, own, _ = roll(*hash_words(responses), NGRAM)
    # Polars, since numpy sorts here and takes twenty times as long.
    said = pl.Series(own_keys(answered, own)).implode()
    held = pl.Series(own_keys(asked, owner)).is_in(said).to_numpy()
    starts = np.cumsum(lengths) - lengths
    covered = cover(starts[owner[held]] + position[held], NGRAM, len(words))
    sums = np.concatenate([[0], np.cumsum(covered)])
    found = (sums[starts + lengths] - sums[starts]) / np.maximum(lengths, 1)
    long = lengths >= FEWEST_WORDS
    whole = long.copy()
    whole[long] = covered[starts[long]] & covered[(starts + lengths)[long] - 1]
    return np.where(whole, found, 0.0).astype(np.float32)
