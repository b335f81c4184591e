"""Rows whose opening is that of a similar row: the same response behind a plausible wrong prompt.

    row          user: Is 91 a prime?            assistant: No, it is 7 times 13.
    alternative  user: Is 97 a prime?            assistant: Yes.
    swapped      user: Is 97 a prime?            assistant: No, it is 7 times 13.

The opening is all that stands before the first response, tools included. An alternative is hard if its
prompt is near; one above NEAREST asks for the same, and so does one with the same response. Its opening
has the same order of roles, so that a chat template which takes the one takes the other.

Alternatives are looked for among MOST_CANDIDATES rows drawn at random, or all if there are no more.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Counted, Table, cached
from curate.core.fixedpoint import cosines
from curate.core.turntext import CONVERSATION
from curate.models.neighbours.cells import slices
from curate.models.neighbours.topk import top_columns
from curate.selectors.vectors import PoolBlocks, read_pool_embeddings
from curate.text.compared import compared_text

VERSION = 1
NEAREST = 0.95
MOST_CANDIDATES = 4_096
SALT = 0x755
DECIMALS = 6


@cached(version=VERSION, name="swapped-rows", title="Put responses behind other prompts")
def swapped_rows(
    embedded: PoolBlocks, rows: Table, alternatives: int, seed: int
) -> Counted[pl.LazyFrame]:
    """Return row_id (of the response), alternative_id (of the opening), messages, tools.

    Args:
        embedded: the kept rows, and the embeddings of their prompts.
        rows: the pool.
        alternatives: openings for each row; fewer where there are no more.
        seed: of the candidates.
    """
    pool = read_pool_embeddings(embedded)
    kinds = _kinds(rows, pool.ids)
    near = hard_alternatives(
        pool.vectors, kinds["response"].to_numpy(), kinds["shape"].to_numpy(), alternatives, seed
    )
    row, place = np.nonzero(near >= 0)
    pairs = pl.DataFrame(
        {"row_id": pool.ids.gather(row), "alternative_id": pool.ids.gather(near[row, place])}
    )
    return Counted(_swapped(rows, pairs), {"rows_out": pairs.height})


def hard_alternatives(
    vectors: NDArray[np.float32],
    responses: NDArray[np.integer],
    shapes: NDArray[np.integer],
    count: int,
    seed: int,
) -> NDArray[np.int64]:
    """Return the rows [N, count] with the nearest prompts, best first; -1 where there are no more.

    Args:
        vectors: unit or zero vectors of prompts [N, d]; a zero one has and is no alternative.
        responses: equal numbers [N] are equal responses.
        shapes: alternatives have the same number [N].
        count: of alternatives.
        seed: of the candidates.
    """
    filled = np.flatnonzero(vectors.any(axis=1))
    rng = np.random.default_rng([seed, SALT])
    size = min(MOST_CANDIDATES, len(filled))
    candidates = np.sort(rng.choice(filled, size, replace=False))
    most = min(count, size)
    near = np.full((len(vectors), count), -1, dtype=np.int64)
    for part in _parts(filled, size):
        cosine = cosines(vectors[part], vectors[candidates]).round(DECIMALS)
        excluded = np.equal.outer(responses[part], responses[candidates])
        excluded |= np.not_equal.outer(shapes[part], shapes[candidates])
        cosine[excluded | (cosine > NEAREST)] = -np.inf
        columns, values = top_columns(cosine, most)
        near[part, :most] = np.where(np.isfinite(values), candidates[columns], -1)
    return near


def _parts(rows: NDArray[np.int64], width: int) -> Iterator[NDArray[np.int64]]:
    return (rows[part] for part in slices(len(rows), max(width, 1)))


def _kinds(rows: Table, ids: pl.Series) -> pl.DataFrame:
    """Return numbers of the rows' responses and of the shapes of their openings, in the order of ids."""
    roles = _opening().list.eval(pl.element().struct.field("role")).list.join(" ")
    kinds = rows.scan().select(
        "row_id",
        response=compared_text("response").fill_null("").hash(),
        shape=pl.struct(roles.alias("roles"), pl.col("tools").is_null()).rank("dense"),
    )
    return ids.to_frame().join(kinds.collect(), on="row_id", how="left", maintain_order="left")


def _swapped(rows: Table, pairs: pl.DataFrame) -> pl.LazyFrame:
    turns = rows.scan().select("row_id", *CONVERSATION)
    openings = turns.select(alternative_id="row_id", opening=_opening(), tools="tools")
    rests = turns.select("row_id", rest=pl.col("messages").list.slice(_first_response()))
    joined = pairs.lazy().join(rests, on="row_id", how="left", maintain_order="left")
    joined = joined.join(openings, on="alternative_id", how="left", maintain_order="left")
    messages = pl.concat_list("opening", "rest")
    return joined.select("row_id", "alternative_id", messages=messages, tools="tools")


def _first_response() -> pl.Expr:
    """Return the number of the first turn of the assistant."""
    is_response = pl.element().struct.field("role") == "assistant"
    return pl.col("messages").list.eval(is_response).list.arg_max()


def _opening() -> pl.Expr:
    return pl.col("messages").list.head(_first_response())
