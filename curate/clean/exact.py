"""Exact duplicates: rows whose normalised text another row has, and prompts with several answers."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from curate.clean.duplicates import DedupParams, Survivor, judge_duplicates
from curate.clean.duplicates_section import ComparedTexts, duplicates_section
from curate.core.methods import method
from curate.core.reasons import Reason
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.turntext import text_of_turn
from curate.text.compared import Compared
from curate.text.pairs import PAIR_SCHEMA, repeated

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
    version: ClassVar[int] = 5

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
        alike = _repeated(data.rows, _keys(data.rows, compare, self.fold))
        first = pl.col("row_id").first().over("key")
        pairs = alike.select(
            first.alias("row_id"), other_id="row_id", similarity=pl.lit(1.0), same=pl.lit(True)
        ).filter(pl.col("row_id") != pl.col("other_id"))
        judged = judge_duplicates(
            data,
            pairs.select(*PAIR_SCHEMA),
            DedupParams(threshold=1.0, keep=self.keep),
            Reason.EXACT_DUPLICATE,
        )
        if not self.conflicts:
            return judged
        dropped = judged.evidence.lazy().filter(~pl.col("keep")).select("row_id")
        rows = data.rows.join(dropped, on="row_id", how="anti", maintain_order="left")
        return StageResult(judged.evidence, {"conflicts": find_conflicts(rows, self.fold)})


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


def _folded(compare: Compared, fold: list[Fold]) -> pl.Expr:
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
    folded = pl.col("messages").list.eval(pl.struct(turn.field("role"), content.alias("content")))
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
