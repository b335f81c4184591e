"""The folder of this machine for what runs have in common: CURATE_CACHE, or ~/.cache/curate.

models      language models converted to what transformers loads
stores      what this machine has of the stores in buckets
prefect     Prefect's record of past runs
"""

import os
from pathlib import Path

from curate.core.errors import UserError
from curate.core.writable import make_folder

VARIABLE = "CURATE_CACHE"
SETTING = f"set {VARIABLE} to a folder that can be written"


def cache_root() -> Path:
    """Return the folder, which need not exist.

    Raises:
        UserError: it lies in the home of a user who has none.
    """
    try:
        return Path(os.environ.get(VARIABLE) or "~/.cache/curate").expanduser()
    except RuntimeError as error:
        raise UserError(
            f"this user has no home folder, in which ~/.cache/curate would lie; {SETTING}"
        ) from error


def make_cache_folder(name: str) -> Path:
    """Return a folder in the cache, made if need be.

    Raises:
        UserError: it cannot be made.
    """
    return make_folder(cache_root() / name, SETTING)
