"""Blocks of rows that a model reads at once, keyed by their texts: reused wherever they lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curate.core.calls import Table
from curate.core.rows import Message
from curate.core.run import StepRun
from curate.core.store import Artifact
from curate.core.turntext import CONVERSATION, conversations
from curate.models.blockkeys import block_digest, hash_rows, hashes_of_table

SMALLEST_BLOCK, LARGEST_BLOCK = 256, 16_384
# Of a pool whose blocks need not be larger than the largest for that.
MOST_BLOCKS = 128


@dataclass(frozen=True)
class RowBlock:
    """The rows at ascending positions of a table of rows, identified by hashes of their texts."""

    identity: str
    rows: Table
    positions: NDArray[np.int64] = field(compare=False)

    @property
    def reads(self) -> list[Artifact]:
        """Return the artifact of the rows."""
        return [self.rows.artifact]

    def messages(self) -> list[list[Message]]:
        """Return the messages of the rows, in their order."""
        return read_block(self.rows, self.positions)


def row_block(rows: Table, positions: Sequence[int]) -> RowBlock:
    """Return the rows at ascending positions, few enough to be read at once, as one block."""
    places = np.asarray(positions, dtype=np.int64)
    return RowBlock(block_digest(hash_rows(read_block(rows, places))), rows, places)


def row_blocks(
    run: StepRun, rows: Table, positions: NDArray[np.int64], smallest: int | None = None
) -> list[RowBlock]:
    """Return the rows at ascending positions, block by block, none of which is read for it.

    Args:
        run: stores the hashes of rows.
        rows: the table.
        positions: of the rows in it.
        smallest: pool rows that a block spans at least; SMALLEST_BLOCK if None.
    """
    hashes = hashes_of_table(run, rows)
    blocks = blocks_of(positions, rows.height, smallest or SMALLEST_BLOCK)
    return [RowBlock(block_digest(hashes[block]), rows, block) for block in blocks]


def whole_block(rows: Table) -> RowBlock:
    """Return all rows of a table, such as the target examples, as one block."""
    return row_block(rows, range(rows.height))


def blocks_of(positions: NDArray[np.int64], total: int, smallest: int) -> list[NDArray[np.int64]]:
    """Return ascending pool positions in blocks.

    Blocks are ranges of pool positions: an edited row leaves the other blocks as they were. They grow
    with the pool up to LARGEST_BLOCK, so that their results fit into the memory of a worker.

    Args:
        positions: of the rows wanted.
        total: rows in the pool.
        smallest: pool rows that a block spans at least.
    """
    size = smallest
    while total > size * MOST_BLOCKS and size < max(LARGEST_BLOCK, smallest):
        size *= 2
    parts = np.split(positions, np.flatnonzero(np.diff(positions // size)) + 1)
    return [part for part in parts if len(part)]


def read_block(rows: Table, positions: NDArray[np.int64]) -> list[list[Message]]:
    """Return the messages of the rows at these ascending positions of a table."""
    start, stop = int(positions[0]), int(positions[-1]) + 1
    span = rows.scan().slice(start, stop - start).select(*CONVERSATION).collect()
    return conversations(span[positions - start])
