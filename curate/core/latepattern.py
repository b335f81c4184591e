"""Patterns that are compiled at their first use.

The long ones take regex a hundredth of a second each, and most commands match none of them.
"""

from functools import cached_property
from typing import Any, cast

import regex


class LatePattern:
    """A pattern of regex: what it can do is looked up in the compiled one, and kept."""

    def __init__(self, text: str, flags: int) -> None:
        self._text, self._flags = text, flags

    @cached_property
    def _compiled(self) -> "regex.Pattern[str]":
        return regex.compile(self._text, self._flags)

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of the compiled pattern.

        Raises:
            AttributeError: it has none of this name.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._compiled, name)
        setattr(self, name, value)
        return value


def late_pattern(text: str, flags: int = 0) -> "regex.Pattern[str]":
    """Return a pattern for a constant of a module; its mistakes are seen when it is used first."""
    return cast("regex.Pattern[str]", LatePattern(text, flags))
