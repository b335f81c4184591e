"""The table of what the rules measure: a line for each row, nothing decided yet.

    row_id
    prompt_chars, response_chars
    damage, escape, markup, placeholder, merged, missing, claim, refusal, open_end, word
                       the piece found, null where there is none
    markup_share       of the prompt's characters
    repeated_lines     share of the response's characters, code left out
    repeated_grams     share of the response's words
    loop               characters at the response's end that are one piece over and over
    copied             share of the prompt's words
    tool_fault, tool_value   the call that cannot be right, the value in it that no turn says
    prompt_language, prompt_confidence, response_language, response_confidence   null for short texts

The columns of languages and words are there only if asked for. The prompt is all user turns, the
response the last turn; damage and words are looked for in all turns.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from curate.answers.refusals import find_refusal
from curate.clean.heuristics.claims import find_claim
from curate.clean.heuristics.copying import copied_share
from curate.clean.heuristics.endings import find_open_end, unsigned
from curate.clean.heuristics.escapes import find_escape
from curate.clean.heuristics.merged import find_merged
from curate.clean.heuristics.missing import find_missing
from curate.clean.heuristics.placeholders import find_placeholder
from curate.clean.heuristics.repetition import loop_lengths, repeated_grams, repeated_lines
from curate.clean.heuristics.signs import find_damage, find_markup, markup_share, without_code
from curate.clean.heuristics.toolcalls import MARKED_CALLS, find_call_faults
from curate.clean.heuristics.words import WordList, find_word
from curate.core.calls import cached_files
from curate.core.store import Counts
from curate.core.tableparts import SurvivorPart
from curate.core.turntext import CONVERSATION, text_of_turn
from curate.overlap.units import user_text
from curate.text.language import find_languages

VERSION = 5
NAME = "measures"
BATCH_ROWS = 8_192
SIDES = ("prompt", "response")
SCHEMA = pl.Schema(
    {
        "row_id": pl.String,
        "prompt_chars": pl.UInt32,
        "response_chars": pl.UInt32,
        "damage": pl.String,
        "escape": pl.String,
        "markup": pl.String,
        "markup_share": pl.Float32,
        "placeholder": pl.String,
        "merged": pl.String,
        "missing": pl.String,
        "claim": pl.String,
        "refusal": pl.String,
        "open_end": pl.String,
        "repeated_lines": pl.Float32,
        "repeated_grams": pl.Float32,
        "loop": pl.Int32,
        "copied": pl.Float32,
        "tool_fault": pl.String,
        "tool_value": pl.String,
    }
)
LANGUAGE_SCHEMA = {
    f"{side}_{column}": kind
    for side in SIDES
    for column, kind in (("language", pl.String()), ("confidence", pl.Float32()))
}
WORD_SCHEMA = {"word": pl.String()}


@cached_files(version=VERSION, name="rules-measures", title="Measure what the rules ask for")
def write_measures(out: Path, rows: SurvivorPart, languages: bool, words: WordList) -> Counts:
    """Write measures.parquet of some rows, batch by batch."""
    schema = _schema(languages=languages, words=bool(words.words))
    count = 0
    arrow = schema.to_frame().to_arrow().schema
    with pq.ParquetWriter(out / f"{NAME}.parquet", arrow, compression="zstd") as writer:
        for batch in rows.batches(["row_id", *CONVERSATION], BATCH_ROWS):
            measures = measure(batch, languages=languages, words=words.words)
            writer.write_table(measures.to_arrow().cast(arrow))
            count += measures.height
    return {"rows_in": count, "rows_out": count}


def measure(
    rows: pl.DataFrame, *, languages: bool = False, words: Sequence[str] = ()
) -> pl.DataFrame:
    """Return what the rules measure in rows with row_id, messages and tools."""
    texts = _texts(rows)
    prompt, response, whole = (pl.col(name) for name in ("prompt", "response", "whole"))
    measures = texts.select(
        "row_id",
        prompt_chars=prompt.str.len_chars(),
        response_chars=pl.col("spoken").str.len_chars(),
        damage=find_damage(whole),
        markup=find_markup(prompt, response),
        markup_share=markup_share(prompt).cast(pl.Float32),
        open_end=find_open_end(response),
        repeated_lines=repeated_lines(without_code(response)),
        **({"word": find_word(whole, words)} if words else {}),
    ).with_columns(
        open_end=unsigned(pl.col("open_end")),
        escape=find_escape(texts),
        placeholder=find_placeholder(texts),
        merged=find_merged(texts),
        missing=find_missing(texts),
        # What a tool did has been done.
        claim=find_claim(texts).zip_with(~texts["acting"], pl.Series([None], dtype=pl.String)),
        refusal=find_refusal(texts),
        repeated_grams=pl.Series(repeated_grams(texts["response"])),
        loop=pl.Series(loop_lengths(texts["response"])),
        copied=pl.Series(copied_share(texts["prompt"], texts["response"])),
        **find_call_faults(rows).to_dict(),
    )
    if languages:
        language_columns = [
            find_languages(texts[side]).select(pl.all().name.prefix(f"{side}_")) for side in SIDES
        ]
        measures = pl.concat([measures, *language_columns], how="horizontal")
    return measures.select(_schema(languages=languages, words=bool(words)).names())


def _texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Return row_id, prompt, response, whole (all turns) and turns (how many).

    Calls of tools are no prose: they count in the length of a response that has nothing else.
    """
    prose = pl.col("messages").list.eval(text_of_turn(calls=False))
    answers = pl.col("messages").list.eval(text_of_turn(reasoning=False, calls=False))
    spoken = pl.col("messages").list.eval(text_of_turn(reasoning=False))
    return rows.select(
        "row_id",
        prompt=user_text(),
        response=answers.list.last().str.replace_all(MARKED_CALLS, ""),
        spoken=spoken.list.last(),
        whole=prose.list.join("\n"),
        acting=pl.col("tools").is_not_null()
        | pl.col("messages").list.eval(pl.element().struct.field("role") == "tool").list.any(),
        turns=pl.col("messages").list.len(),
    )


def _schema(*, languages: bool, words: bool) -> pl.Schema:
    return pl.Schema(
        {**SCHEMA, **(LANGUAGE_SCHEMA if languages else {}), **(WORD_SCHEMA if words else {})}
    )
