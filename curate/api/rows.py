"""Rows from wherever they are: files, lists of dicts, frames, data sets of the hub's library."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.api.session import STORE, recipe_of, started_run
from curate.core.errors import UserError
from curate.core.tables import read_table
from curate.core.turntext import without_empty_fields
from curate.pool.settings import FieldMap, RowFile

# What rows can be given as: a path or glob or several, records, a frame of polars or pandas, a table of
# Arrow, a Dataset of `datasets`, or what `read` and the other functions return.
RowSource = Any
# The columns of rows that a notebook shows.
DISPLAYED = ("row_id", "messages", "source", "origin", "meta")
EXAMPLES = "a path, a list of dicts, a frame of polars or pandas, a table of Arrow, or a Dataset"


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
        return source.pool
    if paths := _paths(source):
        return Pool(tuple(RowFile(path=str(path), **given) for path in paths))
    path = _written(source, Path(store).parent / "inputs")
    return Pool((RowFile(path=str(path), source=name, **given),))


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


def _written(source: RowSource, folder: Path) -> Path:
    """Write records or a frame to a file that is named by its content; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    data = b"".join(_json_line(record) for record in _records(source))
    path = folder / f"{hashlib.blake2b(data, digest_size=8).hexdigest()}.jsonl"
    if not path.exists():
        path.write_bytes(data)
    return path


def _json_line(record: dict[str, Any]) -> bytes:
    """Return a record as a line of JSON.

    Raises:
        UserError: there is something in it that JSON has no word for.
    """
    try:
        return orjson.dumps(record, default=_plain_value) + b"\n"
    except orjson.JSONEncodeError as error:
        raise UserError(
            f"a record cannot be written as JSON: {error}; record: {record!r:.200}"
        ) from error


def _plain_value(value: Any) -> Any:
    """Return an array of numpy as a list, a date of pandas or a decimal as text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Decimal | date | Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__}")


def _records(source: RowSource) -> list[dict[str, Any]]:
    """Return records.

    Raises:
        UserError: it is none of what rows can be given as.
    """
    if isinstance(source, Sequence) and all(isinstance(record, Mapping) for record in source):
        return [dict(record) for record in source]
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if isinstance(source, pl.DataFrame):
        return source.to_dicts()
    for method, arguments in (("to_list", ()), ("to_dict", ("records",))):
        # A Dataset of `datasets`, a frame of pandas.
        if hasattr(source, method) and hasattr(source, "columns" if arguments else "features"):
            records: list[dict[str, Any]] = getattr(source, method)(*arguments)
            return records
    if hasattr(source, "__arrow_c_stream__"):
        return pl.DataFrame(source).to_dicts()
    raise UserError(f"rows are given as {EXAMPLES}; this is a {type(source).__name__}")
