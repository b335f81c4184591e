"""The console of stderr, one for bars and log lines."""

from functools import cache
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console() -> "Console":
    """Return the console of stderr; one, so that bars and log lines do not overwrite each other."""
    return Console(stderr=True)
