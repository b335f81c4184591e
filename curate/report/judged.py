"""What models said of the rows: grades by a rubric or a checkpoint, and what the base model knows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.core.stage import APPENDED
from curate.judge.knowledge import CATEGORIES
from curate.report.bins import HistogramBin, equal_bins
from curate.report.differences import Side, show_sides
from curate.report.duplicates import stages_of
from curate.report.examples import Rows, RowView, read_rows, show_example
from curate.report.texts import TextView, excerpt
from curate.runs.folder import RunFolder

WORST, UNKNOWN, REPLACED = 8, 6, 8
ANSWERS = 2


@dataclass(frozen=True)
class CriterionGrade:
    """A criterion and the mean grade of all rows, or of one with the reason told for it."""

    name: str
    weight: float
    grade: float | None
    reason: TextView | None


@dataclass(frozen=True)
class LowGradeRow:
    """A row of low score with its grades by criterion and their reasons."""

    row: RowView
    score: float
    marks: tuple[CriterionGrade, ...]


@dataclass(frozen=True)
class GradeView:
    """Scores of a model judge or scoring model; `marks` and the scale are those of a rubric."""

    stage: str
    params: Mapping[str, Any]
    rows: int
    unscored: int
    dropped: int
    threshold: float | None
    scale: tuple[int, int] | None
    marks: tuple[CriterionGrade, ...]
    bins: tuple[HistogramBin, ...]
    worst: tuple[LowGradeRow, ...]


@dataclass(frozen=True)
class Category:
    """How many rows the model knows so well, and how many of them stayed."""

    name: str
    rows: int
    share: float
    kept: int


@dataclass(frozen=True)
class UnknownRow:
    """A row whose answer the base model does not know, and what it answered instead."""

    row: RowView
    answers: tuple[TextView, ...]


@dataclass(frozen=True)
class KnowledgeReplacement:
    """A row and its replacement by what the model knows, with the route of the replacement."""

    route: str
    old: Side
    new: Side


@dataclass(frozen=True)
class KnowledgeView:
    """Knowledge of the base model: categories, fates of rows, upper bound where no sample is right."""

    stage: str
    params: Mapping[str, Any]
    rows: int
    judged: int
    lost: int
    dropped: int
    bound: float | None
    categories: tuple[Category, ...]
    routes: tuple[tuple[str, int], ...]
    missed: tuple[UnknownRow, ...]
    replaced: tuple[KnowledgeReplacement, ...]


@dataclass(frozen=True)
class JudgementView:
    """The stages of grades and scores, and those of knowledge, in their order."""

    graded: tuple[GradeView, ...]
    knowledge: tuple[KnowledgeView, ...]


def gather_judged(run: RunFolder) -> JudgementView | None:
    """Return None where no such stage ran."""
    graded = tuple(_graded(run, *s) for s in stages_of(run, ["rubric", "scorer"]).items())
    knowledge = tuple(_knowledge(run, *s) for s in stages_of(run, ["knowledge"]).items())
    return JudgementView(graded, knowledge) if graded or knowledge else None


def _graded(run: RunFolder, stage: str, params: Mapping[str, Any]) -> GradeView:
    evidence = run.table(f"evidence/{stage}").collect()
    scored = evidence.drop_nulls("score").sort("score", "row_id")
    rubric = _table(run, f"evidence/{stage}-criteria")
    grades = _table(run, f"evidence/{stage}-grades")
    scale = None if rubric is None else (rubric["low"][0], rubric["high"][0])
    return GradeView(
        stage=stage,
        params=params,
        rows=evidence.height,
        unscored=evidence.height - scored.height,
        dropped=int((~evidence["keep"]).sum()),
        threshold=evidence["threshold"].max(),  # type: ignore[arg-type]
        scale=scale,
        marks=tuple(_means(rubric, grades)),
        bins=tuple(equal_bins(scored, "score", scale)),
        worst=tuple(_worst(run, scored.head(WORST), rubric, grades)),
    )


def _table(run: RunFolder, name: str) -> pl.DataFrame | None:
    return run.table(name).collect() if run.has(name) else None


def _means(rubric: pl.DataFrame | None, grades: pl.DataFrame | None) -> Iterator[CriterionGrade]:
    """Yield each criterion of a rubric with the mean of all grades."""
    if rubric is None or grades is None:
        return
    criteria = (
        grades.explode("criteria").unnest("criteria", separator=":").drop_nulls("criteria:grade")
    )
    means = dict(
        criteria.group_by("criteria:criterion").agg(pl.col("criteria:grade").mean()).rows()
    )
    for name, weight in rubric.select("name", "weight").iter_rows():
        yield CriterionGrade(name, weight, means.get(name), None)


def _worst(
    run: RunFolder,
    lines: pl.DataFrame,
    rubric: pl.DataFrame | None,
    grades: pl.DataFrame | None,
) -> Iterator[LowGradeRow]:
    rows = read_rows(run, lines["row_id"])
    weights = {} if rubric is None else dict(rubric.select("name", "weight").iter_rows())
    criteria_by_row = {}
    if grades is not None:
        row_grades = grades.filter(pl.col("row_id").is_in(lines["row_id"].implode()))
        criteria_by_row = dict(row_grades.select("row_id", "criteria").iter_rows())
    for row_id, score in lines.select("row_id", "score").iter_rows():
        marks = tuple(
            CriterionGrade(
                m["criterion"], weights[m["criterion"]], m["grade"], excerpt(m["reason"])
            )
            for m in criteria_by_row.get(row_id, [])
        )
        yield LowGradeRow(show_example(row_id, rows, {}, None), score, marks)


def _knowledge(run: RunFolder, stage: str, params: Mapping[str, Any]) -> KnowledgeView:
    evidence = run.table(f"evidence/{stage}").select("row_id", "keep")
    categorized = run.table(f"evidence/{stage}-known").join(evidence, on="row_id").collect()
    judged = categorized.drop_nulls("category")
    counts = judged.group_by("category").agg(pl.len(), kept=pl.col("keep").sum())
    sizes = {name: (size, kept) for name, size, kept in counts.rows()}
    unknown = judged.filter(category="unknown").sort("row_id")
    return KnowledgeView(
        stage=stage,
        params=params,
        rows=categorized.height,
        judged=judged.height,
        lost=int((categorized["category"].is_null() & categorized["form"].is_not_null()).sum()),
        dropped=int((~categorized["keep"]).sum()),
        bound=unknown["bound"].max(),  # type: ignore[arg-type]
        categories=tuple(
            Category(name, size, size / max(judged.height, 1), kept)
            for name, (size, kept) in ((n, sizes.get(n, (0, 0))) for n in CATEGORIES)
        ),
        routes=_routes(run, stage),
        missed=tuple(_missed(run, stage, unknown["row_id"].head(UNKNOWN).to_list())),
        replaced=tuple(_replaced(run, stage)),
    )


def _routes(run: RunFolder, stage: str) -> tuple[tuple[str, int], ...]:
    if not run.has(f"evidence/{stage}-{APPENDED}"):
        return ()
    counts = run.table(f"evidence/{stage}-routes").group_by("route").len()
    ordered = counts.sort("len", "route", descending=[True, False])
    return tuple(ordered.collect().iter_rows())


def _missed(run: RunFolder, stage: str, ids: list[str]) -> Iterator[UnknownRow]:
    rows: Rows = read_rows(run, ids)
    greedy = run.table(f"evidence/{stage}-answers").filter(
        pl.col("row_id").is_in(ids), pl.col("sample").is_null(), pl.col("text") != ""
    )
    texts_by_row: dict[str, list[str]] = {}
    for row_id, text in greedy.sort("row_id", "set").select("row_id", "text").collect().rows():
        texts_by_row.setdefault(row_id, []).append(text)
    for row_id in ids:
        # The same words after several prompts are told once.
        texts = list(dict.fromkeys(texts_by_row.get(row_id, [])))[:ANSWERS]
        answers = tuple(excerpt(text) for text in texts)
        yield UnknownRow(show_example(row_id, rows, {}, None), answers)


def _replaced(run: RunFolder, stage: str) -> Iterator[KnowledgeReplacement]:
    if not run.has(f"evidence/{stage}-{APPENDED}"):
        return
    routes = run.table(f"evidence/{stage}-routes").drop_nulls("new_id").collect()
    # Routes take turns, so that a rare one is shown beside a common one.
    turn = pl.int_range(pl.len()).over("route")
    lines = routes.sort("row_id").with_columns(turn=turn).sort("turn", "route").head(REPLACED)
    rows = read_rows(run, [*lines["row_id"], *lines["new_id"]])
    for row_id, route, new_id in lines.select("row_id", "route", "new_id").iter_rows():
        yield KnowledgeReplacement(route, *show_sides(row_id, new_id, rows, expect_alike=False))
