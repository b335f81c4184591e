"""Tag: a marker in the rows that meet a condition, as new rows in their place.

    - {method: tag, when: "context.score > 0.6", append: " [IND]"}          at the end of the user's turn
    - {method: tag, when: "rubric.score >= 4.5", append: " (quality: high)"}
    - {method: tag, when: "rubric.score < 2", append: " (a wrong answer)"}  negatives, marked as such

One stage for what several papers do by hand: a marker that asks for attention to the context (see
`context`), failures that are trained on with a mark (Learning from Failure, Wang et al. 2024,
arXiv:2402.11651), words for the quality of a row by its evidence. At use the marker is what asks for
the one kind, and its absence for the other. What is here is ours: the stage writes any text where any
condition holds, and says nothing of whether that helps; `prove` does, with eval examples that have the
marker where users will write it.

`when` is a condition as `select.filter` has it, of STAGE.COLUMN of earlier stages and of source, origin,
method and hop. A row for which it cannot be judged (null) is not marked. `append` goes to the end of the
last turn of `to`, white space before it as it is written; a rejected response stays as it is. The old
row is dropped (`tagged`) and is the parent of the new one, which meets the later stages; what earlier
stages measured of the old row is not said of the new one.

Cost: none.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from polars.exceptions import PolarsError
from pydantic import Field, field_validator

from curate.core.calls import Table, cached_files
from curate.core.derived_rows import derive_rows
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.numerals import counted
from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Quote, Section, paragraph
from curate.core.sql import excerpt, parse_expression
from curate.core.stage import APPENDED, Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.store import Counts
from curate.core.turntext import plain_messages

VERSION = 2
METHOD = "tag"
COLUMNS = ("source", "origin", "method", "hop")


@method
class TagStage(Stage):
    """Put a marker into the rows that meet a condition."""

    title: ClassVar[str] = "Markers"
    version: ClassVar[int] = 1
    does: ClassVar[str] = "makes rows anew, with a marker"

    method: Literal["tag"] = "tag"
    when: str = Field(
        description="SQL condition of STAGE.COLUMN, source, origin, method or hop",
        examples=["context.score > 0.6"],
    )
    append: str = Field(min_length=1, description="the marker", examples=[" [IND]"])
    to: Literal["user", "assistant"] = Field("user", description="whose last turn ends with it")

    @field_validator("when")
    @classmethod
    def _check_when(cls, when: str) -> str:
        try:
            parse_expression(when)
        except UserError as error:
            raise ValueError(str(error)) from error
        return when

    @property
    def named_stages(self) -> list[str]:
        """Return the stages whose evidence the condition speaks of."""
        names = parse_expression(self.when).meta.root_names()
        return [name for name in dict.fromkeys(names) if name not in COLUMNS]

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return the rows with the marker."""
        names = [verdicts.artifact.name for verdicts in data.evidence]
        stored = run(write_tagged, data, names, self.when, self.append, self.to)
        return {APPENDED: Table(stored, APPENDED)}

    def decide(self, data: StageData) -> StageResult:
        """Drop the rows that have come back with the marker; duplicate_of is the new row."""
        new = data.prepared[APPENDED].scan()
        parents = new.select(pl.col("parents").list.first().alias("parent"), new_id="row_id")
        joined = data.rows.select("row_id").join(
            parents, left_on="row_id", right_on="parent", how="left", maintain_order="left"
        )
        replaced = pl.col("new_id").is_not_null()
        evidence = joined.select(
            "row_id",
            keep=~replaced,
            reason=pl.when(replaced).then(pl.lit(Reason.TAGGED.value)),
            score=pl.lit(None, dtype=pl.Float64),
            threshold=pl.lit(None, dtype=pl.Float64),
            duplicate_of="new_id",
        )
        return StageResult(evidence.collect())

    def section(self, record: StageRecord) -> Section | None:
        """Return how many rows have the marker."""
        keep = record.evidence().select("keep").collect()["keep"]
        text = paragraph(
            f"{counted(int((~keep).sum()), 'row')} of {len(keep):,} met the condition ",
            Quote(self.when),
            f" and came back with a marker at the end of the {self.to}'s last turn: ",
            Quote(self.append),
        )
        return Section(record.anchor, record.label, (text,), record.name)


@cached_files(version=VERSION, name="tag-rows", title="Write the marker")
def write_tagged(
    out: Path, data: StageInputs, stages: Sequence[str], when: str, append: str, to: str
) -> Counts:
    """Write the rows that meet the condition, with the marker.

    Args:
        out: the folder.
        data: rows and evidence.
        stages: the names of the stages whose evidence it is.
        when: the condition.
        append: the marker.
        to: whose last turn ends with it.

    Raises:
        UserError: the condition is none, or speaks of what is not there.
    """
    evidence = {n: verdicts.scan() for n, verdicts in zip(stages, data.evidence, strict=True)}
    met = meets(data.survivors(), evidence, when)
    rows = data.survivors().join(
        met.lazy().filter("met"), on="row_id", how="semi", maintain_order="left"
    )
    parents = rows.collect()
    turns = [_marked(plain_messages(m), append, to) for m in parents["messages"].to_list()]
    # Only what the marker is added to changes: preferences stay preferences.
    made_rows = derive_rows(parents, turns, METHOD).with_columns(parents["rejected"])
    made_rows.write_parquet(out / f"{APPENDED}.parquet")
    return {"rows_in": met.height, "rows_out": parents.height}


def meets(rows: pl.LazyFrame, evidence: Mapping[str, pl.LazyFrame], condition: str) -> pl.DataFrame:
    """Return row_id and whether each row has `met` an SQL condition: null cannot be judged, and has not.

    Raises:
        UserError: it is no condition, or speaks of what is not there.
    """
    try:
        expression = parse_expression(condition)
        table = rows.select("row_id", *COLUMNS)
        for name in expression.meta.root_names():
            if name in COLUMNS:
                continue
            if name not in evidence:
                names = ", ".join([*COLUMNS, *evidence])
                raise UserError(f"nothing is named {name!r}; there are: {names}")
            fields = evidence[name].select("row_id", pl.struct(pl.exclude("row_id")).alias(name))
            table = table.join(fields, on="row_id", how="left", maintain_order="left")
        verdicts = table.select("row_id", met=expression).collect()
    except (PolarsError, UserError) as error:
        raise UserError(f"tag.when: {excerpt(condition)}: {str(error).splitlines()[0]}") from error
    kind = verdicts.schema["met"]
    if kind != pl.Boolean:
        raise UserError(f"tag.when: {excerpt(condition)} is no condition: it gives {kind}")
    return verdicts.with_columns(pl.col("met").fill_null(value=False))


def _marked(messages: list[Message], marker: str, role: str) -> list[Message]:
    """Return turns of which the last one of a role ends with the marker."""
    last = max((i for i, m in enumerate(messages) if m["role"] == role), default=-1)
    return [
        {**message, "content": message["content"].rstrip() + marker} if i == last else message
        for i, message in enumerate(messages)
    ]
