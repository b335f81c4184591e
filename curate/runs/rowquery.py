"""Rows of a run that meet a condition in SQL: their fates, what stages measured, their texts.

source = 'alpaca' AND stage = 'fuzzy'
fate = 'selected' AND rules.copied AND prompt LIKE '%recipe%'
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl
from polars.exceptions import PolarsError

from curate.core.errors import UserError
from curate.core.preferences import has_pairs, rejected_text
from curate.core.turntext import text_of_turn
from curate.runs.folder import RunFolder

TEXTS = ("prompt", "response")
# A text of preference pairs alone.
REJECTED = "rejected"
QUOTED = re.compile(r"'(?:[^']|'')*'")
LINE = ("row_id", "source", "fate", "stage", "reason", "score", "duplicate_of", "rank")
EXCERPT = 300
COMPARED = "evidence/compare"
# Columns of tables that have a line for each pair of rows.
PAIRED = ("other_id", "eval_id", "target_id")


@dataclass(frozen=True)
class RowQuery:
    """Which rows of a run, and in which order.

    Attributes:
        where: a condition in SQL; all rows if None.
        sort: a column, the largest first behind a minus; the order of the pool if None.
        first: rows that are listed at most.
        text: list prompt and response as well.
    """

    where: str | None = None
    sort: str | None = None
    first: int = 20
    text: bool = False

    def find(self, run: RunFolder) -> tuple[int, pl.DataFrame]:
        """Return how many rows there are, and the first of them.

        Raises:
            UserError: the condition is none, or names no column of the run.
        """
        spoken = f"{self.where or ''} {self.sort or ''}"
        table = _table(run, spoken, texts=self.text)
        columns = table.collect_schema().names()
        try:
            if self.where is not None:
                table = table.filter(pl.sql_expr(quoted_condition(self.where, columns)))
            count = table.select(pl.len()).collect().item()
            if self.sort is not None:
                name = self.sort.removeprefix("-")
                table = table.sort(
                    name, descending=self.sort.startswith("-"), nulls_last=True, maintain_order=True
                )
            return count, table.head(self.first).collect()
        except PolarsError as error:
            raise UserError(explained_condition(str(error), columns)) from error


def _table(run: RunFolder, spoken: str, *, texts: bool) -> pl.LazyFrame:
    """Return the ledger with the columns of evidence and the texts that a condition speaks of."""
    table = run.table("ledger")
    for name, evidence in row_evidence(run).items():
        if f"{name}." in spoken:
            named = evidence.select("row_id", pl.exclude("row_id").name.prefix(f"{name}."))
            table = table.join(named, on="row_id", how="left", maintain_order="left")
    if texts or speaks_of_texts(spoken) or re.search(rf"\b{REJECTED}\b", QUOTED.sub("", spoken)):
        table = table.join(row_texts(run), on="row_id", how="left", maintain_order="left")
    return table


def row_evidence(run: RunFolder) -> dict[str, pl.LazyFrame]:
    """Return the tables of evidence that have one line a row, by what their columns are called by.

    Those of stages, `select` and `tokens`, and the rankings of the compared methods.
    """
    paths = {entry["stage"]: f"evidence/{entry['stage']}" for entry in run.manifest["stages"]}
    for name in sorted(path.stem for path in (run.path / COMPARED).glob("*.parquet")):
        if not name.endswith(("-scores", "-pairs")):
            paths.setdefault(name, f"{COMPARED}/{name}")
    tables = {name: run.table(path) for name, path in paths.items() if run.has(path)}
    return {name: table for name, table in tables.items() if _has_rows(table)}


def _has_rows(table: pl.LazyFrame) -> bool:
    """Return whether a table has one line a row, and not one a pair of rows."""
    names = table.collect_schema().names()
    return names[:1] == ["row_id"] and not set(PAIRED).intersection(names)


def speaks_of_texts(spoken: str) -> bool:
    """Return whether a condition or an order needs prompt or response."""
    return any(re.search(rf"\b{name}\b", spoken) for name in TEXTS)


def row_texts(run: RunFolder) -> pl.LazyFrame:
    """Return the texts of the pool; see prompts_and_responses. Where it has pairs, `rejected` is one.

    Raises:
        UserError: the store of the run has the rows no longer.
    """
    rows = run.rows("pool")
    if rows is None:
        raise lost_texts(run)
    texts = prompts_and_responses(rows)
    if not has_pairs(rows):
        return texts
    rejected = rows.select("row_id", rejected_text().alias(REJECTED))
    return texts.join(rejected, on="row_id", how="left", maintain_order="left")


def lost_texts(run: RunFolder) -> UserError:
    """Return the fault of a run whose store has the rows no longer."""
    return UserError(
        f"{run.path}: the texts of its rows are gone from the store {run.manifest['store']}; "
        "`curate run` makes them again"
    )


def prompts_and_responses(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return row_id, prompt (all user turns) and response (the last turn) of rows."""
    turn = _turn_text(rows)
    turns = pl.col("messages").list.eval(turn)
    roles = pl.col("messages").list.eval(pl.element().struct.field("role"))
    users = pl.col("messages").list.eval(
        pl.when(pl.element().struct.field("role") == "user").then(turn)
    )
    return rows.select(
        "row_id",
        prompt=users.list.drop_nulls().list.join("\n"),
        response=pl.when(roles.list.last() == "assistant").then(turns.list.last()),
    )


def _turn_text(rows: pl.LazyFrame) -> pl.Expr:
    """Return all that a turn says; turns of earlier versions had a content alone."""
    messages = rows.collect_schema()["messages"]
    assert isinstance(messages, pl.List) and isinstance(messages.inner, pl.Struct)
    fields = {field.name for field in messages.inner.fields}
    return text_of_turn() if "tool_calls" in fields else pl.element().struct.field("content")


def quoted_condition(where: str, columns: Sequence[str]) -> str:
    """Return a condition in which the columns of evidence, STAGE.COLUMN, are single names.

    What stands in quotes stays as it is.
    """
    names = sorted((name for name in columns if "." in name), key=len, reverse=True)
    if not names:
        return where
    name = "|".join(map(re.escape, names))
    pattern = rf"""('(?:[^']|'')*'|"(?:[^"]|"")*")|(?<![\w.-])({name})(?![\w.-])"""
    return re.sub(pattern, lambda m: m[1] or f'"{m[2]}"', where)


def explained_condition(message: str, columns: Sequence[str]) -> str:
    """Return what is wrong with a condition, in the first line of what the engine says."""
    first = message.strip().splitlines()[0].partition("; valid columns")[0]
    return (
        f"the rows cannot be found: {first}. A condition is one of SQL, e.g. \"source = 'alpaca' AND "
        f"stage = 'fuzzy'\"; columns here are {', '.join(columns)}; a stage's own are STAGE.COLUMN, and "
        "prompt and response are the texts"
    )


def row_lines(count: int, rows: pl.DataFrame, *, text: bool) -> Iterator[str]:
    """Yield rows for a terminal: what became of each in a line, its texts below.

    Args:
        count: how many rows meet the condition.
        rows: the first of them.
        text: list prompt and response as well.
    """
    for row in rows.iter_rows(named=True):
        yield _line(row)
        if text:
            names = (*TEXTS, REJECTED) if row.get(REJECTED) else TEXTS
            yield from (f"    {name}: {_excerpt(row[name])}" for name in names)
    more = f"; the first {rows.height:,} are listed" if rows.height < count else ""
    yield f"{count:,} row{'' if count == 1 else 's'}{more}"


def _line(row: dict[str, Any]) -> str:
    further = [
        f"{name} {_figure(row[name])}"
        for name in ("score", "rank", "duplicate_of")
        if row[name] is not None
    ]
    further += [
        f"{name} {_figure(row[name])}" for name in row if "." in name and row[name] is not None
    ]
    where = f" by {row['stage']}" if row["fate"] == "dropped" else ""
    reason = f": {row['reason']}" if row["reason"] else ""
    return "  ".join([row["row_id"], f"{row['fate']}{where}{reason}", *further])


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _excerpt(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT - 4]} ..."


def json_lines(rows: pl.DataFrame) -> Iterator[str]:
    """Yield each row as a JSON object."""
    return (orjson.dumps(row).decode() for row in rows.iter_rows(named=True))
