"""Which rows of the viewer's table, in which order, as the address of the page says it.

    /rows?fate=dropped&stage=fuzzy&low=fuzzy.score:0.9&text=recipe&sort=-score&page=3

Everything in it is a condition in SQL, the one that `curate rows --where` takes, so that what is seen
in the browser can be had in a terminal.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

PAGE_ROWS = 50
QUOTE = "'"
# What a regular expression of Rust would take for more than a sign.
SPECIAL, REPLACEMENT = r"([\\.+*?()|\[\]{}^$#&~-])", r"\\\1"
# What could be the name of a column, and no more of a condition.
COLUMN = re.compile(r"[^\s'\"();]+")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class ScoreRange:
    """A column between two limits, both included; an empty one is none."""

    column: str
    low: str
    high: str

    @property
    def conditions(self) -> list[str]:
        """Return it in SQL."""
        limits = ((">=", self.low), ("<=", self.high))
        return [f"{self.column} {sign} {limit}" for sign, limit in limits if limit]


@dataclass(frozen=True)
class RowFilter:
    """A filter, an order and a page of the rows.

    Attributes:
        facets: values of columns, any of which will do.
        range: limits of one column of numbers.
        text: words that the prompt or the response holds, in large or small letters.
        where: a condition in SQL.
        sort: a column, the largest first behind a minus; the order of the pool if empty.
        page: from 1 on.
    """

    facets: tuple[tuple[str, tuple[str, ...]], ...] = ()
    range: ScoreRange | None = None
    text: str = ""
    where: str = ""
    sort: str = ""
    page: int = 1

    @classmethod
    def of(cls, query: QueryParams, facets: Sequence[str]) -> "RowFilter":
        """Return what the query of an address asks for; `facets` are the columns that may have some."""
        values = ((name, tuple(dict.fromkeys(query.getlist(name)))) for name in facets)
        column = query.get("column", "")
        limits = (_number(query.get(name, "")) for name in ("low", "high"))
        return cls(
            tuple((name, chosen) for name, chosen in values if chosen),
            ScoreRange(column, *limits) if COLUMN.fullmatch(column) else None,
            query.get("text", "").strip(),
            query.get("where", "").strip(),
            query.get("sort", ""),
            page_number(query.get("page", "")),
        )

    @property
    def parts(self) -> dict[str, str]:
        """Return its conditions in SQL by what they are about; all of them hold for a row."""
        parts = {name: _any_of(name, values) for name, values in self.facets}
        if self.range and self.range.conditions:
            parts["range"] = " AND ".join(self.range.conditions)
        if self.text:
            parts["text"] = text_condition(self.text)
        if self.where:
            parts["where"] = f"({self.where})"
        return parts

    @property
    def condition(self) -> str:
        """Return all of it as one condition, empty for all rows."""
        return " AND ".join(self.parts.values())

    def command(self, run: object) -> str:
        """Return the command that lists the same rows in a terminal."""
        words = ["curate", "rows", shell_word(str(run))]
        if self.condition:
            words += ["--where", shell_word(self.condition)]
        if self.sort:
            # With =, as a minus would begin an option.
            words += [shell_word(f"--sort={self.sort}")]
        return " ".join(words)

    def values(self, facet: str) -> tuple[str, ...]:
        """Return the values of a facet."""
        return dict(self.facets).get(facet, ())

    def toggled(self, facet: str, value: str) -> "RowFilter":
        """Return the filter with or without a value of a facet, from its first page."""
        values = self.values(facet)
        others = tuple(one for one in values if one != value)
        chosen = others if value in values else (*values, value)
        facets = {**dict(self.facets), facet: chosen}
        return replace(self, facets=tuple((k, v) for k, v in facets.items() if v), page=1)

    def without(self, part: str) -> "RowFilter":
        """Return the filter without what one of its parts asks for."""
        facets = tuple(facet for facet in self.facets if facet[0] != part)
        cleared = replace(self, facets=facets, page=1)
        empty: dict[str, RowFilter] = {
            "range": replace(cleared, range=None),
            "text": replace(cleared, text=""),
            "where": replace(cleared, where=""),
        }
        return empty.get(part, cleared)

    def sorted_by(self, column: str) -> "RowFilter":
        """Return the order of a column instead: the largest first, then the smallest, then none."""
        turns = {f"-{column}": column, column: ""}
        return replace(self, sort=turns.get(self.sort, f"-{column}"), page=1)

    def on_page(self, page: int) -> "RowFilter":
        """Return another page of the same rows."""
        return replace(self, page=page)

    @property
    def query(self) -> str:
        """Return it as the query of an address, with its question mark; empty for all rows."""
        pairs = [*self.pairs()]
        return f"?{urlencode(pairs)}" if pairs else ""

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield names and values of an address's query."""
        for name, values in self.facets:
            yield from ((name, value) for value in values)
        if self.range:
            limits = (
                ("column", self.range.column),
                ("low", self.range.low),
                ("high", self.range.high),
            )
            yield from ((name, value) for name, value in limits if value)
        plain = ("text", self.text), ("where", self.where), ("sort", self.sort)
        yield from ((name, value) for name, value in plain if value)
        if self.page > 1:
            yield "page", str(self.page)


def page_number(text: str) -> int:
    """Return the number of a page, the first for what is none."""
    return max(int(text), 1) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _number(text: str) -> str:
    """Return a number as it was written, nothing for what is none."""
    return text.strip() if NUMBER.fullmatch(text.strip()) else ""


def _any_of(column: str, values: Sequence[str]) -> str:
    """Return the condition that a column has one of some values; an empty one stands for none."""
    conditions = [f"{column} = {quoted(value)}" for value in values]
    if len(conditions) > 1:
        conditions = [f"{column} IN ({', '.join(map(quoted, values))})"]
    if "" in values:
        conditions.append(f"{column} IS NULL")
    return conditions[0] if len(conditions) == 1 else f"({' OR '.join(conditions)})"


def quoted(text: str) -> str:
    """Return a text as SQL has it."""
    return QUOTE + text.replace(QUOTE, 2 * QUOTE) + QUOTE


def shell_word(text: str) -> str:
    """Return a text as one word of a shell; in double quotes where single ones would be unreadable."""
    plain = not re.search(r"[\"$`\\!\n]", text)
    return f'"{text}"' if "'" in text and plain else shlex.quote(text)


def text_condition(text: str) -> str:
    """Return the condition that prompt or response holds a text, in large or small letters."""
    if re.search(r"[%_\\]", text):
        pattern = quoted(f"(?is){re.sub(SPECIAL, REPLACEMENT, text)}")
        return f"(REGEXP_LIKE(prompt, {pattern}) OR REGEXP_LIKE(response, {pattern}))"
    pattern = quoted(f"%{text}%")
    return f"(prompt ILIKE {pattern} OR response ILIKE {pattern})"
