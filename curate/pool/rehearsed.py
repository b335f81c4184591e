"""A selection with rehearsed rows mixed in: spread evenly between the others, which keep their order.

selected.parquet    rows of the selection and rehearsed rows; the latter have a source of their own
"""

from pathlib import Path

import numpy as np
import polars as pl

from curate.core.calls import Table, cached_files
from curate.core.store import Counts

VERSION = 1


def mix_rows(selected: pl.DataFrame, rehearsed: pl.DataFrame) -> pl.DataFrame:
    """Return selected rows in their order, with rehearsed rows spread evenly between them."""
    step = selected.height / max(rehearsed.height, 1)
    places = np.concatenate(
        [np.arange(selected.height), (np.arange(rehearsed.height) + 0.5) * step - 0.5]
    )
    rows = pl.concat([selected, rehearsed.select(selected.columns)], how="vertical_relaxed")
    return rows[np.argsort(places, kind="stable")]


@cached_files(version=VERSION, name="export-rows")
def write_mixed(out: Path, selected: Table, rehearsed: Table) -> Counts:
    """Write selected.parquet: the selection and the rehearsed rows."""
    rows = mix_rows(selected.read(), rehearsed.read())
    rows.write_parquet(out / "selected.parquet")
    return {"rows_in": rows.height, "rows_out": rows.height}
