"""What the model knows, in the report: categories of rows, what rows became, and unknown ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.core.numerals import counted, number, percent
from curate.core.runrecord import StageRecord
from curate.core.scored_section import scored_section
from curate.core.section import (
    Block,
    Columns,
    DataTable,
    Heading,
    Item,
    Key,
    Paragraph,
    RowList,
    RowPart,
    Section,
    Strong,
    note,
    paragraph,
)
from curate.judge.section_parts import answers_part, replacement_parts

UNKNOWN, REPLACED = 6, 8
ANSWERS = 2
ROUTES: Mapping[str, str] = {
    "self": "the model's own answer",
    "paraphrase": "the gold answer in the model's words",
    "gold": "stayed: no answer of the model's was right",
    "refusal": "a refusal",
    "sure": "a turn that says it was known",
    "unsure": "a turn that says it was a guess",
}


@dataclass(frozen=True)
class KnowledgeSummary:
    """How many rows have a category, and how many were dropped.

    sizes: category to how many rows it has and how many of them stayed.
    lost: rows that have a short answer and got none that could be compared with it.
    bound: the highest share of right samples that an unknown row may have, None where none is unknown.
    """

    rows: int
    lost: int
    dropped: int
    sizes: Mapping[str, tuple[int, int]]
    bound: float | None
    unknown: tuple[str, ...]

    @property
    def judged(self) -> int:
        """Return how many rows have a category."""
        return sum(size for size, _ in self.sizes.values())


def summarize_knowledge(record: StageRecord) -> KnowledgeSummary:
    """Return the figures of a stage's categories and verdicts."""
    kept = record.evidence().select("row_id", "keep")
    rows = record.table("known").join(kept, on="row_id").collect()
    judged = rows.drop_nulls("category")
    sizes = judged.group_by("category").agg(pl.len(), kept=pl.col("keep").sum())
    unknown = judged.filter(category="unknown").sort("row_id")
    return KnowledgeSummary(
        rows=rows.height,
        lost=int((rows["category"].is_null() & rows["form"].is_not_null()).sum()),
        dropped=int((~rows["keep"]).sum()),
        sizes={name: (size, stayed) for name, size, stayed in sizes.iter_rows()},
        bound=unknown["bound"].max(),  # type: ignore[arg-type]
        unknown=tuple(unknown["row_id"]),
    )


def knowledge_section(
    record: StageRecord,
    questions: tuple[int, int, int],
    caps: Mapping[Any, float],
    categories: Sequence[str],
    *,
    judged: bool = False,
) -> Section | None:
    """Return how much of the rows the model knows, and what the stage made of them.

    Args:
        record: the stage in its run.
        questions: prompts a row, examples in each, and samples of each where no greedy answer is right.
        caps: the largest share of a category among the kept rows.
        categories: their names, what is known best first.
        judged: whether answers that cannot be compared were judged.
    """
    if not (record.has("known") and record.has("answers")):
        return scored_section(record)
    summary = summarize_knowledge(record)
    blocks: list[Block] = [_lead(summary, *questions, judged=judged)]
    if caps:
        blocks.append(_capped(summary.dropped, caps))
    routes = record.table("routes").collect() if record.has("routes") else None
    if routes is not None:
        blocks.append(_routes(routes))
    if summary.judged:
        bound = () if summary.bound is None else (_bound(summary.bound),)
        blocks = [Columns((tuple(blocks), (_categories(summary, categories), *bound)))]
    if routes is not None and (items := tuple(_replacements(routes, record))):
        blocks += [Heading("Replaced rows"), RowList(items)]
    if summary.unknown:
        blocks.append(Heading("Some that are unknown"))
        blocks.append(RowList(tuple(_unknown(record, summary.unknown[:UNKNOWN]))))
    return Section(record.anchor, record.label, tuple(blocks), record.name)


def _lead(
    summary: KnowledgeSummary, sets: int, shots: int, samples: int, *, judged: bool
) -> Paragraph:
    stayed = (
        "a judge compared them with what the model says" if judged else "they stayed as they are"
    )
    lost = f", or got no answer that could be ({number(summary.lost)})" if summary.lost else ""
    return paragraph(
        f"The model answered {number(summary.judged)} of {counted(summary.rows, 'row')} after "
        f"{counted(sets, 'prompt')} of {counted(shots, 'example')} each, and {counted(samples, 'time')} "
        "more a prompt where no greedy answer was right. The others have no short answer that could be "
        f"compared{lost}; {stayed}. Training on what a model does not know teaches it to "
        "make things up (arXiv:2405.05904): where many unknown rows stay, stop training early."
    )


def _categories(summary: KnowledgeSummary, categories: Sequence[str]) -> DataTable:
    sizes = ((name, *summary.sizes.get(name, (0, 0))) for name in categories)
    lines = tuple(
        (_words(name), number(size), percent(size / summary.judged), number(kept))
        for name, size, kept in sizes
    )
    return DataTable(("Category", "#Rows", "#Share", "#Kept"), lines)


def _bound(bound: float) -> Paragraph:
    return note(
        f"Unknown means that no answer was right: at 95 %, fewer than {percent(bound)} of sampled "
        "answers are (rule of three). A wrong response looks unknown too."
    )


def _capped(dropped: int, caps: Mapping[Any, float]) -> Paragraph:
    were = "was" if dropped == 1 else "were"
    gone = f"{counted(dropped, 'row')} {were} dropped" if dropped else "No row had to be dropped"
    limits = " and ".join(
        f"{_words(name)} rows within {percent(cap)}" for name, cap in caps.items()
    )
    return paragraph(Strong(gone), f" to keep {limits} of those with a category.")


def _routes(routes: pl.DataFrame) -> DataTable:
    counts = routes.group_by("route").len().sort("len", "route", descending=[True, False])
    lines = tuple(
        ((ROUTES[route], " ", Key(route)), number(count)) for route, count in counts.iter_rows()
    )
    return DataTable(("What the rows became", "#Rows"), lines)


def _replacements(routes: pl.DataFrame, record: StageRecord) -> Iterator[Item]:
    """Yield rows beside those in their place; routes take turns, so that a rare one comes early."""
    turn = pl.int_range(pl.len()).over("route")
    # A row that is pinned by hand is not replaced.
    dropped = record.evidence().filter(~pl.col("keep")).select("row_id").collect()
    replaced = routes.drop_nulls("new_id").join(dropped, on="row_id", how="semi")
    new = replaced.sort("row_id").with_columns(turn=turn)
    first = new.sort("turn", "route").head(REPLACED).select("row_id", "new_id", "route")
    for row_id, new_id, route in first.iter_rows():
        yield Item(replacement_parts(row_id, new_id, "New row"), facts=(ROUTES[route],))


def _unknown(record: StageRecord, ids: Sequence[str]) -> Iterator[Item]:
    """Yield rows beside what the model answered; the same words after several prompts come once."""
    greedy = record.table("answers").filter(
        pl.col("row_id").is_in(ids), pl.col("sample").is_null(), pl.col("text") != ""
    )
    first = pl.col("text").unique(maintain_order=True).head(ANSWERS)
    texts = greedy.sort("row_id", "set").group_by("row_id", maintain_order=True).agg(first)
    texts_by_row = dict(texts.collect().iter_rows())
    for row_id in ids:
        yield Item((RowPart(row_id, "Row"), *answers_part("model", texts_by_row.get(row_id, ()))))


def _words(name: str) -> str:
    return name.replace("_", " ")
