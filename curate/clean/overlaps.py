"""Overlaps: what rows and eval prompts share, whole turns and what is a prompt's own.

    row_id | eval_id | whole | slot | coverage | limit | run | span

Rows are streamed past an index of all prompts once: the time is that of reading their words, whatever
the number of prompts. What is found is judged at the end, when it is known how many rows hold it.
A rejected answer is part of its row: the pair leaks if either answer does.
"""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from curate.core.calls import cached_files
from curate.core.preferences import with_rejected
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Counts
from curate.core.tables import read_table
from curate.overlap.coverage import SCHEMA, measure_pairs
from curate.overlap.prompts import index_prompts
from curate.overlap.search import PromptSearch, RowCounts

VERSION = 10
BATCH_ROWS = 4_096


@cached_files(version=VERSION, name="leaks-overlaps", title="Look for eval prompts in rows")
def write_overlaps(
    out: Path, data: StageInputs, ngram: int, table: str, counted: Artifact | None = None
) -> Counts:
    """Write TABLE.parquet (SCHEMA): every pair of a row and an eval example that share something.

    Beside it is how many rows hold each n-gram and piece; `counted` has that of the pool, which then
    tells instead.
    """
    search = PromptSearch(index_prompts(read_eval_rows(data), ngram))
    for batch in data.survivor_batches(["row_id", "messages", "rejected"], BATCH_ROWS):
        search.add(with_rejected(batch))
    counts = _read_counts(counted) if counted else search.count()
    _write_counts(out, counts)
    pairs = 0
    schema = SCHEMA.to_frame().to_arrow().schema
    with pq.ParquetWriter(out / f"{table}.parquet", schema, compression="zstd") as writer:
        for part in measure_pairs(search.index, search.hits, counts):
            writer.write_table(part.to_arrow())
            pairs += part.height
    return {"rows_in": search.rows, "pairs": pairs, "counted": counts.rows}


def _write_counts(out: Path, counts: RowCounts) -> None:
    pl.DataFrame({"held": counts.grams}).write_parquet(out / "grams.parquet")
    pl.DataFrame({"held": counts.parts}).write_parquet(out / "parts.parquet")
    counts.forms.sort("number", "inside").write_parquet(out / "forms.parquet")


def _read_counts(overlaps: Artifact) -> RowCounts:
    grams, parts = (
        read_table(overlaps.file(f"{name}.parquet"))["held"].to_numpy()
        for name in ("grams", "parts")
    )
    forms = read_table(overlaps.file("forms.parquet"))
    return RowCounts(overlaps.counts["counted"], grams, parts, forms)


def read_eval_rows(data: StageInputs) -> pl.DataFrame:
    """Return the rows of the eval set, of the protected and of the watch sets, in this order."""
    sets = (data.eval, data.protected, data.watch)
    return pl.concat(rows.read() for rows in sets if rows is not None)
