"""The map: every row of the run on a plane by its stored vector, coloured by what became of it."""

from dataclasses import dataclass, field
from functools import partial
from threading import RLock
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from curate.core.errors import UserError
from curate.runs.folder import damage_explained
from curate.runs.vectors import StoredVectors, VectorSpace, find_vectors
from curate.view.atlas import atlas_bytes
from curate.view.context import ViewContext
from curate.view.excerpts import read_excerpts
from curate.view.mapbrush import COLOURS, LIMITS, MapQuery
from curate.view.mapfigures import BrushedRows, brushed_rows, categories, points_json
from curate.view.maptable import TARGET, RowMap, lay_out, point_vectors

EXCERPT = 400


@dataclass
class MapStore:
    """The maps of a viewer, each made at its first use."""

    context: ViewContext
    _stored: StoredVectors | None = None
    _maps: dict[str, RowMap] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def vectors(self) -> StoredVectors:
        """Return the vectors that the run stored.

        Raises:
            UserError: the store has lost the run's rows.
        """
        with self._lock, damage_explained(self.context.run.path):
            if self._stored is None:
                self._stored = find_vectors(self.context.run)
            return self._stored

    def space(self, name: str) -> VectorSpace:
        """Return the vectors of a name, the first if empty.

        Raises:
            UserError: there are none.
        """
        spaces = {one.name: one for one in self.vectors().spaces}
        if name and name not in spaces:
            raise UserError(
                f"vectors {name}: the run has none of this name; choose others on the map"
            )
        if not spaces:
            raise UserError(f"{self.context.run.path} has no stored vectors")
        return spaces[name] if name else next(iter(spaces.values()))

    def row_map(self, name: str) -> RowMap:
        """Return the map of the vectors of a name, the first if empty."""
        with self._lock, damage_explained(self.context.run.path):
            space = self.space(name)
            if space.name not in self._maps:
                self._maps[space.name] = lay_out(self.context.run, self.vectors(), space)
            return self._maps[space.name]


def routes(context: ViewContext) -> list[Route]:
    """Return the addresses of the page."""
    maps = MapStore(context)
    pages = {
        "/map": map_page,
        "/map/points": map_points,
        "/map/point": map_point,
        "/map/rows.parquet": map_rows,
    }
    return [Route(path, partial(page, maps=maps)) for path, page in pages.items()]


def map_page(request: Request, maps: MapStore) -> Response:
    """Return the map, with what is brushed below it."""
    query, stored = MapQuery.of(request.query_params), maps.vectors()
    if not stored.spaces:
        return maps.context.render(request, "nomap.html.j2", stored=stored)
    row_map = maps.row_map(query.vectors)
    brushed = brushed_rows(row_map, query)
    return maps.context.render(
        request,
        "map.html.j2",
        status=400 if query.fault else 200,
        query=query,
        row_map=row_map,
        spaces=stored.spaces,
        space=maps.space(query.vectors).name,
        lost=stored.lost,
        categories=categories(row_map.points, query),
        brushed=brushed,
        colours=COLOURS,
        limits=LIMITS,
        table_link=table_link(brushed),
    )


def map_points(request: Request, maps: MapStore) -> Response:
    """Return the points for the script that draws them."""
    query = MapQuery.of(request.query_params)
    body = points_json(maps.row_map(query.vectors).points, query.colour)
    return Response(body, media_type="application/json")


def map_point(request: Request, maps: MapStore) -> Response:
    """Return what is said of one point, by its number: id, fate, the start of its text."""
    query, number = MapQuery.of(request.query_params), request.query_params.get("point", "")
    points = maps.row_map(query.vectors).points
    if not (number.isascii() and number.isdigit() and int(number) < points.height):
        raise UserError(f"point {number}: the map has {points.height:,} points, from 0 on")
    row = points.row(int(number), named=True)
    role = TARGET if row["fate"] == TARGET else "pool"
    texts = read_excerpts(maps.context.run, [row["row_id"]], role, EXCERPT)
    fate = row["fate"].replace("_", " ")
    parts = [fate, *([f"by {row['stage']}"] if row["fate"] == "dropped" else []), row["source"]]
    return JSONResponse(
        {
            "row_id": row["row_id"],
            "facts": " · ".join(part for part in parts if part),
            "text": texts.get(row["row_id"], ""),
        }
    )


def map_rows(request: Request, maps: MapStore) -> Response:
    """Return the rows with their places as Parquet, for Embedding Atlas and the like."""
    query = MapQuery.of(request.query_params)
    row_map = maps.row_map(query.vectors)
    vectors = point_vectors(maps.vectors(), maps.space(query.vectors), row_map.points)
    body = atlas_bytes(maps.context.run, row_map, vectors)
    name = f"{maps.context.run.manifest['name']}-map.parquet"
    return Response(
        body,
        media_type="application/vnd.apache.parquet",
        headers={"content-disposition": _attachment(name)},
    )


def _attachment(name: str) -> str:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "_" for c in name)
    return f'attachment; filename="{plain}"'


def table_link(brushed: BrushedRows | None) -> str:
    """Return the address of the table with the rows of an area, empty where they are too many."""
    if brushed is None or not brushed.ids:
        return ""
    quoted = ", ".join("'" + row_id.replace("'", "''") + "'" for row_id in brushed.ids)
    return f"/rows?{urlencode({'where': f'row_id IN ({quoted})'})}"
