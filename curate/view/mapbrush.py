"""What the address of a map asks for: which vectors, which colours, and the area that is brushed.

/map?vectors=79041f78&colour=source&left=-0.2&right=0.1&bottom=0&top=0.3&page=2
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import polars as pl
from starlette.datastructures import QueryParams

COLOURS = ("fate", "source", "origin", "stage")
LIMITS = ("left", "right", "bottom", "top")
PAGE_ROWS = 25


@dataclass(frozen=True)
class MapArea:
    """A rectangle of the map, its edges included."""

    left: float
    right: float
    bottom: float
    top: float

    @property
    def condition(self) -> pl.Expr:
        """Return which points lie inside."""
        return pl.col("x").is_between(self.left, self.right) & pl.col("y").is_between(
            self.bottom, self.top
        )


@dataclass(frozen=True)
class MapQuery:
    """The vectors, colours, area and page of a map; `limits` as they were written."""

    vectors: str = ""
    colour: str = COLOURS[0]
    limits: tuple[tuple[str, str], ...] = ()
    page: int = 1

    @classmethod
    def of(cls, query: QueryParams) -> "MapQuery":
        """Return what the query of an address asks for."""
        colour, page = query.get("colour", ""), query.get("page", "")
        written = ((name, query.get(name, "").strip()) for name in LIMITS)
        return cls(
            query.get("vectors", ""),
            colour if colour in COLOURS else COLOURS[0],
            tuple((name, text) for name, text in written if text),
            max(int(page), 1) if page.isascii() and page.isdigit() and len(page) < 10 else 1,
        )

    @property
    def fault(self) -> str:
        """Return what is wrong with the limits, empty for nothing."""
        wrong = [f"{name}: {text}" for name, text in self.limits if _number(text) is None]
        if wrong:
            return f"{', '.join(wrong)} is no number; write e.g. -0.25, or leave it empty for no limit."
        return ""

    @property
    def area(self) -> MapArea | None:
        """Return the area that is brushed, None for none; a limit that is left out is none."""
        numbers = {name: _number(text) for name, text in self.limits}
        if not numbers or self.fault:
            return None
        left, right, bottom, top = (
            default if (number := numbers.get(name)) is None else number
            for name, default in zip(LIMITS, (-math.inf, math.inf) * 2, strict=True)
        )
        # Whichever corner a brush began at.
        return MapArea(min(left, right), max(left, right), min(bottom, top), max(bottom, top))

    def limit(self, name: str) -> str:
        """Return a limit as it was written."""
        return dict(self.limits).get(name, "")

    def on_page(self, page: int) -> "MapQuery":
        """Return another page of the same rows."""
        return replace(self, page=page)

    def without_area(self) -> "MapQuery":
        """Return the whole map."""
        return replace(self, limits=(), page=1)

    @property
    def query(self) -> str:
        """Return it as the query of an address."""
        return f"?{urlencode([*self._pairs()])}"

    def _pairs(self) -> Iterator[tuple[str, str]]:
        if self.vectors:
            yield "vectors", self.vectors
        yield "colour", self.colour
        yield from self.limits
        if self.page > 1:
            yield "page", str(self.page)


def _number(text: str) -> float | None:
    """Return a finite number, None for what is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
