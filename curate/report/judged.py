"""What models said of the rows: grades by a rubric or a checkpoint, and what the base model knows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.core.stage import APPENDED
from curate.judge.knowledge import CATEGORIES
from curate.report.differences import Side, show_sides
from curate.report.duplicates import stages_of
from curate.report.examples import Rows, RowView, read_rows, show_example
from curate.report.texts import TextView, excerpt
from curate.runs.folder import RunFolder

UNKNOWN, REPLACED = 6, 8
ANSWERS = 2


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
    """The stages of knowledge, in their order."""

    knowledge: tuple[KnowledgeView, ...]


def gather_judged(run: RunFolder) -> JudgementView | None:
    """Return None where no such stage ran."""
    knowledge = tuple(_knowledge(run, *s) for s in stages_of(run, ["knowledge"]).items())
    return JudgementView(knowledge) if knowledge else None


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
