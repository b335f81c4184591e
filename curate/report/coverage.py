"""Target coverage: the nearest selected row of each target example, and the thin spots."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.report.examples import Rows, RowView, read_rows, show_example
from curate.runs.folder import RunFolder

TABLE = "evidence/coverage"
MOST_SPOTS = 200
TEXTS = 20


@dataclass(frozen=True)
class Spot:
    """A target example and the rows nearest to it: of the selection, and of all kept rows.

    `state` is near, missed (the pool has a row within the limit) or gap (it has none), None without a
    limit. `target` and `kept` have their texts for thin spots only.
    """

    target: RowView
    row_id: str
    similarity: float
    kept: RowView
    kept_similarity: float
    state: str | None


@dataclass(frozen=True)
class Coverage:
    """All target examples, the farthest first; `spots` holds the first of `count`."""

    spots: tuple[Spot, ...]
    count: int
    limit: float | None
    missed: int
    gaps: int
    mean: float
    best_mean: float

    @property
    def thin(self) -> int:
        """Return how many target examples are farther from the selection than the limit."""
        return self.missed + self.gaps

    @property
    def thin_examples(self) -> tuple[Spot, ...]:
        """Return the thin spots that are told with their texts."""
        return tuple(spot for spot in self.spots if spot.state in ("missed", "gap"))[:TEXTS]


def own_name(run: RunFolder) -> str:
    """Return the name of the run's own selection."""
    return str(run.manifest["config"]["select"]["method"])


def gather_coverage(run: RunFolder) -> Coverage | None:
    """Return how near the run's own selection comes to the target; None without a target."""
    if not run.has(TABLE):
        return None
    spots = run.table(TABLE).filter(pl.col("name") == own_name(run)).collect()
    ordered = spots.sort("similarity", "target_id")
    thin = ordered.filter(pl.col("state").is_in(["missed", "gap"])).head(TEXTS)
    rows = read_rows(run, {*thin["target_id"], *thin["kept_id"]})
    return Coverage(
        spots=tuple(_spot(line, rows) for line in ordered.head(MOST_SPOTS).to_dicts()),
        count=spots.height,
        limit=spots["limit"][0],
        missed=spots.filter(state="missed").height,
        gaps=spots.filter(state="gap").height,
        mean=float(spots["similarity"].mean()),  # type: ignore[arg-type]
        best_mean=float(spots["kept_similarity"].mean()),  # type: ignore[arg-type]
    )


def _spot(line: Mapping[str, Any], rows: Rows) -> Spot:
    return Spot(
        target=show_example(line["target_id"], rows, {}, None),
        row_id=line["row_id"],
        similarity=line["similarity"],
        kept=show_example(line["kept_id"], rows, {}, None),
        kept_similarity=line["kept_similarity"],
        state=line["state"],
    )
