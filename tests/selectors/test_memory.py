"""Scores and rankings of many rows are held once: what they need for more rows."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate.core.calls import Table
from curate.core.store import Store
from tests.conftest import Computed
from tests.peakmemory import peak_of

FEW, MANY, EXAMPLES = 50_000, 300_000, 20
# Similarities are 80 of these, ids 55. With further copies of them it was 428 and 602.
BYTES_A_ROW = {"scores": 350, "selection": 450}
CHILD = """
import pickle, sys
from pathlib import Path

import numpy as np

from curate.selectors.density import with_density
from curate.selectors.embed import EmbedSelector
from curate.selectors.selection import SelectionInputs, write_selection
from curate.selectors.similarities import similarity_table

what, out, rows, tokens, target, scores = pickle.loads(Path(sys.argv[1]).read_bytes())
if what == "scores":
    rng, count = np.random.default_rng(0), tokens.height
    blocks = (rng.random((min(10_000, count - at), target.height)) for at in range(0, count, 10_000))
    table = similarity_table(tokens, target, blocks, "nothing is known of it")
    # As wide vectors as leave hardly a row to prefetch.
    with_density(table, lambda places: np.ones((len(places), 2)), 2**24)
else:
    select = EmbedSelector.model_validate({"method": "embed", "budget": {"rows": 10}})
    data = SelectionInputs(rows, scores, tokens, {})
    write_selection(Path(out), data, select.model_dump(mode="json"), 0, select.version)
"""


def peak_bytes(folder: Path, what: str, count: int) -> int:
    """Return the peak memory of a process that scores so many rows, or selects of them."""
    store, out = Store(folder / str(count)), folder / f"{count}-selection"
    out.mkdir()
    rng = np.random.default_rng(0)
    ids = pl.select(row_id=pl.format("pool/file.jsonl:{}", pl.int_range(count)))
    target = pl.select(
        row_id=pl.format("t{}", pl.int_range(EXAMPLES)), origin=pl.lit(None, pl.String)
    )
    similar = rng.random((count, EXAMPLES), dtype=np.float32)
    scores = ids.with_columns(
        score=pl.Series(similar.max(axis=1)),
        nearest_id=pl.lit("t0"),
        similarities=pl.Series(similar, dtype=pl.Array(pl.Float32, EXAMPLES)),
        reason=pl.lit(None, pl.String),
    )
    tables = [
        _stored(store, "rows", ids.with_columns(source=pl.lit("made"))),
        _stored(store, "tokens", ids.with_columns(tokens=pl.lit(60, pl.Int64))),
        _stored(store, "target", target),
        _stored(store, "scores", scores),
    ]
    job = folder / f"{count}.pickle"
    job.write_bytes(pickle.dumps((what, str(out), *tables)))
    return peak_of(CHILD, job)


def _stored(store: Store, name: str, table: pl.DataFrame) -> Table:
    def write(out: Path) -> dict[str, int]:
        table.write_parquet(out / f"{name}.parquet")
        return {"rows_in": table.height, "rows_out": table.height}

    return Table(store.ensure(Computed(name, write, table.height)), name)


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("what", BYTES_A_ROW)
def test_more_rows_take_hardly_more_memory_than_their_scores(tmp_path: Path, what: str) -> None:
    few, many = (peak_bytes(tmp_path, what, count) for count in (FEW, MANY))
    assert (many - few) / (MANY - FEW) < BYTES_A_ROW[what], (few / 2**20, many / 2**20)
