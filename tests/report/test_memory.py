"""What the report reads of all rows are a few columns: the memory that it takes for more of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import frame, row, turns
from tests.peakmemory import peak_of

FEW, MANY, SELECTED = 100_000, 500_000, 10
GROUP_ROWS = 8_192
# Of a row on the page a place and what groups it, 230; with the texts of all rows it was 680. Of its
# length a bin, a fate and a hash of its id, 20; with the ids of all rows it was 200.
EMBEDDED = ("from curate.report.embedded_rows import gather_embedded_rows as gather", 350)
LENGTHS = ("from curate.report.distributions import gather_lengths as gather", 100)
CHILD = """
import json, sys
from pathlib import Path
from curate.runs.folder import RunFolder

folder = Path(sys.argv[1])
run = RunFolder(folder, json.loads((folder / "manifest.json").read_bytes()))
gather(run)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Runs with few rows and with many."""
    folder = tmp_path_factory.mktemp("runs")
    return [write_run(folder / str(count), count) for count in (FEW, MANY)]


def write_run(folder: Path, count: int) -> Path:
    """Write what the report reads of a run with so many rows; return its folder."""
    (folder / "pool").mkdir(parents=True)
    manifest = {"artifacts": {"pool": "pool"}, "store": str(folder)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    place = pl.int_range(pl.len())
    one = frame([row("r", turns("What is 2 + 2? " * 20, "It is 4. " * 20))])
    rows = one[[0] * count].with_columns(row_id=pl.format("pool/file.jsonl:{}", place))
    rows.write_parquet(folder / "pool" / "rows.parquet", row_group_size=GROUP_ROWS)
    rows.head(SELECTED).write_parquet(folder / "selected.parquet")
    fate = (
        pl.when(place < SELECTED)
        .then(pl.lit("selected"))
        .when(place % 2 == 0)
        .then(pl.lit("dropped"))
        .otherwise(pl.lit("not_selected"))
    )
    rows.select(
        "row_id", "source", "origin",
        fate=fate, stage=pl.lit("exact"), reason=pl.lit("exact_duplicate"), score=pl.lit(0.5),
        duplicate_of=pl.lit("pool/file.jsonl:0"), rank=place,
    ).write_parquet(folder / "ledger.parquet", row_group_size=GROUP_ROWS)  # fmt: skip
    return folder


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(("gather", "bytes_a_row"), [EMBEDDED, LENGTHS], ids=["rows", "lengths"])
def test_a_page_takes_hardly_more_memory_of_a_larger_pool(
    runs: Sequence[Path], gather: str, bytes_a_row: int
) -> None:
    few, many = (peak_of(gather + CHILD, run) for run in runs)
    assert (many - few) / (MANY - FEW) < bytes_a_row, (few / 2**20, many / 2**20)
