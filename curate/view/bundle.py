"""A static copy of a run to share: opened from a folder, without a server, a network or the run.

shared/index.html      verdict, funnel, recipe, rows, map: one page that fetches nothing
shared/map.parquet     the points of the map with scores and texts, for Embedding Atlas
shared/bundle.json     what the folder is, so that it can be written anew
"""

from collections.abc import Mapping
from pathlib import Path

import orjson

from curate.core.errors import UserError
from curate.core.versions import library_versions
from curate.runs.folder import RunFolder
from curate.view.atlas import atlas_bytes
from curate.view.bundlepage import gather_bundle, render_bundle

PAGE, POINTS, RECORD = "index.html", "map.parquet", "bundle.json"


def write_bundle(run: RunFolder, folder: Path) -> list[Path]:
    """Write a bundle of a run, in place of one that is there; return its files, the page first.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    _check(folder)
    content = gather_bundle(run)
    record = {"bundle": run.manifest["name"], "versions": {"curate": library_versions()["curate"]}}
    files = {
        RECORD: orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n",
        PAGE: render_bundle(content).encode("utf-8", "backslashreplace"),
        **({POINTS: atlas_bytes(run, content.row_map)} if content.row_map else {}),
    }
    _write(folder, files)
    return [folder / name for name in (PAGE, POINTS) if name in files]


def _check(folder: Path) -> None:
    """Refuse a folder that is no bundle.

    Raises:
        UserError: it is none.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"--bundle {folder}: that is a file; give a folder, new or empty")
    if any(folder.iterdir()) and not _is_bundle(folder):
        raise UserError(
            f"--bundle {folder}: the folder holds files that are no bundle of curate; give another one"
        )


def _is_bundle(folder: Path) -> bool:
    try:
        return "bundle" in orjson.loads((folder / RECORD).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return False


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files in place of those of an earlier bundle, each of them whole or not at all.

    The record comes first: a folder that something has interrupted can be written again.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            temporary = folder / f".{name}.new"
            temporary.write_bytes(data)
            temporary.replace(folder / name)
        for name in {PAGE, POINTS} - set(files):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"--bundle {folder}: {error.strerror or error}") from error
