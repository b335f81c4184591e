"""The Jinja environment of every page: all values are escaped, hidden characters are visible."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from curate.core.escape import visible


def page_environment(templates: Path, *filters: Callable[..., Any]) -> Environment:
    """Return an environment for a folder of templates.

    Args:
        templates: the folder.
        filters: functions that templates may use, by their names.
    """
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in filters}
    return environment


def _finalize(value: object) -> object:
    """Make hidden characters of everything that a page prints visible."""
    return visible(value) if type(value) is str else value
