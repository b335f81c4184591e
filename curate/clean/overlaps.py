"""Overlaps: what rows and eval prompts share, whole turns and runs of words.

    row_id | eval_id | whole | coverage | run | span

The n-grams of all prompts are in one sorted index, and rows are streamed past it once: the time is that
of reading their words, whatever the number of prompts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.clean.shingles import WORD, roll
from curate.ledger import survivor_batches
from curate.store import Artifact, Counts
from curate.tables import read_table

VERSION = 1
EVAL_SETS = ("eval", "protected")
BATCH_ROWS = 4_096
# Places at which a row and a prompt share an n-gram that are looked at together.
MATCHES = 1 << 20
# Pairs that are put into words together.
PAIRS = 1 << 15
SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "eval_id": pl.String(),
        "whole": pl.Boolean(),
        "coverage": pl.Float64(),
        "run": pl.Int64(),
        "span": pl.String(),
    }
)


@dataclass(frozen=True)
class PromptIndex:
    """Eval prompts: their words, and where each of their n-grams stands, in the order of the hashes.

    `several` says whether any prompt is made of several user turns.
    """

    ngram: int
    ids: pl.Series
    words: pl.Series
    lengths: NDArray[np.int64]
    short: pl.DataFrame
    gram: NDArray[np.uint64]
    prompt: NDArray[np.int64]
    place: NDArray[np.int64]
    several: bool


def write_overlaps(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write TABLE.parquet (SCHEMA): every pair of a row and an eval example that share something."""
    index = index_prompts(read_eval_rows(inputs), params["ngram"])
    rows, pairs = 0, 0
    schema = SCHEMA.to_frame().to_arrow().schema
    with pq.ParquetWriter(out / f"{params['table']}.parquet", schema, compression="zstd") as writer:
        for batch in survivor_batches(inputs, ["row_id", "messages"], BATCH_ROWS):
            rows += batch.height
            for found in find_overlaps(batch, index):
                writer.write_table(found.to_arrow())
                pairs += found.height
    return {"rows_in": rows, "pairs": pairs}


def read_eval_rows(inputs: Mapping[str, Artifact]) -> pl.DataFrame:
    """Return the rows of the eval set and of the protected sets, in this order."""
    files = [inputs[name].file("rows.parquet") for name in EVAL_SETS if name in inputs]
    return pl.concat(read_table(file) for file in files)


def user_text() -> pl.Expr:
    """Return the text of a row's user turns, a line break between them."""
    turn = pl.element().struct
    told = pl.when(turn.field("role") == "user").then(turn.field("content"))
    return pl.col("messages").list.eval(told.drop_nulls()).list.join("\n")


def index_prompts(eval_rows: pl.DataFrame, ngram: int) -> PromptIndex:
    """Return the index of the user turns of eval examples."""
    text = eval_rows.select(user_text().alias("text"))["text"]
    words = _words(text)
    lengths = _lengths(words)
    gram, prompt, place = roll(_hash(words), lengths, ngram)
    order = np.argsort(gram, kind="stable")
    turns = pl.DataFrame({"prompt": np.arange(len(text)), "text": text})
    role = pl.element().struct.field("role")
    users = eval_rows.select(pl.col("messages").list.eval(role == "user").list.sum())
    return PromptIndex(
        ngram=ngram,
        ids=eval_rows["row_id"],
        words=words,
        lengths=lengths,
        short=_whole(turns.filter(pl.Series(lengths < ngram))),
        gram=gram[order],
        prompt=prompt[order],
        place=place[order],
        several=bool((users.to_series() > 1).any()),
    )


def find_overlaps(rows: pl.DataFrame, index: PromptIndex) -> Iterator[pl.DataFrame]:
    """Yield every pair of a row and an eval example that share an n-gram or a whole turn.

    Args:
        rows: row_id and messages; all turns but the system's are searched.
        index: of the eval prompts.

    Yields:
        row_id, eval_id; whole: a turn is the prompt; coverage: share of the prompt's words that lie in
        shared n-grams; run, span: number and text of the words in the longest run that the prompt and
        a turn both hold. In the order of rows and prompts, some thousand pairs at a time.
    """
    turns = _turns(rows, joined=index.several)
    words = _words(turns["text"])
    lengths = _lengths(words)
    few = turns.filter(pl.Series(lengths < index.ngram))
    found = [_equal_texts(few, index), *_shared_runs(turns["row"], words, lengths, index)]
    pairs = pl.concat(found).sort("row", "prompt")
    for part in pairs.iter_slices(PAIRS):
        words_of = index.words.gather(part["prompt"]).alias("words")
        span = pl.col("words").list.slice("start", "run").list.join(" ")
        yield part.with_columns(
            words_of,
            row_id=rows["row_id"].gather(part["row"]),
            eval_id=index.ids.gather(part["prompt"]),
        ).select("row_id", "eval_id", "whole", "coverage", "run", span=span)


def _turns(rows: pl.DataFrame, *, joined: bool) -> pl.DataFrame:
    """Return row number and text of every turn; of several user turns also all `joined`."""
    turn = pl.col("messages").struct
    turns = (
        rows.select("messages", row=pl.int_range(pl.len(), dtype=pl.Int64))
        .explode("messages")
        .select("row", role=turn.field("role"), text=turn.field("content"))
        .filter(pl.col("role") != "system")
    )
    if joined:
        users = turns.filter(role="user")
        whole = users.group_by("row", "role").agg(pl.col("text").str.join("\n"), n=pl.len())
        turns = pl.concat([turns, whole.filter(pl.col("n") > 1).drop("n")])
    return turns.select("row", "text").sort("row", maintain_order=True)


def _words(texts: pl.Series) -> pl.Series:
    """Return lists of words: lower-cased runs of letters, marks and digits in Unicode NFC."""
    # In this order: some capitals have no composed form where the small letter has one.
    lower = texts.str.to_lowercase()
    wide = (lower.str.len_bytes() != lower.str.len_chars()).arg_true()
    # Most texts are ASCII, which is NFC already.
    plain = lower.scatter(wide, lower.gather(wide).str.normalize("NFC")) if len(wide) else lower
    return plain.str.extract_all(WORD)


def _lengths(words: pl.Series) -> NDArray[np.int64]:
    return words.list.len().to_numpy().astype(np.int64)


def _hash(words: pl.Series) -> NDArray[np.uint64]:
    return words.explode(empty_as_null=False).hash(seed=0).to_numpy()


def _whole(turns: pl.DataFrame) -> pl.DataFrame:
    """Return texts without case, and without white space and punctuation around them."""
    plain = pl.col("text").str.to_lowercase().str.normalize("NFC").str.replace_all(r"\s+", " ")
    # A sign in front of a number and a percent sign behind it are no punctuation.
    edge = r"[\s\p{P}--[-%]]+"
    bare = plain.str.replace(f"^{edge}", "").str.replace(f"{edge}$", "")
    return turns.with_columns(text=bare).filter(pl.col("text") != "")


def _equal_texts(turns: pl.DataFrame, index: PromptIndex) -> pl.DataFrame:
    """Return the pairs of turns and prompts of few words that are the same, symbols included."""
    same = _whole(turns).join(index.short, on="text").select("row", "prompt").unique()
    length = pl.Series(index.lengths).gather(same["prompt"])
    return same.select(
        "row", "prompt", whole=pl.lit(True), coverage=pl.lit(1.0), run=length, start=pl.lit(0)
    ).cast({"start": pl.Int64})


def _shared_runs(
    row: pl.Series, words: pl.Series, lengths: NDArray[np.int64], index: PromptIndex
) -> Iterator[pl.DataFrame]:
    """Yield the pairs that share an n-gram: row, prompt, whole, coverage, run, start in the prompt."""
    gram, turn, place = roll(_hash(words), lengths, index.ngram)
    known = pl.Series(gram).is_in(pl.Series(index.gram).implode()).to_numpy()
    gram, turn, place = gram[known], turn[known], place[known]
    first = np.searchsorted(index.gram, gram, side="left")
    count = np.searchsorted(index.gram, gram, side="right") - first
    rows = row.to_numpy()[turn]
    for part in _parts(rows, count):
        if count[part].sum() > MATCHES:
            part = part[_first_places(turn[part], gram[part], count[part])]
        at = _ranges(first[part], count[part])
        turns, places = (np.repeat(values[part], count[part]) for values in (turn, place))
        matches = pl.DataFrame(
            {
                "row": np.repeat(rows[part], count[part]),
                "turn": turns,
                "prompt": index.prompt[at],
                "start": index.place[at],
                "shift": places - index.place[at],
            }
        )
        yield _measure(matches, lengths, index)


def _parts(rows: NDArray[np.int64], count: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of all n-grams, cut between rows so that a part has few matches."""
    ends = np.flatnonzero(np.diff(rows, append=-1)) + 1
    total = np.cumsum(count)
    start = 0
    while start < len(rows):
        wanted = MATCHES + (total[start - 1] if start else 0)
        fitting = np.searchsorted(total[ends - 1], wanted, side="right")
        following = np.searchsorted(ends, start, side="right")
        stop = int(ends[max(fitting - 1, following)])
        yield np.arange(start, stop)
        start = stop


def _first_places(
    turn: NDArray[np.int64], gram: NDArray[np.uint64], count: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which n-grams of a row that repeats itself without end to look at.

    As many first places of each n-gram in a turn as give about MATCHES, at least one. The coverage
    stays exact; a run is cut short where all its n-grams stood as often before.
    """
    grams = pl.DataFrame({"turn": turn, "gram": gram, "count": count})
    times = pl.int_range(pl.len()).over("turn", "gram")
    distinct = grams.filter(times == 0)["count"].sum()
    kept: NDArray[np.bool_] = (
        grams.select(times < max(MATCHES // distinct, 1)).to_series().to_numpy()
    )
    return kept


def _ranges(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return first[0], first[0] + 1, ... of count[0] numbers, then those of first[1], and so on."""
    before = np.cumsum(count) - count
    numbers: NDArray[np.int64] = np.arange(int(count.sum())) + np.repeat(first - before, count)
    return numbers


def _measure(matches: pl.DataFrame, lengths: NDArray[np.int64], index: PromptIndex) -> pl.DataFrame:
    """Return coverage and longest run of each pair of a row and a prompt.

    Matches one after the other in turn and prompt (at the same `shift`) make a run of words.
    """
    ordered = matches.sort("row", "prompt", "turn", "shift", "start")
    keys = ["row", "prompt", "turn", "shift", pl.col("start") - pl.int_range(pl.len())]
    runs = ordered.group_by(keys, maintain_order=True).agg(
        pl.col("start").first().alias("begin"), run=pl.len().cast(pl.Int64) + index.ngram - 1
    )
    length = pl.Series(index.lengths).gather(runs["prompt"])
    size = pl.Series(lengths).gather(runs["turn"])
    pair = ["row", "prompt"]
    begin, end = pl.col("begin"), pl.col("begin") + pl.col("run")
    covered = end.cum_max().shift(1, fill_value=0).over(pair)
    return (
        runs.with_columns(length=length, whole=(runs["run"] == length) & (size == length))
        .sort(*pair, "begin", "run", descending=[False, False, False, True])
        .with_columns(new=(end - pl.max_horizontal(begin, covered)).clip(lower_bound=0))
        .group_by(pair, maintain_order=True)
        .agg(
            pl.col("whole").any(),
            coverage=pl.col("new").sum() / pl.col("length").first(),
            run=pl.col("run").max(),
            start=pl.col("begin").get(pl.col("run").arg_max()),
        )
    )
