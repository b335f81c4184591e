"""Leaks: pool rows that hold an eval prompt, as a whole or in shared word 8-grams.

The rule is the one of Tulu 3 (Lambert et al. 2024, arXiv:2411.15124, section 3.2): a pool row leaks an
eval example when more than half of the prompt's tokens lie in 8-grams that both share. Tokens are
lower-cased runs of letters and digits, so mathematical symbols and punctuation play no part.
Prompts under 8 tokens have no 8-gram; they leak only when a whole turn equals them, symbols included,
but for case, white space and punctuation around it.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.reasons import Reason
from curate.registry import Params, StageData, StageResult, stage

BATCH_ROWS = 50_000
# Odd, so that multiplication modulo 2^64 loses nothing.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class LeaksParams(Params):
    """Drop pool rows that hold an eval prompt."""

    kind: Literal["leaks"] = "leaks"
    ngram: int = Field(8, gt=0)
    threshold: float = Field(
        0.5, ge=0, le=1, description="share of an eval prompt's tokens that makes a leak"
    )


@stage(LeaksParams, version=2, uses=("eval",), needs=("eval",))
def leaks(data: StageData, params: LeaksParams) -> StageResult:
    """Drop every row with a hit; score is its largest coverage, twin_id the eval row behind it."""
    if data.eval is None:
        raise ValueError("leaks needs an eval set")
    overlaps = find_overlaps(data.rows, data.eval, params.ngram)
    best = overlaps.sort(
        pl.col("reason") == Reason.LEAK_EXACT.value,
        "coverage",
        "eval_id",
        descending=[True, True, False],
    ).unique("row_id", keep="first", maintain_order=True)
    ids = data.rows.select("row_id").collect()
    leaking = _leaking(params.threshold).fill_null(value=False)
    evidence = ids.join(best, on="row_id", how="left", maintain_order="left").select(
        "row_id",
        keep=~leaking,
        reason=pl.when(leaking).then("reason"),
        score=pl.col("coverage").fill_null(0.0),
        threshold=pl.lit(params.threshold),
        twin_id=pl.when(leaking).then("eval_id"),
    )
    hits = describe_hits(overlaps.filter(_leaking(params.threshold)), data.eval)
    return StageResult(evidence, {"hits": hits})


def find_leaks(
    rows: pl.LazyFrame, eval_rows: pl.DataFrame, *, ngram: int = 8, threshold: float = 0.5
) -> pl.DataFrame:
    """Return every (row, eval example) pair that leaks, with what they share.

    Args:
        rows: row_id and messages; all turns but the system's are searched.
        eval_rows: row_id and messages; the user turns are what may not be known.
        ngram: words in an n-gram.
        threshold: share of the prompt's tokens that shared n-grams must exceed.

    Returns:
        row_id, eval_id, reason, coverage (0 to 1), span (longest shared run of words), sorted.
    """
    overlaps = find_overlaps(rows, eval_rows, ngram)
    return describe_hits(overlaps.filter(_leaking(threshold)), eval_rows)


def _leaking(threshold: float) -> pl.Expr:
    return (pl.col("reason") == Reason.LEAK_EXACT.value) | (pl.col("coverage") > threshold)


def find_overlaps(rows: pl.LazyFrame, eval_rows: pl.DataFrame, ngram: int) -> pl.DataFrame:
    """Return every (row, eval example) pair that shares an n-gram or a whole turn.

    Returns:
        row_id, eval_id, reason, coverage (0 to 1), tokens (positions of the prompt's shared tokens;
        null for a whole turn), sorted by row_id and eval_id.
    """
    prompts = _eval_prompts(eval_rows)
    gram, owner, position = _grams(prompts["words"], ngram)
    grams = pl.DataFrame({"gram": gram, "eval": owner, "position": position})
    total = rows.select(pl.len()).collect().item()
    found = []
    for start in range(0, max(total, 1), BATCH_ROWS):
        turns = _tokenise(rows.slice(start, BATCH_ROWS))
        found += [_exact_hits(turns, prompts, ngram), _gram_hits(turns, prompts, grams, ngram)]
    # A whole turn that equals the prompt says more than the n-grams that it holds as well.
    pairs = pl.concat(found).unique(["row_id", "eval_id"], keep="first", maintain_order=True)
    return pairs.sort("row_id", "eval_id")


def describe_hits(overlaps: pl.DataFrame, eval_rows: pl.DataFrame) -> pl.DataFrame:
    """Return overlaps with the longest shared run of words instead of token positions."""
    words = dict(_eval_prompts(eval_rows).select("eval_id", "words").iter_rows())
    spans = [
        " ".join(words[eval_id] if tokens is None else _longest_run(tokens, words[eval_id]))
        for eval_id, tokens in overlaps.select("eval_id", "tokens").iter_rows()
    ]
    return overlaps.drop("tokens").with_columns(span=pl.Series(spans, dtype=pl.String))


def _words(text: pl.Expr) -> pl.Expr:
    return text.str.normalize("NFC").str.to_lowercase().str.extract_all(r"[\p{L}\p{M}\p{N}]+")


def _whole(text: pl.Expr) -> pl.Expr:
    """Return text without case, and without white space and punctuation around it."""
    plain = text.str.normalize("NFC").str.to_lowercase().str.replace_all(r"\s+", " ")
    # A sign in front of a number and a percent sign behind it are no punctuation.
    edge = r"[\s\p{P}--[-%]]+"
    return plain.str.replace(f"^{edge}", "").str.replace(f"{edge}$", "")


def _tokenise(rows: pl.LazyFrame) -> pl.DataFrame:
    turn = pl.col("messages").struct
    return (
        rows.select("row_id", "messages")
        .explode("messages")
        .filter(turn.field("role") != "system")
        .select("row_id", whole=_whole(turn.field("content")), words=_words(turn.field("content")))
        .collect()
    )


def _eval_prompts(eval_rows: pl.DataFrame) -> pl.DataFrame:
    turn = pl.element().struct
    prompt = (
        pl.col("messages")
        .list.eval(pl.when(turn.field("role") == "user").then(turn.field("content")).drop_nulls())
        .list.join("\n")
    )
    return eval_rows.select(eval_id="row_id", whole=_whole(prompt), words=_words(prompt))


def _exact_hits(turns: pl.DataFrame, prompts: pl.DataFrame, ngram: int) -> pl.DataFrame:
    """Return turns that are a prompt: by their words, or by their text where words are few."""
    short = pl.col("words").list.len() < ngram
    same = (
        pl.when(short)
        .then(pl.concat_str(pl.lit("text "), "whole"))
        .otherwise(pl.concat_str(pl.lit("words "), pl.col("words").list.join(" ")))
    )
    return (
        turns.with_columns(same=same)
        .join(
            prompts.filter(pl.col("whole") != "").select("eval_id", same=same),
            on="same",
            maintain_order="left_right",
        )
        .select(
            "row_id",
            "eval_id",
            reason=pl.lit(Reason.LEAK_EXACT.value),
            coverage=pl.lit(1.0),
            tokens=pl.lit(None, dtype=pl.List(pl.Int64)),
        )
    )


def _grams(
    words: pl.Series, ngram: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Return hash, list number and position in the list of every n-gram, none across lists."""
    lengths = words.list.len().to_numpy().astype(np.int64)
    hashes = words.explode(empty_as_null=False).hash(seed=0).to_numpy()
    owner = np.repeat(np.arange(len(lengths)), lengths)
    position = np.arange(len(hashes)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    count = max(len(hashes) - ngram + 1, 0)
    rolled = np.zeros(count, dtype=np.uint64)
    for k in range(ngram):
        rolled = rolled * MULTIPLIER + hashes[k : k + count]
    whole = position[:count] + ngram <= lengths[owner[:count]]
    return rolled[whole], owner[:count][whole], position[:count][whole]


def _gram_hits(
    turns: pl.DataFrame, prompts: pl.DataFrame, grams: pl.DataFrame, ngram: int
) -> pl.DataFrame:
    gram, owner, _ = _grams(turns["words"], ngram)
    known = np.isin(gram, grams["gram"].to_numpy())
    row_ids = turns["row_id"].gather(owner[known])
    lengths = prompts.select(
        "eval_id", eval=pl.int_range(pl.len(), dtype=pl.Int64), length=pl.col("words").list.len()
    )
    return (
        pl.DataFrame({"row_id": row_ids, "gram": gram[known]})
        .unique()
        .join(grams, on="gram")
        .select("row_id", "eval", token=pl.int_ranges("position", pl.col("position") + ngram))
        .explode("token")
        .unique()
        .group_by("row_id", "eval")
        .agg(tokens=pl.col("token").sort())
        .join(lengths, on="eval")
        .select(
            "row_id",
            "eval_id",
            reason=pl.lit(Reason.LEAK_NGRAM.value),
            coverage=pl.col("tokens").list.len() / pl.col("length"),
            tokens="tokens",
        )
    )


def _longest_run(tokens: Sequence[int], words: Sequence[str]) -> Sequence[str]:
    positions = np.asarray(tokens)
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
    longest = max(runs, key=len)
    return words[int(longest[0]) : int(longest[-1]) + 1]
