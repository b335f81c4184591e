"""A finished run's folder, opened for reading."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.config import Config
from curate.errors import UserError
from curate.rows import Message


@dataclass(frozen=True)
class RunFolder:
    """A run folder and the store behind it."""

    path: Path
    manifest: dict[str, Any]

    @cached_property
    def config(self) -> Config:
        """Return the recipe as resolved."""
        return Config.model_validate(self.manifest["config"])

    def table(self, name: str) -> pl.LazyFrame:
        """Return one of the run's tables, e.g. "ledger" or "evidence/exact".

        Raises:
            UserError: the run has no such table.
        """
        path = self.path / f"{name}.parquet"
        if not path.is_file():
            raise UserError(f"{path} is missing; run `curate run` again to rebuild the run folder")
        return pl.scan_parquet(path)

    def has(self, name: str) -> bool:
        """Return whether the run has a table."""
        return (self.path / f"{name}.parquet").is_file()

    def rows(self, role: str) -> pl.LazyFrame | None:
        """Return the rows of the run's pool, target, eval or protected sets, None if there are none."""
        name = self.manifest["artifacts"].get(role)
        path = Path(self.manifest["store"]) / str(name) / "rows.parquet"
        return pl.scan_parquet(path) if name and path.is_file() else None

    def messages(self, role: str, row_id: str) -> list[Message] | None:
        """Return the turns of one row of the pool or an example set, None if there is none."""
        rows = self.rows(role)
        if rows is None:
            return None
        found = rows.filter(pl.col("row_id") == row_id).select("messages").collect()
        return found["messages"].to_list()[0] if found.height else None


def open_run(path: Path) -> RunFolder:
    """Return a finished run.

    Raises:
        UserError: the folder is no finished run.
    """
    try:
        manifest = orjson.loads((path / "manifest.json").read_bytes())
    except OSError as error:
        raise UserError(
            f"{path} is no finished run: it has no manifest.json; "
            "give the folder that `curate run` printed, e.g. runs/quickstart"
        ) from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path / 'manifest.json'}:{error.lineno}: broken JSON") from error
    return RunFolder(path, manifest)
