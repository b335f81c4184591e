"""Exact duplicates: rows whose normalised text another row has, and prompts with several answers.

The rejected answer of a preference pair belongs to its response: two pairs are the same if prompt,
chosen and rejected answer are. A row without one says less than a pair with its prompt and answer, and
goes for it. Pairs that contradict each other, where one rejects what the other chooses and the other
way round, stay and are listed.
"""

import logging
from collections.abc import Mapping
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from curate.clean.duplicate_figures import CONTRADICTIONS
from curate.clean.duplicates import DedupParams, Survivor, judge_duplicates
from curate.clean.duplicates_section import ComparedTexts, duplicates_section
from curate.core.methods import method
from curate.core.preferences import has_pairs, has_single_answers, is_pair
from curate.core.reasons import Reason
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.turntext import text_of_turn
from curate.text.compared import Compared
from curate.text.pairs import PAIR_SCHEMA, repeated

LOG = logging.getLogger("curate")
Fold = Literal["ends", "space", "case", "numbers"]
# White space as `rows.normalise` takes it.
SPACE = r"[\s\x1c-\x1f]+"
# Blank lines before the first other line, whose indentation stays, and all white space at the end,
# as `rows.trim_ends` takes them.
ENDS = r"\A(?:(?:[^\S\n]|[\x1c-\x1f])*\n)+|[\s\x1c-\x1f]+\z"
LINE_END = r"\r\n?"
NUMBER = r"\p{Nd}+(?:[.,]\p{Nd}+)*"

# What a fold makes nothing of, in words.
FOLDED: Mapping[Fold, str] = {
    "ends": "white space at their ends",
    "space": "white space",
    "case": "letter case",
    "numbers": "which numbers they hold",
}


@method
class ExactStage(Stage):
    """Drop rows whose text, in Unicode NFC and folded, another row has."""

    title: ClassVar[str] = "Exact duplicates"
    reads_rejected: ClassVar[bool] = True
    version: ClassVar[int] = 6

    method: Literal["exact"] = "exact"
    compare: Compared = Field("example", description="whole rows, prompts or responses")
    fold: list[Fold] = Field(
        ["ends"],
        description="take as equal: kinds of line ends and white space at the ends of a turn; all "
        "runs of white space (indentation and tabs included); letter case; all numbers",
    )
    keep: Survivor = Field("earliest", description="which of equal rows survives")
    conflicts: bool = Field(
        False, description="keep rows that repeat a prompt with another answer, and list them"
    )

    @model_validator(mode="after")
    def _check_conflicts(self) -> "ExactStage":
        if self.conflicts and self.compare == "response":
            raise ValueError(
                "conflicts are rows with one prompt: use compare: example or compare: prompt"
            )
        return self

    def section(self, record: StageRecord) -> Section:
        """Return what was merged: the largest clusters, prompts with several answers."""
        return duplicates_section(record, self.compared_texts())

    def compared_texts(self) -> ComparedTexts:
        """Return how rows are compared, in words."""
        compare: Compared = "example" if self.conflicts else self.compare
        *first, last = [FOLDED[fold] for fold in self.fold] or [""]
        both = f"{', '.join(first)} and " if first else ""
        but = (f", but for {both}{last}",) if last else ()
        return ComparedTexts(compare, but, self.keep)

    def decide(self, data: StageData) -> StageResult:
        """Keep one row of every text; the others name it in duplicate_of."""
        compare: Compared = "example" if self.conflicts else self.compare
        with_pairs = has_pairs(data.rows)
        if with_pairs and compare != "prompt":
            copies = _copies_with_pairs(data.rows, compare, self.fold)
        else:
            copies = _copies(_repeated(data.rows, _keys(data.rows, compare, self.fold)))
        params = DedupParams(threshold=1.0, keep=self.keep)
        judged = judge_duplicates(data, copies, params, Reason.EXACT_DUPLICATE)
        dropped = judged.evidence.lazy().filter(~pl.col("keep")).select("row_id")
        rows = data.rows.join(dropped, on="row_id", how="anti", maintain_order="left")
        tables = {"conflicts": find_conflicts(rows, self.fold)} if self.conflicts else {}
        if with_pairs:
            tables[CONTRADICTIONS] = find_contradictions(rows, self.fold)
            _warn_of(tables[CONTRADICTIONS])
        return StageResult(judged.evidence, tables)


def _warn_of(contradictions: pl.DataFrame) -> None:
    if contradictions.height:
        LOG.warning(
            "exact: preference pairs that reject what they, or another pair of the prompt, choose: %d; "
            "evidence/exact-contradictions.parquet lists them, and all are kept",
            contradictions.height,
        )


def _copies(alike: pl.DataFrame) -> pl.DataFrame:
    """Return the first row of each key with each other one (PAIR_SCHEMA)."""
    first = pl.col("row_id").first().over("key")
    pairs = alike.select(
        first.alias("row_id"), other_id="row_id", similarity=pl.lit(1.0), same=pl.lit(True)
    )
    return pairs.filter(pl.col("row_id") != pl.col("other_id")).select(*PAIR_SCHEMA)


def _copies_with_pairs(rows: pl.LazyFrame, compare: Compared, fold: list[Fold]) -> pl.DataFrame:
    """Return equal rows, and rows without a rejected answer beside a pair, as PAIR_SCHEMA."""
    keys = _keys(rows, compare, fold)
    texts = pl.when(is_pair()).then(_folded("example", fold, "rejected"))
    rejected = rows.select(text=texts).collect()["text"]
    whole = keys.with_columns(rejected=rejected.hash(seed=0)).select(
        low=pl.struct("low", "rejected").hash(seed=0),
        high=pl.struct("high", "rejected").hash(seed=1),
    )
    alike = _repeated(rows, keys)
    alike = alike.with_columns(pair=rejected.is_not_null().gather(alike["at"]))
    pair_id = pl.col("row_id").filter("pair").first().over("key")
    less = alike.with_columns(pair_id=pair_id).filter(~pl.col("pair")).drop_nulls("pair_id")
    beside = less.select(
        row_id="pair_id", other_id="row_id", similarity=pl.lit(1.0), same=pl.lit(False)
    )
    return pl.concat([_copies(_repeated(rows, whole)), beside])


def find_contradictions(rows: pl.LazyFrame, fold: list[Fold]) -> pl.DataFrame:
    """Return the pairs of which one rejects what the other chooses, and the other way round.

    Returns:
        row_id and other_id, the earlier row first; a row is beside itself if its two answers are equal.
    """
    pairs = rows.filter(has_single_answers())
    prompt, chosen = (_keys(pairs, part, fold)["low"] for part in ("prompt", "response"))
    rejected = pairs.select("row_id", text=_folded("response", fold, "rejected")).collect()
    answers = rejected.select(
        "row_id", prompt=prompt, chosen=chosen, rejected=pl.col("text").hash(seed=0)
    ).with_row_index("at")
    swapped = answers.join(
        answers, left_on=["prompt", "chosen", "rejected"], right_on=["prompt", "rejected", "chosen"]
    ).filter(pl.col("at") <= pl.col("at_right"))
    return swapped.sort("at", "at_right").select("row_id", other_id="row_id_right")


def find_conflicts(rows: pl.LazyFrame, fold: list[Fold]) -> pl.DataFrame:
    """Return the rows that share their prompt with a row whose response differs.

    Returns:
        row_id, other_id (the first row with the prompt; null for that row itself) and answers, the
        number of different responses to the prompt, in pool order.
    """
    alike = _repeated(rows, _keys(rows, "prompt", fold))
    answers = _keys(rows, "response", fold)[alike["at"]].to_struct()
    first = pl.col("row_id").first().over("key")
    return (
        alike.with_columns(answer=answers)
        .select(
            "row_id",
            other_id=pl.when(pl.col("row_id") != first).then(first),
            answers=pl.col("answer").n_unique().over("key").cast(pl.Int64),
        )
        .filter(pl.col("answers") > 1)
    )


def _keys(rows: pl.LazyFrame, compare: Compared, fold: list[Fold]) -> pl.DataFrame:
    """Return low and high: two numbers of 64 bits, both equal for rows that count as the same."""
    column = _hash_column(fold) if compare == "example" else None
    # In two steps: the text would be folded once for each hash.
    texts = rows.select(text=column or _folded(compare, fold))
    text = pl.col("text")
    return texts.select(low=text.hash(seed=0), high=text.hash(seed=1)).collect()


def _repeated(rows: pl.LazyFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Return at (the row's number), row_id and key of the rows whose key another row has, in order."""
    at = repeated(keys["low"].to_numpy())
    some = keys[at].select(at=pl.Series(at, dtype=pl.get_index_type()), key=pl.struct(pl.all()))
    ids = rows.select("row_id").with_row_index("at")
    return ids.join(
        some.filter(pl.col("key").is_duplicated()).lazy(),
        on="at",
        how="inner",
        maintain_order="left",
    ).collect()


def _hash_column(fold: list[Fold]) -> str | None:
    """Return the column of rows that holds a hash of the whole row folded like that."""
    columns = {
        ("ends",): "text_hash",
        ("space",): "content_hash",
        ("ends", "space"): "content_hash",
    }
    return columns.get(tuple(sorted(set(fold))))


def _folded(compare: Compared, fold: list[Fold], column: str = "messages") -> pl.Expr:
    """Return the compared turns as one text each, with their roles unless there is just one."""
    turn = pl.element().struct
    content = text_of_turn()
    if "case" in fold:
        # Before NFC: some capitals have no composed form where the small letter has one.
        content = content.str.to_lowercase()
    content = _composed(content)
    if "ends" in fold:
        content = content.str.replace_all(LINE_END, "\n").str.replace_all(ENDS, "")
    if "space" in fold:
        content = content.str.replace_all(SPACE, " ").str.strip_chars()
    if "numbers" in fold:
        content = content.str.replace_all(NUMBER, "0")
    folded = pl.col(column).list.eval(pl.struct(turn.field("role"), content.alias("content")))
    role, content = turn.field("role"), turn.field("content")
    if compare == "response":
        return folded.list.eval(content).list.last()
    # The length keeps a text from passing for several turns.
    key = pl.concat_str(role, content.str.len_bytes(), content, separator="\x1f")
    turns = folded.list.eval(key)
    chosen = turns.list.slice(0, turns.list.len() - 1) if compare == "prompt" else turns
    joined = chosen.list.join("\x1e")
    return pl.concat_str(pl.col("tools"), joined, separator="\x1d", ignore_nulls=True)


def _composed(text: pl.Expr) -> pl.Expr:
    """Return a text in Unicode NFC; pure ASCII, which is that already, takes no time."""
    wide = text.str.len_bytes() != text.str.len_chars()
    other = pl.when(wide).then(text).otherwise(pl.lit(""))
    return pl.when(wide).then(other.str.normalize("NFC")).otherwise(text)
