"""How much of a prompt stands in its response.

An answer often holds most of its prompt and is right to: corrections, paraphrases, extracts, workings
that restate the problem. None of them repeats the instruction. So the prompt counts as copied only if
its first and its last words stand in the answer as well, since one of the two is the instruction.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.clean.heuristics.repetition import by_script, cover, own_keys
from curate.text.shingles import WORD, Unit, hash_words, plain_texts, roll

NGRAM = 8
# A shorter prompt is quoted by many a good answer.
FEWEST_WORDS = 8
# A response that is shorter than this share of its prompt cannot hold most of it.
SHORTEST = 0.5
# A response that is nothing but the prompt counts from fewer letters on; its head is looked at first.
FEWEST_BYTES = 12
HEAD = 4
# The last word, or the end of a longer one.
END, LAST_WORD = 40, rf"({WORD})[^\p{{L}}\p{{M}}\p{{N}}]*\z"
# The first paragraph may also be the text that is to be corrected.
ORDER = (
    r"(?i)^\W*(?:please\s)?(?:write|generate|create|list|name|describe|summari[sz]e|translate|rewrite|edit"
    r"|classify|identify|explain|give|find|compose|suggest|design|convert|calculate|compare|construct|tell"
    r"|provide|produce|make|sort|analy[sz]e|discuss|answer|what|why|how|who|which|where|when)\s"
)


def copied_share(prompts: pl.Series, responses: pl.Series) -> NDArray[np.float32]:
    """Return the share of each prompt's words that lie in word 8-grams of its response [N].

    0 for prompts of few words or of which the response lacks one of the ends, and where the response is
    much shorter than the prompt; 1 where it is the prompt, or its first paragraph, and nothing else.
    """
    shares = _repeats(prompts, responses).astype(np.float32)
    is_long = ~shares.astype(np.bool_) & np.asarray(
        prompts.str.len_bytes() * SHORTEST <= responses.str.len_bytes()
    )
    at = np.flatnonzero(is_long)
    if len(at):
        long_prompts, long_responses = prompts.gather(at), responses.gather(at)
        shares[at] = by_script(
            long_prompts,
            lambda at, unit, times: _shares(
                long_prompts.gather(at), long_responses.gather(at), unit, times
            ),
        )
    return shares


def _repeats(prompts: pl.Series, responses: pl.Series) -> NDArray[np.bool_]:
    """Return whether each response is its prompt, or the first paragraph of it, and nothing else."""
    rows = pl.DataFrame({"prompt": prompts, "response": responses})
    prompt, response = pl.col("prompt"), pl.col("response")
    heads = [text.str.slice(0, HEAD).str.to_lowercase() for text in (prompt, response)]
    like = (heads[0] == heads[1]) & (response.str.len_bytes() <= prompt.str.len_bytes() + HEAD)
    at = rows.select(like).to_series().arg_true()
    first = prompt.str.split("\n\n").list.first()
    part = pl.when(first.str.contains(ORDER)).then(_letters(first))
    whole = _letters(response)
    same = whole.is_in(pl.concat_list(_letters(prompt), part)) & (
        whole.str.len_bytes() >= FEWEST_BYTES
    )
    is_repeat = np.zeros(rows.height, dtype=np.bool_)
    is_repeat[at.to_numpy()] = rows[at].select(same.fill_null(value=False)).to_series().to_numpy()
    return is_repeat


def _letters(text: pl.Expr) -> pl.Expr:
    """Return a text without case, spaces and punctuation."""
    return text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", "")


def _shares(
    prompts: pl.Series, responses: pl.Series, unit: Unit, times: int
) -> NDArray[np.float32]:
    """Return the share of each prompt's words that its response copies, 0 where it lacks an end [N]."""
    shares = np.zeros(len(prompts), dtype=np.float32)
    at = np.arange(len(prompts))
    # A script without spaces has no words that could be looked for.
    if unit == "word":
        at = holds_ends(prompts, responses).arg_true().to_numpy()
    if len(at):
        shares[at] = _copied(prompts.gather(at), responses.gather(at), unit, times)
    return shares


def holds_ends(prompts: pl.Series, responses: pl.Series) -> pl.Series:
    """Return whether each response holds the first and the last word of its prompt somewhere."""
    texts = pl.DataFrame({"prompt": plain_texts(prompts), "response": plain_texts(responses)})
    prompt, response = pl.col("prompt"), pl.col("response")
    ends = prompt.str.extract(WORD, 0), prompt.str.slice(-END).str.extract(LAST_WORD, 1)
    held = [response.str.contains(word.fill_null(""), literal=True) for word in ends]
    return texts.select(pl.all_horizontal(held)).to_series()


def _copied(
    prompts: pl.Series, responses: pl.Series, unit: Unit, times: int
) -> NDArray[np.float32]:
    width = NGRAM * times
    words, lengths = hash_words(prompts, unit)
    prompt_grams, owner, position = roll(words, lengths, width)
    response_grams, response_owner, _ = roll(*hash_words(responses, unit), width)
    # Polars, since numpy sorts here and takes twenty times as long.
    response_keys = pl.Series(own_keys(response_grams, response_owner)).implode()
    held = pl.Series(own_keys(prompt_grams, owner)).is_in(response_keys).to_numpy()
    starts = np.cumsum(lengths) - lengths
    covered = cover(starts[owner[held]] + position[held], width, len(words))
    sums = np.concatenate([[0], np.cumsum(covered)])
    shares = (sums[starts + lengths] - sums[starts]) / np.maximum(lengths, 1)
    long = lengths >= FEWEST_WORDS * times
    whole = long.copy()
    whole[long] = covered[starts[long]] & covered[(starts + lengths)[long] - 1]
    return np.where(whole, shares, 0.0).astype(np.float32)
