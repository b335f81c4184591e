"""Choose and claim the folder of a run before any work: never one that holds anything but a run.

Without a folder given it is runs/NAME; where that holds a run of another recipe, runs/NAME-2 and so on.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from curate.config.recipe import PLACES, Config, recipe_model
from curate.core.errors import UserError
from curate.core.runlock import FolderLock, locked
from curate.runs.folder import read_manifest
from curate.runs.publish import LEFTOVER

LOG = logging.getLogger("curate")
RUNS = Path("runs")
MAX_KEYS = 3


@contextmanager
def claimed(
    config: Config, out: Path | None, *, overwrite: bool = False
) -> Iterator[tuple[Path, FolderLock]]:
    """Hold the folder that a recipe's run will write, and the lock on it.

    Args:
        config: the recipe.
        out: the folder; runs/NAME or the first free runs/NAME-2, runs/NAME-3 ... if None.
        overwrite: whether the run of another recipe may be replaced.

    Raises:
        UserError: the folder is no place for a run, holds another recipe's, or is being written.
    """
    folder = choose_folder(config, out, overwrite=overwrite)
    with locked(folder) as lock:
        # Another run may have ended here since.
        _check(folder, config, overwrite=overwrite)
        yield folder, lock


def choose_folder(config: Config, out: Path | None, *, overwrite: bool = False) -> Path:
    """Return the folder that a recipe's run will write; see `claimed`."""
    if out is not None:
        _check(out, config, overwrite=overwrite)
        return out
    first = RUNS / config.name
    others = (RUNS / f"{config.name}-{number}" for number in count(2))
    folder = next(f for f in chain([first], others) if not _changes(f, config, overwrite))
    if folder != first:
        keys = _list_keys(changed_keys(first, config))
        LOG.info("%s holds a run of another recipe (%s); this one goes to %s", first, keys, folder)
    return folder


def check_place(folder: Path) -> None:
    """Fail where a folder cannot become a run folder without harm to what is there.

    Raises:
        UserError: it is a link, a file, a folder with other contents, or one above the current one.
    """
    if folder.is_symlink():
        raise UserError(f"{folder} is a symbolic link; give the run a folder of its own with --out")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the run a folder of its own with --out")
    place = folder.resolve()
    if folder.name in ("", "..") or Path.cwd().is_relative_to(place) or Path.home() == place:
        raise UserError(
            f"{str(folder)!r} is a folder to work in, and a run folder is replaced as a whole; give "
            "the run one of its own, e.g. --out runs/mine"
        )
    if folder.is_dir() and read_manifest(folder) is None:
        strange = [path.name for path in folder.iterdir() if not LEFTOVER.fullmatch(path.name)]
        if strange:
            raise UserError(
                f"{folder} is not empty and holds no run (there is {min(strange)!r}); give the run a "
                "folder of its own with --out"
            )


def _check(folder: Path, config: Config, *, overwrite: bool) -> None:
    if changes := _changes(folder, config, overwrite):
        raise UserError(
            f"{folder} holds a run of another recipe (different: {_list_keys(changes)}); give another "
            "--out, or --overwrite to replace it"
        )


def _changes(folder: Path, config: Config, overwrite: bool) -> list[str]:
    """Return the keys that forbid a run to take a place, which must be one for runs."""
    check_place(folder)
    return [] if overwrite else changed_keys(folder, config)


def changed_keys(folder: Path, config: Config) -> list[str]:
    """Return the keys in which a folder's run and a recipe differ; none where there is no run.

    Where results are computed and stored changes none of them.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return []
    old = manifest["config"]
    try:
        # Keys that later versions added have their defaults.
        old = recipe_model().model_validate(old).model_dump(mode="json")
    except ValidationError:
        LOG.debug("%s: its recipe is of another version", folder)
    one, other = flat_settings(old), flat_settings(config.model_dump(mode="json"))
    keys = dict.fromkeys([*other, *one])
    return [k for k in keys if k.partition(".")[0] not in PLACES and one.get(k) != other.get(k)]


def flat_settings(value: Any, key: str = "") -> dict[str, Any]:
    """Return the plain values of nested mappings and lists by their dotted keys."""
    if isinstance(value, Mapping):
        inner = {str(name): part for name, part in value.items()}
    elif isinstance(value, list):
        inner = {str(i): part for i, part in enumerate(value)}
    else:
        return {key: value}
    dot = f"{key}." if key else ""
    return {
        k: v for name, part in inner.items() for k, v in flat_settings(part, f"{dot}{name}").items()
    }


def _list_keys(keys: list[str]) -> str:
    more = f" and {len(keys) - MAX_KEYS} more" if len(keys) > MAX_KEYS else ""
    return ", ".join(keys[:MAX_KEYS]) + more
