"""The RDS+ index of a run: blocks of representations, encoded once and reused by content."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.core.ledger import kept_step
from curate.core.registry import ScoreRun, StepRun, find_stage
from curate.core.store import Artifact, Step, digest_of
from curate.core.tables import read_table
from curate.models import lm
from curate.models.refusals import NAME as TEMPLATE

SMALLEST_BLOCK = 256
MOST_BLOCKS = 128
BLOCK = "block-"


def measured(run: ScoreRun) -> Artifact:
    """Return the rows that are measured block by block: row_id and position in the pool.

    These are the kept rows and those that a stage dropped for what the example sets hold. Without the
    latter, blocks would be others for every eval set, and measured anew. Where fewer rows are kept
    than the stages left (in a cascade), it is the kept ones.
    """
    stages = dict(run.evidence)
    if run.execute(kept_step(run.rows, list(stages.values()))).key != run.kept.key:
        return run.kept
    lasting = [a for name, a in stages.items() if not _reads_examples(name)]
    return run.execute(kept_step(run.rows, lasting))


def _reads_examples(stage: str) -> bool:
    """Return whether a stage's verdicts depend on example sets; those of the template do not."""
    kind = stage.split("-")[0]
    return kind != TEMPLATE and bool(find_stage(kind).uses)


def measured_positions(run: ScoreRun) -> NDArray[np.int64]:
    """Return the pool positions, ascending, of the rows that are measured."""
    positions: NDArray[np.int64] = read_table(measured(run).file("kept.parquet"))[
        "position"
    ].to_numpy()
    return positions


def kept_among(inputs: Mapping[str, Artifact]) -> NDArray[np.bool_]:
    """Return which of the `measured` rows are `kept`, in pool order."""
    ids = read_table(inputs["kept"].file("kept.parquet"))["row_id"]
    if "measured" not in inputs:
        return np.ones(len(ids), dtype=np.bool_)
    rows = read_table(inputs["measured"].file("kept.parquet"))["row_id"]
    return rows.is_in(ids.implode()).to_numpy()


def index_steps(run: ScoreRun, max_length: int) -> list[Step]:
    """Return one step for each block of measured rows, in pool order."""
    return encode_steps(run, run.rows, measured_positions(run), max_length)


def encode_steps(
    run: StepRun, rows: Artifact, positions: NDArray[np.int64], max_length: int
) -> list[Step]:
    """Return one step for each block of the rows at ascending positions; each writes vectors.npy."""
    path = rows.file("rows.parquet")
    blocks = blocks_of(positions, rows.counts["rows_out"], SMALLEST_BLOCK)
    return [_block_step(run, path, block, max_length) for block in blocks]


def blocks_of(positions: NDArray[np.int64], total: int, smallest: int) -> list[list[int]]:
    """Return ascending pool positions in blocks.

    Blocks are ranges of pool positions: an edited row leaves the other blocks as they were. Their
    number is bounded, since each is a task of its own to the orchestrator.

    Args:
        positions: of the rows wanted.
        total: rows in the pool.
        smallest: pool rows that a block spans at least.
    """
    size = smallest
    while total > size * MOST_BLOCKS:
        size *= 2
    parts = np.split(positions, np.flatnonzero(np.diff(positions // size)) + 1)
    return [part.tolist() for part in parts if len(part)]


def target_step(run: ScoreRun, max_length: int) -> Step:
    """Return the step that encodes the target examples."""
    if run.target is None:
        raise ValueError("an index of the target needs target examples")
    rows = run.target.file("rows.parquet")
    positions = list(range(run.target.counts["rows_out"]))
    return _block_step(run, rows, positions, max_length)


def _block_step(run: StepRun, rows: Path, positions: list[int], max_length: int) -> Step:
    return Step(
        "index",
        lm.VERSION,
        lm.encode_block,
        params={
            "texts": digest_of(lm.read_block(rows, positions)),
            "model": run.model_identity(),
            "max_length": max_length,
            "batch_tokens": lm.BATCH_TOKENS,
        },
        runtime={**run.model_runtime(), "rows": str(rows), "positions": positions},
    )


def read_vectors(blocks: Sequence[Artifact]) -> NDArray[np.float32]:
    """Return the vectors of all blocks as one array [N, d], in order; [0, 0] if there is none."""
    parts = [np.load(b.file("vectors.npy"), allow_pickle=False) for b in blocks]
    return np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)


def named(blocks: Sequence[Artifact]) -> Mapping[str, Artifact]:
    """Return blocks under names whose order is theirs, as inputs of a step."""
    return {f"{BLOCK}{i:05d}": block for i, block in enumerate(blocks)}


def read_blocks(inputs: Mapping[str, Artifact]) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors [n, d] of the kept rows of each block that a step was given, in pool order."""
    kept_mask, start = kept_among(inputs), 0
    for name in sorted(name for name in inputs if name.startswith(BLOCK)):
        block = np.load(inputs[name].file("vectors.npy"), mmap_mode="r", allow_pickle=False)
        yield block[kept_mask[start : start + len(block)]]
        start += len(block)
