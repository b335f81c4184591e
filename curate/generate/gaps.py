"""Where a pool covers its target least: the target examples whose nearest pool row is farthest."""

from collections.abc import Iterator, Sequence

import polars as pl

from curate.core.errors import UserError
from curate.core.rows import prompt_text, response_text
from curate.generate.generation import SeedExample
from curate.generate.retrieve import embed_blocks
from curate.generate.sift import Embed
from curate.models.neighbours.nearest import nearest

BLOCK_ROWS = 4_096


def measure_coverage(
    target: Sequence[SeedExample], pool: pl.LazyFrame, embed: Embed
) -> pl.DataFrame:
    """Return row_id, nearest_id and cosine of each target example's nearest pool row, thinnest first.

    Prompts and responses are compared together. The pool is read twice, block by block.

    Raises:
        UserError: the pool has no row.
    """
    queries = embed([f"{example.prompt}\n{example.response}" for example in target])
    numbers, cosines = nearest(queries, embed_blocks(_texts(pool), embed), 1)
    if not numbers.size:
        raise UserError("gaps are gaps in a pool, and this one has no row; use `start: all`")
    places = pl.LazyFrame({"place": numbers[:, 0]}, schema={"place": pl.UInt32})
    named = places.join(
        pool.select(nearest_id="row_id").with_row_index("place"),
        on="place",
        how="left",
        maintain_order="left",
    ).collect()
    return pl.DataFrame(
        {
            "row_id": [example.row_id for example in target],
            "nearest_id": named["nearest_id"],
            "cosine": cosines[:, 0],
        }
    ).sort("cosine", "row_id")


def _texts(pool: pl.LazyFrame) -> Iterator[str]:
    batches = pool.select("messages").collect_batches(chunk_size=BLOCK_ROWS, maintain_order=True)
    for batch in batches:
        for messages in batch["messages"].to_list():
            yield f"{prompt_text(messages)}\n{response_text(messages)}"
