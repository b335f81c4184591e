"""The RDS+ index of a run: blocks of representations, encoded once and reused by content."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from curate.core.calls import Counted, Table, cached
from curate.core.keyed import ModelSource
from curate.core.ledger import kept_rows
from curate.core.methods import find_method
from curate.core.run import ScoreRun, StepRun, target_of
from curate.core.stage import Stage
from curate.core.wants import ONE_GPU
from curate.models.batches import device_tokens
from curate.models.blocks import RowBlock, row_blocks, whole_block
from curate.models.chat import tokenise
from curate.models.lm import BATCH_TOKENS, VERSION, encode
from curate.models.load import load_tokenizer
from curate.models.refusals import NAME as TEMPLATE
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


def index_rows(
    run: StepRun, rows: Table, positions: NDArray[np.int64], max_length: int
) -> list[Table]:
    """Return the vectors of each block of the rows at ascending positions."""
    tokens = device_tokens(BATCH_TOKENS)
    return run.map(vectors, row_blocks(run, rows, positions), run.base, max_length, tokens)


def index_pool(run: ScoreRun, max_length: int) -> list[Table]:
    """Return the vectors of each block of measured rows, in pool order."""
    return index_rows(run, run.rows, measured_positions(run), max_length)


def index_target(run: ScoreRun, max_length: int) -> Table:
    """Return the vectors of the target examples."""
    tokens = device_tokens(BATCH_TOKENS)
    return run(vectors, whole_block(target_of(run)), run.base, max_length, tokens)


def measured(run: ScoreRun) -> Table:
    """Return the rows that are measured block by block: row_id and position in the pool.

    These are the kept rows and those that a stage dropped for what the example sets hold. Without the
    latter, blocks would be others for every eval set, and measured anew. Where fewer rows are kept
    than the stages left (in a cascade), it is the kept ones.
    """
    stages = dict(run.evidence)
    if kept_rows(run, run.rows, list(stages.values())).artifact.key != run.kept.artifact.key:
        return run.kept
    lasting = [table for name, table in stages.items() if not _reads_examples(name)]
    return kept_rows(run, run.rows, lasting)


def _reads_examples(stage: str) -> bool:
    """Return whether a stage's verdicts depend on example sets; those of the template do not."""
    kind = stage.split("-")[0]
    return kind != TEMPLATE and bool(find_method(Stage, kind).uses)


def measured_positions(run: ScoreRun) -> NDArray[np.int64]:
    """Return the pool positions, ascending, of the rows that are measured."""
    positions: NDArray[np.int64] = measured(run).read(["position"])["position"].to_numpy()
    return positions


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
