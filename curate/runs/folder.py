"""A finished run's folder, opened for reading."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import orjson
import polars as pl
from polars.exceptions import ColumnNotFoundError, ComputeError, SchemaError
from pydantic import ValidationError

from curate.config.recipe import Config, recipe_model
from curate.core.bucket import is_cloud, local_folder, open_store
from curate.core.errors import UserError
from curate.core.preferences import RejectedAnswer, rejected_answer
from curate.core.rows import Message
from curate.core.selector import Selector
from curate.core.tables import scan_table, with_current_names
from curate.core.turntext import plain_messages
from curate.selectors.parts import read_select

MANIFEST = "manifest.json"
# Stands for the manifest while a run folder is brought up to date file by file.
OLD_MANIFEST = ".manifest.curate-old.json"
OWN_KEYS = {"name": str, "config": dict, "artifacts": dict, "stages": list, "store": str}
# What runs wrote before their manifests listed their files.
OLD_FILES = ("ledger.parquet", "selected.parquet", "rejects.parquet", "proof.json")
OLD_FOLDERS = ("evidence", "export", "generated", "report")
READS = 5
# Of a file's name on common file systems.
LONGEST_NAME = 255
T = TypeVar("T")


@dataclass(frozen=True)
class RunFolder:
    """A run folder and the store behind it."""

    path: Path
    manifest: dict[str, Any]

    @cached_property
    def config(self) -> Config:
        """Return the recipe as resolved.

        Raises:
            UserError: it is no sound recipe; a run folder may have been sent by anyone.
        """
        try:
            # Not by Config, which would import the plugins that are named there.
            return recipe_model().model_validate(self.manifest["config"])
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(str(part) for part in ("config", *fault["loc"]))
            problem = fault["msg"].removeprefix("Value error, ")
            raise UserError(f"{self.path / MANIFEST}: {place}: {problem}{self._hint}") from error

    @property
    def _hint(self) -> str:
        """Return what to do where a run's methods may be those of plugins."""
        plugins = self.manifest["config"].get("plugins")
        if not isinstance(plugins, list) or not plugins:
            return ""
        options = " ".join(f"--plugin {path}" for path in plugins)
        return (
            f" (the run was made with methods of its own, which are not imported from a folder that may "
            f"come from anyone: give them, `curate {options} ...`)"
        )

    @cached_property
    def select(self) -> Selector:
        """Return what the run's own selection was made by: the recipe's method, or a race's winner.

        Raises:
            UserError: the manifest names no sound method.
        """
        if "race" not in self.manifest:
            own = self.config.select
            assert isinstance(own, Selector), "a run that has no race in its manifest held none"
            return own
        try:
            return read_select(self.own_select)
        except (AttributeError, ValueError) as error:
            raise UserError(f"{self.path / MANIFEST}: race.select: {error}") from error

    @property
    def own_select(self) -> dict[str, Any]:
        """Return `select` as the manifest has it, unchecked."""
        select: dict[str, Any] = self.manifest.get("race", self.manifest["config"])["select"]
        return select

    def table(self, name: str) -> pl.LazyFrame:
        """Return one of the run's tables, e.g. "ledger" or "evidence/exact".

        Raises:
            UserError: the run has no such table.
        """
        path = inside(self.path, f"{name}.parquet")
        if not path.is_file():
            raise UserError(f"{path} is missing; run `curate run` again to rebuild the run folder")
        return with_current_names(scan_table(path))

    def is_current(self) -> bool:
        """Return whether the folder still holds the run that was opened."""
        try:
            return bool(orjson.loads((self.path / MANIFEST).read_bytes()) == self.manifest)
        except (OSError, orjson.JSONDecodeError):
            return False

    def has(self, name: str) -> bool:
        """Return whether the run has a table."""
        return inside(self.path, f"{name}.parquet").is_file()

    def rows(self, role: str) -> pl.LazyFrame | None:
        """Return the rows of the run's pool, target, eval or protected sets, None if there are none."""
        files = self.row_files(role)
        return scan_table(files) if files else None

    def row_files(self, role: str) -> list[Path]:
        """Return the files of these rows, in their order."""
        name, store = self.manifest["artifacts"].get(role), self.manifest["store"]
        folder = inside(local_folder(store), str(name), follow_links=True)
        if name and not folder.is_dir() and is_cloud(store):
            open_store(store).fetch(name)
        # A single file, or those of its parts.
        files = [*folder.glob("rows.parquet"), *sorted(folder.glob("rows/*.parquet"))]
        return files if name else []

    def messages(self, role: str, row_id: str) -> list[Message] | None:
        """Return the turns of one row of the pool or an example set, None if there is none."""
        rows = self.rows(role)
        if rows is None:
            return None
        turns = rows.filter(pl.col("row_id") == row_id).select("messages").collect()
        return plain_messages(turns["messages"][0]) if turns.height else None

    def rejected(self, row_id: str) -> RejectedAnswer:
        """Return the rejected answer of a row of the pool, without turns if it is no pair."""
        rows = self.rows("pool")
        if rows is None or "rejected" not in rows.collect_schema():
            return RejectedAnswer()
        row = rows.filter(pl.col("row_id") == row_id).collect()
        columns = row.select("messages", "rejected", "meta")
        return rejected_answer(*columns.row(0)) if row.height else RejectedAnswer()


def inside(folder: Path, name: str, *, follow_links: bool = False) -> Path:
    """Return a path below a folder; names come from the manifest of a run that anyone may have sent.

    Args:
        folder: the folder.
        name: of a file in it.
        follow_links: whether links may lead out of it, as those of the reader's own store may.

    Raises:
        UserError: the name or a symbolic link on the way leads out of the folder, or is too long.
    """
    path = folder / name
    if not _is_short(name):
        raise UserError(
            f"{path}: no file has a name of more than {LONGEST_NAME} bytes: this run folder is damaged "
            "or made to deceive; get it anew, or run `curate run` again"
        )
    stays = _is_below(name) and (follow_links or not _has_links(folder, name))
    if not stays and not follow_links:
        stays = path.resolve().is_relative_to(folder.resolve())
    if not stays:
        raise UserError(
            f"{path} lies outside of {folder}: this run folder is damaged or made to deceive; get it "
            "anew, or run `curate run` again"
        )
    return path


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a run folder, None if there is none or it is not that of a run."""
    for name in (MANIFEST, OLD_MANIFEST):
        try:
            manifest: dict[str, Any] = orjson.loads((folder / name).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            continue
        if all(_holds(manifest, key, kind) for key, kind in OWN_KEYS.items()):
            return manifest
    return None


def listed_files(folder: Path) -> list[str]:
    """Return the paths, relative to a run folder, of the files that its run wrote and that exist."""
    manifest = read_manifest(folder)
    if manifest is None:
        return []
    names = manifest.get("files")
    if not isinstance(names, list):
        names = [*OLD_FILES]
        for top in OLD_FOLDERS:
            if not (folder / top).is_symlink():
                paths = sorted((folder / top).rglob("*"))
                names += [p.relative_to(folder).as_posix() for p in paths if not p.is_dir()]
    below = dict.fromkeys(
        name for name in [*names, MANIFEST] if _is_below(name) and _is_short(name)
    )
    return [name for name in below if _is_own_file(folder, name)]


def _is_below(name: Any) -> bool:
    """Return whether a listed name stays inside the folder: a received manifest may say anything."""
    if not isinstance(name, str) or not name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _is_short(name: str) -> bool:
    """Return whether each part of a name can be that of a file."""
    return all(len(part.encode()) <= LONGEST_NAME for part in PurePosixPath(name).parts)


def _has_links(folder: Path, name: str) -> bool:
    """Return whether one of the parts of a name is a symbolic link, which takes a look at each alone."""
    parts = PurePosixPath(name).parts
    return any(folder.joinpath(*parts[: i + 1]).is_symlink() for i in range(len(parts)))


def _is_own_file(folder: Path, name: str) -> bool:
    """Return whether a file stands there, with no symbolic link on the way to it."""
    path = folder / name
    links = [
        parent for parent in path.parents if parent.is_relative_to(folder) and parent != folder
    ]
    return path.is_file() and not any(parent.is_symlink() for parent in links)


def read_run(path: Path, read: Callable[[RunFolder], T]) -> T:
    """Return what `read` makes of a run, all of it from one state of the folder.

    Where a run replaces the folder in the meantime, it is read anew.

    Raises:
        UserError: the folder is no finished run, or it is replaced faster than it can be read.
    """
    for _ in range(READS):
        run = open_run(path)
        try:
            with damage_explained(path):
                result = read(run)
        except Exception:
            if run.is_current():
                raise
            continue
        if run.is_current():
            return result
    raise UserError(f"{path} was replaced by other runs while it was read; run the command again")


def open_run(path: Path) -> RunFolder:
    """Return a finished run.

    Raises:
        UserError: the folder is no finished run.
    """
    try:
        manifest = orjson.loads((path / MANIFEST).read_bytes())
    except OSError as error:
        raise UserError(
            f"{path} is no finished run: it has no manifest.json; "
            "give the folder that `curate run` printed, e.g. runs/quickstart"
        ) from error
    except orjson.JSONDecodeError as error:
        raise UserError(
            f"{path / MANIFEST}:{error.lineno}: broken JSON; run `curate run` again to rebuild it"
        ) from error
    faults = [key for key, kind in OWN_KEYS.items() if not _holds(manifest, key, kind)]
    if faults:
        raise UserError(
            f"{path / MANIFEST} is no manifest of a run: {faults[0]!r} is missing or of another kind; "
            "run `curate run` again to rebuild the folder"
        )
    return RunFolder(path, manifest)


def _holds(manifest: Any, key: str, kind: type) -> bool:
    return isinstance(manifest, dict) and isinstance(manifest.get(key), kind)


@contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """Turn what a damaged table or file of a run folder raises into one sentence.

    Raises:
        UserError: in its place.
    """
    try:
        yield
    except (ComputeError, ColumnNotFoundError, SchemaError, orjson.JSONDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: a file of this run is damaged, or of another version ({reason}); run `curate run` "
            "again to rebuild the folder"
        ) from error
