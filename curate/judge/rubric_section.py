"""The rubric's section of the report: grades by criterion, and what the judge said of the worst rows."""

import polars as pl

from curate.core.numerals import significant
from curate.core.runrecord import StageRecord
from curate.core.scored_section import WORST, scored_section
from curate.core.section import DataTable, PassagePart, Section


def rubric_section(record: StageRecord, votes: int) -> Section | None:
    """Return the distribution of grades with the mean by criterion and the judge's remarks."""
    if not (record.has("criteria") and record.has("grades")):
        return scored_section(record)
    rubric, grades = record.table("criteria").collect(), record.table("grades")
    low, high = rubric.select("low", "high").row(0)
    lead = (
        f"A language model graded each row from {low} (worst) to {high} (best), {votes} "
        f"time{'' if votes == 1 else 's'}; a row's grade is the weighted mean."
    )
    worst = record.evidence().drop_nulls("score").sort("score", "row_id").head(WORST)
    marks = worst.join(grades, on="row_id").select("row_id", "criteria").collect()
    by_row = dict(marks.iter_rows())
    return scored_section(
        record,
        lead=(lead,),
        score="grade",
        ends=(low, high),
        extras=(_means(rubric, grades),),
        facts={row_id: [_fact(mark) for mark in marks] for row_id, marks in by_row.items()},
        passages={row_id: _remarks(marks) for row_id, marks in by_row.items() if marks},
    )


def _means(rubric: pl.DataFrame, grades: pl.LazyFrame) -> DataTable:
    """Return a table of the criteria with the mean of all grades."""
    criteria = grades.select("criteria").explode("criteria").unnest("criteria")
    means = criteria.group_by("criterion").agg(pl.col("grade").mean()).collect()
    grade_by_criterion = dict(means.iter_rows())
    lines = tuple(
        (_words(name), significant(weight), significant(grade_by_criterion.get(name)))
        for name, weight in rubric.select("name", "weight").iter_rows()
    )
    return DataTable(("Criterion", "#Weight", "#Mean grade"), lines)


def _fact(mark: dict[str, str | float]) -> str:
    return f"{_words(str(mark['criterion']))} {significant(mark['grade'])}"  # type: ignore[arg-type]


def _remarks(marks: list[dict[str, str]]) -> PassagePart:
    passages = tuple((_words(mark["criterion"]), mark["reason"]) for mark in marks)
    return PassagePart("What the judge said", passages)


def _words(name: str) -> str:
    return name.replace("_", " ")
