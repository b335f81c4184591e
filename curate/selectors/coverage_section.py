"""Target coverage in the report: the nearest selected row of each target example, and the thin spots."""

from dataclasses import dataclass

import polars as pl

from curate.core.chart import Dumbbell, Dumbbells
from curate.core.numerals import number, similarity
from curate.core.runrecord import RunTables
from curate.core.section import (
    Block,
    Cell,
    Columns,
    DataTable,
    Details,
    Figure,
    Heading,
    Inline,
    Item,
    Paragraph,
    Quiet,
    Quote,
    RowId,
    RowList,
    RowPart,
    Section,
    Strong,
    Tag,
    paragraph,
)
from curate.selectors.setmeasures_section import set_blocks
from curate.selectors.sources_section import nearness_blocks

TABLE = "evidence/coverage"
ANCHOR = "coverage"
MOST_SPOTS = 200
CHARTED = 25
TEXTS = 20
STATES = {"missed": Tag("missed"), "gap": Tag("gap in the pool")}


@dataclass(frozen=True)
class TargetCoverage:
    """How near a selection comes to the target examples; `spots` are these, the farthest first.

    Columns of spots: target_id, row_id, similarity, kept_id, kept_similarity, state (near, missed or
    gap: the pool has no row within the limit either). No limit where all target examples are the same.
    """

    spots: pl.DataFrame
    limit: float | None

    @property
    def count(self) -> int:
        """Return the number of target examples."""
        return self.spots.height

    @property
    def missed(self) -> int:
        """Return how many examples the pool has a near row for, and the selection none."""
        return self.spots.filter(state="missed").height

    @property
    def gaps(self) -> int:
        """Return how many examples no kept row is near to."""
        return self.spots.filter(state="gap").height

    @property
    def thin(self) -> pl.DataFrame:
        """Return the examples that are farther from the selection than the limit."""
        return self.spots.filter(pl.col("state").is_in(["missed", "gap"]))


def target_coverage(run: RunTables, name: str) -> TargetCoverage | None:
    """Return how near a selection, by its name, comes to the target; None without a target."""
    if not run.has(TABLE):
        return None
    spots = run.table(TABLE).filter(pl.col("name") == name).collect()
    return TargetCoverage(spots.sort("similarity", "target_id"), spots["limit"][0])


def coverage_section(run: RunTables, name: str, embedder: str) -> Section | None:
    """Return what the report says of the run's own selection and the target.

    Args:
        run: the finished run.
        name: the selection's.
        embedder: the model by whose embeddings nearness is measured.
    """
    coverage = target_coverage(run, name)
    if coverage is None:
        return None
    blocks: list[Block] = [Columns(((_figure(coverage),), tuple(_text(coverage, embedder))))]
    thin = coverage.thin
    if thin.height:
        blocks.append(Heading("Thin spots"))
        if thin.height > TEXTS:
            blocks.append(paragraph(f"The {TEXTS} farthest of {number(thin.height)}."))
        blocks.append(RowList(tuple(_spot(*line) for line in _lines(thin.head(TEXTS)))))
    return Section(
        ANCHOR,
        "Target coverage",
        (*blocks, _table(coverage), *set_blocks(run, name), *nearness_blocks(run)),
    )


def _figure(coverage: TargetCoverage) -> Figure:
    pairs = tuple(
        Dumbbell(target.rsplit("/", 1)[-1], near_all, near)
        for target, _, near, _, near_all, _ in _lines(coverage.spots.head(CHARTED))
    )
    described = f"from {similarity(pairs[0].selected)} for {pairs[0].name} up"
    thin = coverage.thin.height
    words = f"Nearest selected row to each target example: {described}; {thin} are thin."
    caption = "; where one dot shows, they are the same."
    if coverage.limit is not None:
        caption += f" Dashed: the limit, {similarity(coverage.limit)}."
    if coverage.count > CHARTED:
        caption += f" The {CHARTED} farthest of {number(coverage.count)} target examples."
    chart = Dumbbells(pairs, words, "similarity", coverage.limit)
    keys = (("control", "nearest of all kept rows"), ("accent", "nearest selected row"))
    return Figure(chart, paragraph(caption), keys=keys)


def _text(coverage: TargetCoverage, embedder: str) -> list[Paragraph]:
    mean, best = (
        similarity(coverage.spots[column].mean())  # type: ignore[arg-type]
        for column in ("similarity", "kept_similarity")
    )
    yardstick = paragraph(
        "How similar the nearest row is to each target example: the cosine of their ",
        Quote(embedder),
        " embeddings, which is one yardstick for every method, whatever it ranks by. On average the "
        f"selection comes as near as {mean}; all kept rows together would come as near as {best}.",
    )
    if coverage.limit is None:
        same = "All target examples are one and the same, so nothing says what is near."
        return [yardstick, paragraph(same)]
    thin = paragraph(
        f"An example is thin if no selected row is as similar to it as {similarity(coverage.limit)}, "
        "which all but a tenth of the target examples reach with another target example. It was missed "
        "if the pool has a row within this limit; else it is a gap in the pool, which only new rows can "
        "fill."
    )
    return [yardstick, thin, paragraph(Strong(_verdict(coverage)))]


def _verdict(coverage: TargetCoverage) -> str:
    thin, missed, gaps = coverage.thin.height, coverage.missed, coverage.gaps
    if not thin:
        return f"None of the {number(coverage.count)} target examples is thin."
    every = "all " if thin > 1 else ""
    if not gaps:
        why = f"{every}missed by the selection"
    elif not missed:
        why = f"{every}for want of rows in the pool"
    else:
        why = (
            f"{number(missed)} missed by the selection, {number(gaps)} for want of rows in the pool"
        )
    are = "is" if thin == 1 else "are"
    return f"{number(thin)} of {number(coverage.count)} target examples {are} thin: {why}."


def _lines(spots: pl.DataFrame) -> list[tuple[str, str, float, str, float, str | None]]:
    columns = ("target_id", "row_id", "similarity", "kept_id", "kept_similarity", "state")
    return spots.select(columns).rows()


def _spot(target: str, _: str, near: float, kept: str, near_all: float, state: str | None) -> Item:
    missed = state == "missed"
    facts: list[Inline] = [f"pool: {similarity(near_all, fixed=True)}"] if missed else []
    title = "Nearest row, not selected" if missed else "Nearest row of the pool"
    parts = RowPart(target, "Target example"), RowPart(kept, title)
    return Item(parts, similarity(near, fixed=True), (*facts, STATES[state or "gap"]))


def _table(coverage: TargetCoverage) -> Details:
    spots = coverage.spots.head(MOST_SPOTS)
    lines: tuple[tuple[Cell, ...], ...] = tuple(
        (
            RowId(target), similarity(near, fixed=True), RowId(row), similarity(near_all, fixed=True),
            Quiet("the same") if kept == row else RowId(kept), STATES.get(state or "", ""),
        )
        for target, row, near, kept, near_all, state in _lines(spots)
    )  # fmt: skip
    columns = (
        "Target example", "#Selected", "Nearest selected row", "#Pool", "Nearest of all kept rows",
        "State",
    )  # fmt: skip
    which = f"the {spots.height} farthest of" if coverage.count > spots.height else "all"
    summary = f"Table of {which} {number(coverage.count)} target examples"
    return Details(summary, (DataTable(columns, lines, style="texts"),))
