"""The console of stderr, one for bars and log lines."""

from functools import cache
from threading import RLock

import typer
from rich.console import Console

from curate.core.escape import printable


@cache
def console() -> Console:
    """Return the console of stderr; one, so that bars and log lines do not overwrite each other."""
    return Console(stderr=True)


@cache
def console_lock() -> RLock:
    """Return the lock of that console, for what draws over its last lines or prints above them."""
    return RLock()


def say(*lines: object, err: bool = False) -> None:
    """Print lines to stdout, or to stderr; nothing in them commands a terminal."""
    for line in lines:
        typer.echo(printable(line), err=err)
