"""The figures of a map: categories by colour, how many rows of each are drawn and brushed, and which."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from curate.view.mapbrush import PAGE_ROWS, MapQuery
from curate.view.maptable import TARGET, RowMap

# Colours that the eye still tells apart; the last is for all further categories.
MOST_CATEGORIES = 9
FATES = ("selected", "not_selected", "dropped", TARGET)
OTHERS = "all others"
NONE = {"stage": "dropped by none", "origin": "no origin", "source": "no source"}
DIGITS = 5
# Of a condition that the table of rows takes, in characters.
LONGEST_IDS = 3_000


@dataclass(frozen=True)
class MapCategory:
    """A category of points: its name, its colour's number, and how many are drawn and brushed."""

    name: str
    colour: int
    points: int
    brushed: int


@dataclass(frozen=True)
class BrushedRow:
    """A row in the brushed area."""

    row_id: str
    fate: str
    stage: str | None
    reason: str | None
    score: float | None
    source: str
    origin: str | None
    place_of: str | None


@dataclass(frozen=True)
class BrushedRows:
    """The rows in an area: a page of them, and how many of each fate and source there are.

    ids: of the rows of the pool, none where an address cannot hold them all.
    """

    rows: list[BrushedRow]
    count: int
    page: int
    mix: list[tuple[str, str, int]]
    ids: list[str]

    @property
    def pages(self) -> int:
        """Return how many pages there are."""
        return max(-(-self.count // PAGE_ROWS), 1)


def categories(points: pl.DataFrame, query: MapQuery) -> list[MapCategory]:
    """Return the categories of the points, in the order of their colours."""
    area, names = query.area, category_names(points, query.colour)
    inside = pl.lit(False) if area is None else area.condition
    counts = (
        points.select(_category(query.colour, names), inside=inside)
        .group_by("category")
        .agg(pl.len(), pl.col("inside").sum())
    )
    by_name = {name: (total, brushed) for name, total, brushed in counts.iter_rows()}
    return [
        MapCategory(name, number, *by_name.get(name, (0, 0))) for number, name in enumerate(names)
    ]


def category_names(points: pl.DataFrame, colour: str) -> list[str]:
    """Return what the categories of a colour are called, frequent ones first, target examples last."""
    if colour == "fate":
        return [name for name in FATES if name in points["fate"]]
    counted = (
        points.filter(pl.col("fate") != TARGET)
        .select(_named(colour))
        .group_by("category")
        .len()
        .sort("len", "category", descending=[True, False])["category"]
        .to_list()
    )
    if len(counted) > MOST_CATEGORIES:
        counted = [*counted[: MOST_CATEGORIES - 1], OTHERS]
    return [*counted, *([TARGET] if TARGET in points["fate"] else [])]


def _named(colour: str) -> pl.Expr:
    """Return the category of each point, whether it has a colour of its own or not."""
    if colour == "fate":
        return pl.col("fate").alias("category")
    return pl.col(colour).fill_null(NONE[colour]).alias("category")


def _category(colour: str, names: list[str]) -> pl.Expr:
    named = pl.when(pl.col("fate") == TARGET).then(pl.lit(TARGET)).otherwise(_named(colour))
    return pl.when(named.is_in(names)).then(named).otherwise(pl.lit(OTHERS)).alias("category")


def points_json(points: pl.DataFrame, colour: str) -> bytes:
    """Return the points for a script, as JSON."""
    return orjson.dumps(points_columns(points, colour), option=orjson.OPT_SERIALIZE_NUMPY)


def points_columns(points: pl.DataFrame, colour: str) -> dict[str, NDArray[Any]]:
    """Return the places of points, and the numbers of their fates and categories."""
    names = category_names(points, colour)
    fates, shades = list(FATES), range(len(names))
    numbered = points.select(
        fate=pl.col("fate").replace_strict(fates, range(len(fates)), return_dtype=pl.UInt8),
        category=_category(colour, names).replace_strict(names, shades, return_dtype=pl.UInt8),
    )
    places = {name: np.round(points[name].to_numpy(), DIGITS) for name in ("x", "y")}
    return {**places, **{name: numbered[name].to_numpy() for name in numbered.columns}}


def brushed_rows(row_map: RowMap, query: MapQuery) -> BrushedRows | None:
    """Return the rows in the area that is brushed, None where none is."""
    if query.area is None:
        return None
    inside = row_map.points.filter(query.area.condition)
    mix = inside.group_by("fate", "source").len()
    order = ["fate", "len", "source"]
    counts = mix.sort(order, descending=[True, True, False]).select("fate", "source", "len").rows()
    page = min(query.page, max(-(-inside.height // PAGE_ROWS), 1))
    part = inside.slice((page - 1) * PAGE_ROWS, PAGE_ROWS).select(*BrushedRow.__annotations__)
    ids = inside.filter(pl.col("fate") != TARGET)["row_id"].to_list()
    fitting = ids if sum(map(len, ids)) < LONGEST_IDS else []
    rows = [BrushedRow(*row) for row in part.iter_rows()]
    return BrushedRows(rows, inside.height, page, counts, fitting)
