"""The rows that the page shows in full: the best, the just missed, and some that were left out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import polars as pl

from curate.core.rows import Message
from curate.generate.candidates import pair
from curate.generate.outcome import CANDIDATES
from curate.report.texts import RowText, TextView, excerpt, show_row, whole
from curate.runs.folder import RunFolder

MOST_ROWS = 20
RAW_CHARS = 1_000


@dataclass(frozen=True)
class RowView:
    """A row of the pool, target or eval set; `text` is None if the store no longer has it."""

    row_id: str
    place: str
    source: str | None
    origin: str | None
    text: RowText | None


@dataclass(frozen=True)
class RankedRow:
    """A row that was chosen or nearly so, with the target example that it is most similar to."""

    rank: int
    score: float | None
    tokens: int | None
    row: RowView
    nearest: RowView | None


@dataclass(frozen=True)
class DroppedRow:
    """A row that a stage dropped, and what it duplicates or leaks; `shared` are words of a leak."""

    row: RowView
    score: float | None
    threshold: float | None
    duplicate_of: RowView | None
    shared: str | None


@dataclass(frozen=True)
class DropGroup:
    """Some of the `count` rows that a stage dropped for one reason."""

    stage: str
    reason: str
    count: int
    drops: tuple[DroppedRow, ...]


@dataclass(frozen=True)
class RejectedRecord:
    """A record that made no row; `more` is its raw text beyond the excerpt, None if that is all."""

    source: str
    file: str
    position: int
    reason: str
    field: str
    raw: TextView
    more: TextView | None


@dataclass(frozen=True)
class Examples:
    """All rows shown; `lost` names the tables that are no longer in the store."""

    best: tuple[RankedRow, ...]
    missed: tuple[RankedRow, ...]
    drops: tuple[DropGroup, ...]
    rejects: tuple[RejectedRecord, ...]
    reject_count: int
    lost: tuple[str, ...]


def gather_examples(run: RunFolder) -> Examples:
    """Return the rows to show, with the texts of those rows and of the ones they are compared to."""
    ranked = {chosen: _ranking_head(run, chosen=chosen) for chosen in (True, False)}
    ledger = run.table("ledger")
    drops = _spread(ledger.filter(pl.col("fate") == "dropped"), ["stage", "reason"])
    rejects = _spread(run.table("rejects"), ["reason"])
    lines = [*ranked[True], *ranked[False], *drops]
    row_ids = {
        line[k] for line in lines for k in ("row_id", "nearest_id", "duplicate_of") if line.get(k)
    }
    rows = read_rows(run, row_ids)
    return Examples(
        best=tuple(_ranked(line, rows) for line in ranked[True]),
        missed=tuple(_ranked(line, rows) for line in ranked[False]),
        drops=tuple(_drop_groups(run, drops, rows)),
        rejects=tuple(_reject(line) for line in rejects),
        reject_count=int(run.table("rejects").select(pl.len()).collect().item()),
        lost=tuple(
            role for role in ("pool", "prompts", "target", "eval", "protected", "watch")
            if role in run.manifest["artifacts"] and run.rows(role) is None
        ),
    )  # fmt: skip


def _ranking_head(run: RunFolder, *, chosen: bool) -> list[dict[str, Any]]:
    """Return the MOST_ROWS lines of lowest rank among the chosen or the other rows."""
    ranking = run.table("evidence/select")
    others = ranking.filter(pl.col("selected") == chosen).select("rank")
    ranks = others.bottom_k(MOST_ROWS, by="rank").collect()["rank"]
    head = ranking.filter(pl.col("rank").is_in(ranks.implode())).collect()
    facts = run.table("ledger").select("row_id", "source", "origin")
    return (
        head.join(
            facts.filter(pl.col("row_id").is_in(head["row_id"].implode())).collect(),
            on="row_id",
            how="left",
        )
        .sort("rank")
        .to_dicts()
    )


def _spread(table: pl.LazyFrame, by: Sequence[str]) -> list[dict[str, Any]]:
    """Return MOST_ROWS rows, or all if fewer, each with the `size` of its group.

    The groups take turns, in order of appearance, so a rare reason shows up beside a common one. In a
    group, rows are taken at even distances.
    """
    numbered = table.with_row_index("at")
    groups = (
        numbered.group_by(by)
        .agg(pl.col("at").min().alias("first"), pl.len().alias("size"))
        .sort("first")
        .collect()
    )
    if groups.is_empty():
        return []
    quotas = _share_out(groups["size"].to_list(), MOST_ROWS)
    chosen = (
        numbered.select("at", *by)
        .join(
            groups.with_columns(quota=pl.Series(quotas, dtype=pl.Int64)).lazy(),
            on=by,
            nulls_equal=True,
        )
        .with_columns(number=pl.int_range(pl.len()).over(by, order_by="at"))
        .filter(
            # The k-th of q even steps through n rows starts where floor(i * q / n) first is k.
            (pl.col("number") * pl.col("quota") % pl.col("size") < pl.col("quota"))
            & (pl.col("quota") > 0)
        )
        .select("at", "first", "size")
        .sort("first", "at")
        .collect()
    )
    lines = numbered.filter(pl.col("at").is_in(chosen["at"].implode())).collect()
    return chosen.join(lines, on="at", how="left", maintain_order="left").to_dicts()


def _share_out(sizes: Sequence[int], places: int) -> list[int]:
    """Return how many places each group gets when they take turns, none more than it has rows."""
    quotas = [0] * len(sizes)
    while places > 0 and any(q < n for q, n in zip(quotas, sizes, strict=True)):
        for i, size in enumerate(sizes):
            if quotas[i] < size and places > 0:
                quotas[i] += 1
                places -= 1
    return quotas


Rows = Mapping[str, tuple[str, dict[str, Any]]]


def read_rows(run: RunFolder, ids: Iterable[str]) -> Rows:
    """Return place and content of each of these rows that can be found, those of candidates too."""
    # As one value: a filter by a list of Python strings takes polars several times as long to plan.
    row_ids = pl.Series(sorted(ids), dtype=pl.String).implode()
    columns = ["row_id", "messages", "rejected", "source", "origin"]
    rows_by_id = _read_candidates(run, row_ids)
    tables = [
        *(("eval", run.rows(role)) for role in ("protected", "watch")),
        *((r, run.rows(r)) for r in ("eval", "prompts", "target", "pool")),
    ]
    for place, table in [*tables, ("pool", run.table("selected"))]:
        if table is not None:
            own = [name for name in columns if name in table.collect_schema()]
            chosen = table.select(own).filter(pl.col("row_id").is_in(row_ids)).collect()
            rows_by_id |= {row["row_id"]: (place, row) for row in chosen.to_dicts()}
    return rows_by_id


def _read_candidates(run: RunFolder, row_ids: pl.Series) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what models wrote of these rows; kept ones lack their system turn."""
    if not run.has(CANDIDATES):
        return {}
    candidates = run.table(CANDIDATES).filter(pl.col("row_id").is_in(row_ids))
    texts = candidates.select("row_id", "prompt", "response").collect().iter_rows()
    return {
        row_id: ("made", {"messages": pair(prompt, response)}) for row_id, prompt, response in texts
    }


def show_example(row_id: str, rows: Rows, line: Mapping[str, Any], shared: str | None) -> RowView:
    """Return a row to show; what `line` says of it counts before the row's own columns."""
    place, row = rows.get(row_id, ("", {}))
    columns = {**row, **line}
    messages: Sequence[Message] | None = row.get("messages")
    text = show_row(messages, shared, row.get("rejected") or ()) if messages else None
    return RowView(row_id, place, columns.get("source"), columns.get("origin"), text)


def _ranked(line: Mapping[str, Any], rows: Rows) -> RankedRow:
    nearest = line["nearest_id"]
    return RankedRow(
        rank=line["rank"],
        score=line["score"],
        tokens=line["tokens"],
        row=show_example(line["row_id"], rows, line, None),
        nearest=show_example(nearest, rows, {}, None) if nearest else None,
    )


def _drop_groups(
    run: RunFolder, lines: Sequence[Mapping[str, Any]], rows: Rows
) -> Iterator[DropGroup]:
    """Yield the dropped rows by stage, in the order in which the stages ran, and by reason."""
    order = [entry["stage"] for entry in run.manifest["stages"]]
    ordered = sorted(lines, key=lambda line: (order.index(line["stage"]), line["reason"]))
    for (stage, reason), group in groupby(ordered, key=itemgetter("stage", "reason")):
        group_lines = list(group)
        drops = tuple(_drop(line, rows, _shared_words(run, line)) for line in group_lines)
        yield DropGroup(stage, reason, group_lines[0]["size"], drops)


def _drop(line: Mapping[str, Any], rows: Rows, shared: str | None) -> DroppedRow:
    duplicate_of = line["duplicate_of"]
    return DroppedRow(
        row=show_example(line["row_id"], rows, line, shared),
        score=line["score"],
        threshold=line["threshold"],
        duplicate_of=show_example(duplicate_of, rows, {}, shared) if duplicate_of else None,
        shared=shared,
    )


def _shared_words(run: RunFolder, line: Mapping[str, Any]) -> str | None:
    """Return the words that a dropped row shares with the eval example that it leaks."""
    name = f"evidence/{line['stage']}-hits"
    if not line["duplicate_of"] or not run.has(name):
        return None
    is_pair = (pl.col("row_id") == line["row_id"]) & (pl.col("eval_id") == line["duplicate_of"])
    spans = run.table(name).filter(is_pair).select("span").head(1).collect()["span"].to_list()
    return spans[0] if spans else None


def _reject(line: Mapping[str, Any]) -> RejectedRecord:
    raw = excerpt(line["raw"])
    return RejectedRecord(
        source=line["source"],
        file=line["file"],
        position=line["position"],
        reason=line["reason"],
        field=line["field"],
        raw=raw,
        more=None if raw.whole else whole(line["raw"], RAW_CHARS),
    )
