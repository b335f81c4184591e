"""The rows of a run on a plane: where each lies by its stored vector, and what became of it.

    row_id | x | y | fate | source | origin | stage | reason | score | rank | duplicate_of | place_of

A duplicate that was dropped before anything embedded it is drawn at the place of the row that it
duplicates, `place_of`.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.runs.folder import RunFolder
from curate.runs.vectors import StoredVectors, VectorSpace
from curate.view.maplayout import Plane, principal_plane

MOST_POINTS = 100_000
TARGET = "target"
COLUMNS = ("source", "origin", "fate", "stage", "reason", "score", "rank", "duplicate_of")
NOWHERE = -1


@dataclass(frozen=True)
class RowMap:
    """Rows on a plane, and what it leaves out.

    Attributes:
        points: the table; rows of the pool in their order, then the target examples.
        label: by which model the vectors are, and of what.
        shares: of the variance of the vectors, along x and along y.
        rows: how many rows the pool has.
        drawable: how many of them have a place.
    """

    points: pl.DataFrame
    label: str
    shares: tuple[float, float]
    rows: int
    drawable: int

    @property
    def drawn(self) -> int:
        """Return how many rows of the pool are drawn."""
        return self.points.filter(pl.col("fate") != TARGET).height

    @property
    def copies(self) -> int:
        """Return how many of these have the place of the row that they duplicate."""
        return self.points["place_of"].drop_nulls().len()

    @property
    def sampled(self) -> bool:
        """Return whether some rows that have a place are not drawn."""
        return self.drawn < self.drawable


def lay_out(
    run: RunFolder, stored: StoredVectors, space: VectorSpace, most: int = MOST_POINTS
) -> RowMap:
    """Return a run's rows on the plane of one space of vectors.

    Of more rows than `most` it is a sample by the run's seed, and every selected row. Coordinates reach
    from -1 to 1 for rows of the pool.

    Raises:
        UserError: a file of vectors is damaged.
    """
    ledger = run.table("ledger").select("row_id", *COLUMNS)
    order = pl.LazyFrame({"row_id": stored.pool})
    rows = order.join(ledger, on="row_id", how="left", maintain_order="left").collect()
    places = _places(rows, space)
    drawn = _sample(rows, places, run.config.seed, most)
    own, spots = np.unique(places[drawn], return_inverse=True)
    vectors = space.pool.read(own)
    plane = _scaled(principal_plane(vectors), vectors)
    copies = rows["row_id"].gather(places[drawn]).to_frame().select(
        place_of=pl.when(pl.Series(places[drawn] != drawn)).then("row_id")
    )  # fmt: skip
    points = _with_places(rows[drawn].hstack(copies), plane.project(vectors)[spots])
    table = pl.concat([points, _target_points(stored, space, plane)], how="diagonal_relaxed")
    drawable = int((places != NOWHERE).sum())
    return RowMap(table, space.label, plane.shares, rows.height, drawable)


def _scaled(plane: Plane, vectors: NDArray[np.float32]) -> Plane:
    """Return a plane with axes of a length that no coordinate of these vectors is beyond -1 and 1."""
    reach = float(np.abs(plane.project(vectors)).max(initial=0.0))
    return replace(plane, axes=plane.axes / reach) if reach else plane


def _places(rows: pl.DataFrame, space: VectorSpace) -> NDArray[np.int64]:
    """Return for each row the position of the row whose vector it has, NOWHERE for none.

    A duplicate that no step embedded has the vector of the row that it was dropped for.
    """
    present = space.pool.present
    own = np.where(present, np.arange(rows.height), NOWHERE)
    positions = rows.select("row_id").with_row_index("kept_position")
    twins = rows.select("duplicate_of").join(
        positions, left_on="duplicate_of", right_on="row_id", how="left", maintain_order="left"
    )
    twin = twins["kept_position"].cast(pl.Int64).fill_null(NOWHERE).to_numpy()
    shared = np.where((twin != NOWHERE) & present[twin], twin, NOWHERE)
    return np.where(present, own, shared)


def _sample(
    rows: pl.DataFrame, places: NDArray[np.int64], seed: int, most: int
) -> NDArray[np.int64]:
    """Return the positions of the rows to draw, ascending: all selected ones, and a share of others."""
    drawable = np.flatnonzero(places != NOWHERE)
    if len(drawable) <= most:
        return drawable
    selected = (rows["fate"] == "selected").to_numpy()[drawable]
    others, count = drawable[~selected], max(most - int(selected.sum()), 0)
    chosen = np.random.default_rng(seed).choice(others, min(count, len(others)), replace=False)
    return np.sort(np.concatenate([drawable[selected], chosen]))


def _target_points(stored: StoredVectors, space: VectorSpace, plane: Plane) -> pl.DataFrame:
    """Return the target examples on the plane of the pool, none where no step embedded them."""
    if space.target is None:
        return pl.DataFrame(schema={"row_id": pl.String, "x": pl.Float64, "y": pl.Float64})
    positions = np.flatnonzero(space.target.present)
    ids = stored.target.gather(positions).to_frame()
    target = ids.with_columns(fate=pl.lit(TARGET), source=pl.lit(TARGET))
    return _with_places(target, plane.project(space.target.read(positions)))


def point_vectors(
    stored: StoredVectors, space: VectorSpace, points: pl.DataFrame
) -> NDArray[np.float32]:
    """Return the vector of each point of a map [n, d], of a duplicate that of the row it lies at."""
    named = points.select(pl.coalesce("place_of", "row_id").alias("row_id"), "fate")
    parts = []
    for ids, vectors, own in (
        (stored.pool, space.pool, named.filter(pl.col("fate") != TARGET)),
        (stored.target, space.target, named.filter(pl.col("fate") == TARGET)),
    ):
        if vectors is not None:
            places = ids.to_frame("row_id").with_row_index("place")
            joined = own.join(places, on="row_id", how="left", maintain_order="left")
            parts.append(vectors.read(joined["place"].cast(pl.Int64).to_numpy()))
    return np.concatenate(parts)


def _with_places(rows: pl.DataFrame, spots: NDArray[np.float64]) -> pl.DataFrame:
    return rows.with_columns(x=pl.Series(spots[:, 0]), y=pl.Series(spots[:, 1]))
