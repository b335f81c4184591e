"""What names blocks of rows: a hash of the conversation of each row, stored for each file of a table."""

import hashlib

import numpy as np
import orjson
from numpy.typing import NDArray

from curate.core.calls import Table, cached
from curate.core.rows import Message
from curate.core.run import StepRun
from curate.core.tableparts import TablePart, table_parts
from curate.core.turntext import CONVERSATION, conversations

VERSION = 1
BATCH_ROWS = 8_192
HASH_BYTES = 16


@cached(version=VERSION, name="row-hashes", title="Hash rows")
def row_hashes(rows: TablePart) -> NDArray[np.uint8]:
    """Return a hash [n, 16] of each row: of all that a model reads of it, white space included."""
    parts = [hash_rows(conversations(b)) for b in rows.batches(BATCH_ROWS, CONVERSATION)]
    return np.concatenate([np.empty((0, HASH_BYTES), dtype=np.uint8), *parts])


def hash_rows(rows: list[list[Message]]) -> NDArray[np.uint8]:
    """Return a hash [n, 16] of each conversation."""
    return np.frombuffer(b"".join(map(_hash, rows)), dtype=np.uint8).reshape(-1, HASH_BYTES)


def _hash(messages: list[Message]) -> bytes:
    text = orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=HASH_BYTES).digest()


def hashes_of_table(run: StepRun, rows: Table) -> NDArray[np.uint8]:
    """Return the hash [N, 16] of each row of a table, those of its files put together."""
    return np.concatenate([part.array() for part in run.map(row_hashes, table_parts(rows))])


def block_digest(hashes: NDArray[np.uint8]) -> str:
    """Return 32 hex digits that identify a block by the hashes of its rows, in their order."""
    return hashlib.blake2b(hashes.tobytes(), digest_size=HASH_BYTES).hexdigest()
