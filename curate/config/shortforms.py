"""Short forms of a recipe's parts, written out: a bare name is a method without settings."""

from typing import Any

from curate.core.stage import with_method
from curate.pool.settings import as_list


def as_stages(value: Any) -> Any:
    """Return stages with each bare name written out: exact is {method: exact}."""
    if not isinstance(value, list):
        return value
    return [{"method": entry} if isinstance(entry, str) else with_method(entry) for entry in value]


def as_trackers(value: Any) -> Any:
    """Return trackers with a bare name written out, also where one stands alone."""
    return as_stages(as_list(value))


def as_select(value: Any) -> Any:
    """Return a selection with a bare method written out: random is {method: random}."""
    return {"method": value} if isinstance(value, str) else value
