"""The RDS+ index of a run: blocks of representations, encoded once and reused by content."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from curate.core.calls import Counted, Table, cached
from curate.core.keyed import ModelSource
from curate.core.run import ScoreRun, target_of
from curate.core.wants import ONE_GPU
from curate.models.blocks import RowBlock, whole_block
from curate.models.chat import tokenise
from curate.models.lm import VERSION, encode, pass_tokens
from curate.models.load import load_tokenizer
from curate.models.weights import load_trunk


@cached(version=VERSION, name="index", title="Encode rows with the base model", wants=ONE_GPU)
def vectors(
    texts: RowBlock, model: ModelSource, max_length: int, batch_tokens: int
) -> Counted[NDArray[np.float32]]:
    """Return the representations [N, d] of a block of rows, in their order (curate.models.lm)."""
    tokenizer = load_tokenizer(model.folder, model.trust)
    rows = tokenise(tokenizer, texts.messages(), max_length)
    trunk = load_trunk(model.folder, model.dtype, model.trust)
    return Counted(encode(trunk, rows, batch_tokens), {"tokens": sum(map(len, rows))})


def index_target(run: ScoreRun, max_length: int) -> Table:
    """Return the vectors of the target examples."""
    examples = whole_block(target_of(run))
    return run(vectors, examples, run.base, max_length, pass_tokens())


def kept_among(measured: Table, kept: Table) -> NDArray[np.bool_]:
    """Return which of the measured rows are kept, in pool order."""
    ids = kept.read(["row_id"])["row_id"]
    return measured.read(["row_id"])["row_id"].is_in(ids.implode()).to_numpy()


def read_vectors(blocks: Sequence[Table]) -> NDArray[np.float32]:
    """Return the vectors of all blocks as one array [N, d], in order; [0, 0] if there is none."""
    parts = [block.array() for block in blocks]
    return np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)


def iter_kept_vectors(
    blocks: Sequence[Table], measured: Table, kept: Table
) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors [n, d] of the kept rows of each block of measured rows, in pool order."""
    kept_mask, start = kept_among(measured, kept), 0
    for block in blocks:
        block_vectors = block.array()
        yield block_vectors[kept_mask[start : start + len(block_vectors)]]
        start += len(block_vectors)
