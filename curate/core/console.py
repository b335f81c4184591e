"""The console of stderr, one for bars and log lines."""

import json
from dataclasses import asdict, is_dataclass
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING

import typer

from curate.core.escape import printable
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    from rich import console as rich_console
else:
    rich_console = lazy_module("rich.console")


@cache
def console() -> "rich_console.Console":
    """Return the console of stderr; one, so that bars and log lines do not overwrite each other."""
    return rich_console.Console(stderr=True)


@cache
def console_lock() -> RLock:
    """Return the lock of that console, for what draws over its last lines or prints above them."""
    return RLock()


def say(*lines: object, err: bool = False) -> None:
    """Print lines to stdout, or to stderr; nothing in them commands a terminal."""
    for line in lines:
        typer.echo(printable(line), err=err)


def say_json(value: object) -> None:
    """Print a value as JSON to stdout, in ASCII: nothing in it commands a terminal."""
    typer.echo(json.dumps(value, indent=2, default=_plain))


def _plain(value: object) -> object:
    """Return what JSON has for a value: an object for a dataclass, else its text."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
