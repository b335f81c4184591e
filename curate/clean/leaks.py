"""Leaks: pool rows that hold an eval prompt, as a whole or in shared word 8-grams.

The rule is the one of Tulu 3 (Lambert et al. 2024, arXiv:2411.15124, section 3.2): a pool row leaks an
eval example when more than half of the prompt's tokens lie in 8-grams that both share. Tokens are
lower-cased runs of letters and digits, so mathematical symbols and punctuation play no part.
Prompts under 8 tokens have no 8-gram; they leak only when a whole turn equals them.
"""

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.reasons import Reason
from curate.registry import Params, StageData, StageResult, stage

BATCH_ROWS = 50_000
# Odd, so that multiplication modulo 2^64 loses nothing.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
HITS_SCHEMA = {
    "row_id": pl.String,
    "eval_id": pl.String,
    "reason": pl.String,
    "coverage": pl.Float64,
    "span": pl.String,
}


class LeaksParams(Params):
    """Drop pool rows that hold an eval prompt."""

    kind: Literal["leaks"] = "leaks"
    ngram: int = 8
    threshold: float = 0.5


@stage(LeaksParams, version=1, uses=("eval",))
def leaks(data: StageData, params: LeaksParams) -> StageResult:
    """Drop every row with a hit; score is its largest coverage, twin_id the eval row hit most."""
    if data.eval is None:
        raise ValueError("leaks needs an eval set")
    hits = find_leaks(data.rows, data.eval, ngram=params.ngram, threshold=params.threshold)
    best = hits.sort("coverage", "eval_id", descending=[True, False]).unique(
        "row_id", keep="first", maintain_order=True
    )
    ids = data.rows.select("row_id").collect()
    joined = ids.join(best, on="row_id", how="left", maintain_order="left")
    evidence = joined.select(
        "row_id",
        keep=pl.col("eval_id").is_null(),
        reason="reason",
        score=pl.col("coverage").fill_null(0.0),
        threshold=pl.lit(params.threshold),
        twin_id="eval_id",
    )
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
    prompts = _eval_prompts(eval_rows)
    grams = _eval_grams(prompts, ngram)
    found = []
    total = rows.select(pl.len()).collect().item()
    for start in range(0, total, BATCH_ROWS):
        turns = _tokenise(rows.slice(start, BATCH_ROWS).filter(pl.lit(True)))
        found.append(_exact_hits(turns, prompts))
        found.append(_gram_hits(turns, prompts, grams, ngram, threshold))
    hits = pl.concat(found) if found else pl.DataFrame(schema=HITS_SCHEMA)
    # A whole turn that equals the prompt says more than the 8-grams that it holds as well.
    return hits.unique(["row_id", "eval_id"], keep="first", maintain_order=True).sort(
        "row_id", "eval_id"
    )


def _words(text: pl.Expr) -> pl.Expr:
    return text.str.normalize("NFC").str.to_lowercase().str.extract_all(r"[\p{L}\p{M}\p{N}]+")


def _tokenise(rows: pl.LazyFrame) -> pl.DataFrame:
    turn = pl.col("messages").struct
    return (
        rows.select("row_id", "messages")
        .explode("messages")
        .filter(turn.field("role") != "system")
        .select("row_id", words=_words(turn.field("content")))
        .collect()
    )


def _eval_prompts(eval_rows: pl.DataFrame) -> pl.DataFrame:
    turn = pl.element().struct
    prompt = (
        pl.col("messages")
        .list.eval(pl.when(turn.field("role") == "user").then(turn.field("content")).drop_nulls())
        .list.join("\n")
    )
    return eval_rows.select(eval_id="row_id", words=_words(prompt))


def _exact_hits(turns: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    text = pl.col("words").list.join(" ")
    wanted = prompts.select("eval_id", span=text).filter(pl.col("span") != "")
    return (
        turns.select("row_id", span=text)
        .join(wanted, on="span", maintain_order="left_right")
        .select(
            "row_id",
            "eval_id",
            reason=pl.lit(Reason.LEAK_EXACT.value),
            coverage=pl.lit(1.0),
            span="span",
        )
    )


def _eval_grams(prompts: pl.DataFrame, ngram: int) -> pl.DataFrame:
    """Return one line per n-gram of every prompt: gram, eval number, position."""
    gram, owner, position = _grams(prompts["words"], ngram)
    return pl.DataFrame({"gram": gram, "eval": owner, "position": position})


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
    turns: pl.DataFrame, prompts: pl.DataFrame, grams: pl.DataFrame, ngram: int, threshold: float
) -> pl.DataFrame:
    gram, owner, _ = _grams(turns["words"], ngram)
    known = np.isin(gram, grams["gram"].to_numpy())
    row_ids = turns["row_id"].gather(owner[known])
    lengths = prompts.select(
        "eval_id", eval=pl.int_range(pl.len(), dtype=pl.Int64), length=pl.col("words").list.len()
    )
    covered = (
        pl.DataFrame({"row_id": row_ids, "gram": gram[known]})
        .unique()
        .join(grams, on="gram")
        .select("row_id", "eval", token=pl.int_ranges("position", pl.col("position") + ngram))
        .explode("token")
        .unique()
        .group_by("row_id", "eval")
        .agg(pl.col("token").sort())
        .join(lengths, on="eval")
        .with_columns(coverage=pl.col("token").list.len() / pl.col("length"))
        .filter(pl.col("coverage") > threshold)
        .sort("row_id", "eval_id")
    )
    spans = [
        _longest_run(tokens, prompts["words"][number])
        for tokens, number in zip(covered["token"], covered["eval"], strict=True)
    ]
    return covered.select(
        "row_id",
        "eval_id",
        reason=pl.lit(Reason.LEAK_NGRAM.value),
        coverage="coverage",
        span=pl.Series(spans, dtype=pl.String),
    )


def _longest_run(tokens: pl.Series, words: pl.Series) -> str:
    positions = tokens.to_numpy()
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
    longest = max(runs, key=len)
    return " ".join(words[int(longest[0]) : int(longest[-1]) + 1].to_list())
