"""Rows from wherever they are: files, lists of dicts, frames, data sets of the hub's library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.api.rowfile import write_rows
from curate.api.session import STORE, recipe_of, started_run
from curate.config.loading import validated
from curate.core.errors import UserError
from curate.core.tables import read_table
from curate.core.turntext import without_empty_fields
from curate.pool.settings import FieldMap, RowFile

# What rows can be given as: a path or glob or several, records, a frame of polars or pandas, a table of
# Arrow, a Dataset of `datasets`, or what `read` and the other functions return.
RowSource = Any
# The columns of rows that a notebook shows.
DISPLAYED = ("row_id", "messages", "source", "origin", "meta")


@dataclass(frozen=True)
class Pool:
    """What a recipe names to read rows: files, and the share of records that may make no row."""

    files: tuple[RowFile, ...]
    max_rejected: float | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Return the recipe's part."""
        ingest = {} if self.max_rejected is None else {"max_rejected": self.max_rejected}
        return {"pool": list(self.files), "ingest": ingest}


@dataclass(frozen=True)
class Rows:
    """Rows as they were read, and the records that make none.

    Attributes:
        frame: row_id, messages, source, origin, meta ...
        rejects: file, position, reason, field and the beginning of each rejected record.
        pool: what they are read from.
    """

    frame: pl.DataFrame
    rejects: pl.DataFrame
    pool: Pool

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return f"{self._summary}\n{displayed(self.frame)}"

    def _repr_html_(self) -> str:
        return f"<p>{self._summary}</p>{displayed(self.frame)._repr_html_()}"

    @property
    def _summary(self) -> str:
        return f"{self.frame.height:,} rows, {self.rejects.height:,} rejected"


def displayed(rows: pl.DataFrame) -> pl.DataFrame:
    """Return what a notebook shows of rows."""
    return without_empty_fields(rows.select(DISPLAYED))


def read(
    source: RowSource,
    *,
    fields: FieldMap | dict[str, Any] | None = None,
    template: str | Path | Sequence[str | Path] | None = None,
    labels: Mapping[str, Mapping[Any, str] | Sequence[str]] | None = None,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    max_rejected: float | None = None,
    store: str | Path = STORE,
) -> Rows:
    """Return rows, each record read by the layout that its own fields tell.

    Args:
        source: a path, glob, folder or URL, or several; a data set of the hub ("owner/name"); a list of
            dicts; a frame of polars or pandas; a table of Arrow; a Dataset or IterableDataset.
        fields: names of fields, for records in no known layout: {"prompt": "q", "response": "a"}.
        template: a Jinja file, or several, that write the fields of a record out as prompt ||| response.
        labels: by field, names of its values for the template: {"label": ["negative", "positive"]}.
        split: the split to read, of a data set with several.
        config: the configuration to read, of a data set with several.
        revision: branch, tag or commit of a data set of the hub.
        max_rejected: share of records that may make no row, 0.05 if not given.
        store: folder of stored results.

    Raises:
        UserError: there are no rows in it, or too many records make none.
    """
    templates = [str(path) for path in _paths(template)]
    choice = {"split": split, "config": config, "revision": revision}
    settings = {"fields": fields, "template": templates, "labels": labels, **choice}
    layout = {key: value for key, value in settings.items() if value}
    pool = Pool(pool_of(source, store, layout=layout).files, max_rejected)
    run = started_run(recipe_of(store, **pool.settings))
    return Rows(run.rows.read(), read_table(run.rows.artifact.file("rejects.parquet")), pool)


def pool_of(
    source: RowSource,
    store: str | Path,
    *,
    name: str = "rows",
    layout: dict[str, Any] | None = None,
) -> Pool:
    """Return what a recipe names to read rows.

    Rows of this process are written to a file beside the store, named by what is in it.

    Args:
        source: as of `read`.
        store: folder of stored results.
        name: of the source of rows that come from this process.
        layout: what a pool entry has of fields, templates and labels.
    """
    given = layout or {}
    if isinstance(source, Rows):
        if given:
            raise UserError(
                f"rows that were read already take no {', '.join(given)}; read them anew"
            )
        return source.pool
    if paths := _paths(source):
        return Pool(tuple(_entry(path=str(path), **given) for path in paths))
    path = write_rows(source, Path(store).parent / "inputs")
    return Pool((_entry(path=str(path), source=name, **given),))


def _entry(**settings: Any) -> RowFile:
    return validated(settings, RowFile)


def examples_of(source: RowSource, store: str | Path, name: str) -> list[RowFile]:
    """Return what a recipe names to read examples: files whose source is what they are for."""
    files = pool_of(source, store, name=name).files
    names = [name] if len(files) == 1 else [f"{name}-{i}" for i in range(1, len(files) + 1)]
    return [
        file.model_copy(update={"source": source})
        for file, source in zip(files, names, strict=True)
    ]


def holds_records(source: RowSource) -> bool:
    """Return whether rows are given as the records themselves: not as paths, nor as rows read before."""
    return not isinstance(source, Rows) and not _paths(source)


def record_numbers(row_ids: pl.Series) -> list[int]:
    """Return the numbers, from 0, of the records that rows are of, each once.

    "rows/1f.jsonl:3" and "rows/1f.jsonl:3#2" are both of record 2.
    """
    lines = row_ids.str.extract(r":(\d+)(?:#\d+)?$").cast(pl.Int64)
    return (lines - 1).unique(maintain_order=True).to_list()


def _paths(source: RowSource) -> Sequence[str | Path]:
    """Return the paths that rows are given as; none if they are given otherwise."""
    if isinstance(source, str | Path):
        return [source]
    if isinstance(source, Sequence) and all(isinstance(one, str | Path) for one in source):
        return source
    return []
