"""What the report says of selections as sets: likeness to the target, and diversity, beside draws."""

from collections.abc import Iterator

import polars as pl

from curate.core.numerals import number, significant
from curate.core.runrecord import RunTables
from curate.core.section import Block, DataTable, Heading, Strong, note, paragraph

TABLE = "evidence/set_measures"
DRAWS = "Random draws"


def set_blocks(run: RunTables, own: str) -> Iterator[Block]:
    """Yield the blocks on selections as sets; nothing where a run has not stored them.

    Args:
        run: the finished run.
        own: the name of its own selection.
    """
    if not run.has(TABLE):
        return
    table = run.table(TABLE).collect()
    draws, selections = (
        table.filter(pl.col("draw").is_not_null() == drawn) for drawn in (True, False)
    )
    selected = selections.filter(name=own)
    if not selected.height or not draws.height:
        return
    yield Heading("As a set: like the target, and diverse")
    yield paragraph(Strong(" ".join(_sentences(selected, draws))))
    yield _table(selections, draws, own)
    yield note(
        "Distance to the target: the squared maximum mean discrepancy of embeddings, by a Gaussian "
        "kernel as wide as the median distance; 0 where the rows are spread like the target examples, "
        "below it by chance alone. Vendi score: how many rows that have nothing in common would be as "
        "diverse; larger sets have larger ones, and none has more than the embedder has dimensions. "
        f"Neither says what a set trains. Of random draws one in {draws.height + 1} lies below all of "
        "these by chance, and one above." + _sampled(table)
    )


def _sampled(table: pl.DataFrame) -> str:
    read, rows = table["read"].max(), table["rows"].max()
    assert isinstance(read, int)
    assert isinstance(rows, int)
    return f" Of a set, {number(read)} rows drawn at random are read." if rows > read else ""


def _sentences(selected: pl.DataFrame, draws: pl.DataFrame) -> Iterator[str]:
    """Yield where the selection lies among random draws, by either measure."""
    among = f"than each of {draws.height} random draws of as many rows"
    distance = _place(selected, draws, "discrepancy")
    if distance is not None:
        words = {
            -1: f"The selection lies nearer to the target {among}.",
            0: f"The selection lies as far from the target as {draws.height} random draws do.",
            1: f"The selection lies farther from the target {among}.",
        }
        yield words[distance]
    diversity = _place(selected, draws, "vendi")
    if diversity is not None:
        subject = "The selection" if distance is None else "It"
        them = among if distance is None else "than each of them"
        words = {
            -1: f"{subject} is less diverse {them}.",
            0: f"{subject} is as diverse as random draws are.",
            1: f"{subject} is more diverse {them}.",
        }
        yield words[diversity]


def _place(selected: pl.DataFrame, draws: pl.DataFrame, column: str) -> int | None:
    """Return -1 below all draws, 1 above all, 0 among them; None where it was not measured."""
    value, drawn = selected[column][0], draws[column].drop_nulls().to_list()
    if value is None or not drawn:
        return None
    return -1 if value < min(drawn) else 1 if value > max(drawn) else 0


def _table(selections: pl.DataFrame, draws: pl.DataFrame, own: str) -> DataTable:
    columns = ("name", "rows", "discrepancy", "vendi")
    lines = [
        (name, number(rows), significant(distance), significant(vendi))
        for name, rows, distance, vendi in selections.select(columns).rows()
    ]
    lines.append(
        (DRAWS, number(draws["rows"][0]), _range(draws["discrepancy"]), _range(draws["vendi"]))
    )
    names = selections["name"].to_list()
    titles = ("Selection", "#Rows", "#Distance to the target", "#Vendi score")
    return DataTable(titles, tuple(lines), frozenset({names.index(own)}))


def _range(values: pl.Series) -> str:
    """Return the lowest and the highest of some values."""
    measured = values.drop_nulls()
    if not len(measured):
        return "–"
    return f"{significant(measured.min())} to {significant(measured.max())}"  # type: ignore[arg-type]
