"""Rows that the page holds as data, which its script searches, filters and sorts.

All dropped and selected rows and the next in rank, while they fit; else a sample. Every group of rows of
one fate, stage, reason and source takes its turn, in an order drawn by seed, while there is room: of
rare reasons all rows are there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import polars as pl

from curate.core.escape import visible
from curate.runs.folder import RunFolder
from curate.runs.rowquery import prompts_and_responses

# Shorter lines than these would make rows of: what fits is never more.
MOST_ROWS = 80_000
TEXTS = ("prompt", "response")
GROUP = ("fate", "stage", "reason", "source")
# A list of more is no list to choose from.
MOST_LABELS = 500
SEED = 0x5EED
TITLES = {
    "row_id": "Row", "source": "Source", "origin": "Origin", "fate": "Fate", "stage": "Stage",
    "reason": "Reason", "score": "Score", "rank": "Rank", "duplicate_of": "Duplicate of",
    "prompt": "user", "response": "assistant",
}  # fmt: skip
FATES = ("dropped", "selected", "not_selected")
LABELS = ("source", "origin", "fate", "stage", "reason")
COMMAND = "curate rows RUN"


@dataclass(frozen=True)
class RowLimits:
    """How much a page holds: bytes of JSON, rows next in rank, characters of prompt and response."""

    most_bytes: int = 10 * 10**6
    following: int = 1_000
    prompt: int = 160
    response: int = 100

    def chars(self, column: str) -> int:
        """Return how many characters of a text there are at most."""
        return self.prompt if column == "prompt" else self.response


REPORT_LIMITS = RowLimits()


@dataclass(frozen=True)
class FateCount:
    """How many rows of a fate the page holds, and how many there are."""

    fate: str
    held: int
    rows: int


@dataclass(frozen=True)
class EmbeddedRows:
    """Rows as JSON for the page's script, which is told of in templates/rows_table.js.

    origins: whether the script can filter by them.
    """

    data: str
    counts: tuple[FateCount, ...]
    origins: bool

    @property
    def whole(self) -> bool:
        """Return whether every dropped and every selected row is there."""
        return all(one.held == one.rows for one in self.counts if one.fate != "not_selected")


def gather_embedded_rows(run: RunFolder, limits: RowLimits = REPORT_LIMITS) -> EmbeddedRows:
    """Return the rows of a run that its page holds."""
    fates = run.table("ledger").group_by("fate").len().collect()
    places = _in_turns(_candidates(run, limits)).head(MOST_ROWS).select("place")
    rows = _with_texts(run, _lines(run, places), limits)
    data = _json(rows, limits)
    while len(data) > limits.most_bytes:
        rows = rows.head(int(0.98 * rows.height * limits.most_bytes / len(data)))
        data = _json(rows, limits)
    held = dict(rows.group_by("fate").len().iter_rows())
    counts = [FateCount(fate, held.get(fate, 0), n) for fate, n in fates.iter_rows()]
    counts.sort(key=lambda one: FATES.index(one.fate))
    return EmbeddedRows(data, tuple(counts), rows["origin"].n_unique() <= MOST_LABELS)


def _candidates(run: RunFolder, limits: RowLimits) -> pl.DataFrame:
    """Return the places in the ledger of the rows that the page would hold, and their groups.

    These columns alone: of all rows of a pool there is no room for more.
    """
    ledger = run.table("ledger").with_row_index("place").select("place", "rank", *GROUP)
    following = ledger.filter(fate="not_selected").select("place", "rank")
    last = following.bottom_k(limits.following, by="rank").select("place").collect()["place"]
    following_or_judged = pl.col("place").is_in(last.implode()) | (pl.col("fate") != "not_selected")
    named = pl.col(GROUP).cast(pl.Categorical)
    return ledger.drop("rank").filter(following_or_judged).with_columns(named).collect()


def _in_turns(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows in an order whose every beginning is a sample: groups take turns."""
    drawn = np.random.default_rng(SEED).permutation(rows.height)
    numbered = rows.sort("place").with_columns(drawn=drawn)
    turn = pl.int_range(pl.len()).over(GROUP, order_by="drawn")
    return numbered.with_columns(turn=turn).sort("turn", "drawn").drop("turn", "drawn")


def _lines(run: RunFolder, places: pl.DataFrame) -> pl.DataFrame:
    """Return what the ledger says of the rows at some places, in their order."""
    names = [name for name in TITLES if name not in TEXTS]
    ledger = run.table("ledger").select(names).with_row_index("place")
    lines = ledger.filter(pl.col("place").is_in(places["place"].implode())).collect()
    return places.join(lines, on="place", how="left", maintain_order="left")


def _with_texts(run: RunFolder, rows: pl.DataFrame, limits: RowLimits) -> pl.DataFrame:
    """Return rows with the beginnings of their texts, null where these are nowhere."""
    tables = [table for table in (run.rows("pool"), run.table("selected")) if table is not None]
    # A join would read the texts of all rows first.
    listed = pl.col("row_id").is_in(rows["row_id"].implode())
    texts = pl.concat(
        prompts_and_responses(table.select("row_id", "messages").filter(listed)) for table in tables
    ).unique("row_id")
    heads = (
        pl.col(name).str.slice(0, 4 * chars).str.replace_all(r"\s+", " ").str.slice(0, chars + 1)
        for name, chars in ((name, limits.chars(name)) for name in TEXTS)
    )
    return rows.join(
        texts.select("row_id", *heads).collect(), on="row_id", how="left", maintain_order="left"
    )


def _json(rows: pl.DataFrame, limits: RowLimits) -> str:
    """Return rows, in the order of the pool, as JSON that may stand within a script element."""
    ordered = rows.sort("place")
    columns = [
        {"key": name, "title": title, **_column(ordered[name], limits)}
        for name, title in TITLES.items()
    ]
    data = orjson.dumps({"title": "Rows", "columns": columns, "command": COMMAND}).decode()
    # No tag or comment can end or open there; the two others end a line of script to old readers.
    return data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _column(column: pl.Series, limits: RowLimits) -> dict[str, Any]:
    """Return the kind of a column and its values as the script takes them."""
    if column.dtype.is_float():
        return {"kind": "number", "values": column.round_sig_figs(4).to_list()}
    if column.dtype.is_integer():
        return {"kind": "number", "values": column.to_list()}
    if column.name in TEXTS:
        return {"kind": "text", "values": list(_heads(column, limits.chars(column.name)))}
    if column.name not in LABELS or column.n_unique() > MOST_LABELS:
        return {"kind": "id", "values": [text and visible(text) for text in column]}
    labels = column.drop_nulls().unique().sort().to_list()
    places = {label: place for place, label in enumerate(labels)}
    values = [places.get(label) for label in column]
    return {"kind": "label", "labels": [visible(label) for label in labels], "values": values}


def _heads(column: pl.Series, chars: int) -> Iterator[str | None]:
    for text in column:
        yield text and visible(text if len(text) <= chars else f"{text[:chars]}…")
