"""Which rows the base model passes over, and what is taken from a pass: shared by a recipe's methods.

    confidence (response)  perplexity (all)  ifd (response)  rds (vectors)       of rows cut alike
    one pass with the heads `all` and `vectors`

A method asks for one head. A pass that is stored and has it is taken, whatever else it has; else one is
made with all that the recipe's methods take from rows cut at that length. So a recipe that loses one of
them measures nothing anew.

The rows of a pass are the kept ones and those that a stage dropped for what the example sets hold.
Without the latter, blocks would be others for every eval set, and measured anew. Where a stage has made
the pass, they are the rows that it read. Where fewer rows are kept than the stages left (in a cascade),
they are the kept ones, for which only what the method takes is measured.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.core.calls import CachedCall, Table
from curate.core.keyed import ModelSource
from curate.core.ledger import kept_rows
from curate.core.methods import find_method
from curate.core.run import ScoreRun, StepRun
from curate.core.stage import Stage
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact
from curate.core.workload import PassHead
from curate.models.blocks import RowBlock, row_blocks
from curate.models.index import kept_among, vectors
from curate.models.lm import pass_tokens
from curate.models.losses import write_alone, write_losses
from curate.models.refusals import NAME as TEMPLATE

Heads = Collection[PassHead]
VECTORS: tuple[PassHead, ...] = ("vectors",)
# What a pass can take, the least first; `all` takes the losses of responses too.
COMBINATIONS: tuple[tuple[PassHead, ...], ...] = (
    ("vectors",), ("response",), ("response", "vectors"), ("all",), ("all", "vectors"),
)  # fmt: skip


@dataclass(frozen=True)
class PoolPass:
    """A pass over rows of the pool: which rows, and what it gave, block by block."""

    measured: Table
    blocks: list[Artifact]

    @property
    def vectors(self) -> list[Table]:
        """Return the vectors of each block."""
        return [Table(block, "vectors") for block in self.blocks]


def pool_pass(run: ScoreRun, head: PassHead, max_length: int) -> PoolPass:
    """Return a pass of the base model over a run's rows that gives what a method takes."""
    rows, heads = _shared_rows(run, head, max_length)
    return PoolPass(rows, _pass_over(run, _blocks(run, rows), head, heads, max_length))


def pass_of(
    run: ScoreRun, model: ModelSource, max_length: int, adapter: Artifact | None = None
) -> PoolPass:
    """Return the losses of responses under another model, or under the base with an adapter."""
    rows = measured(run)
    tokens = pass_tokens()
    blocks = run.map(
        write_losses, _blocks(run, rows), model, ["response"], max_length, tokens, adapter
    )
    return PoolPass(rows, blocks)


def alone_pass(run: ScoreRun, model: ModelSource, max_length: int, rows: Table) -> list[Artifact]:
    """Return the losses of responses alone, for the same rows as another pass, block by block."""
    return run.map(write_alone, _blocks(run, rows), model, max_length, pass_tokens())


def response_losses(run: StepRun, rows: Table, max_length: int) -> list[Artifact]:
    """Return the base model's losses on the responses of all rows of a table, block by block."""
    blocks = row_blocks(run, rows, np.arange(rows.height))
    return _pass_over(run, blocks, "response", {"response"}, max_length)


def survivor_losses(
    run: StepRun, data: StageInputs, head: PassHead, max_length: int
) -> list[Artifact]:
    """Return the base model's losses on the rows that a stage judges, block by block."""
    blocks = row_blocks(run, data.rows, data.positions())
    heads = {head, *run.shared_pass(max_length).heads}
    return _pass_over(run, blocks, head, heads, max_length)


def survivor_alone(run: StepRun, data: StageInputs, max_length: int) -> list[Artifact]:
    """Return the losses of these rows' responses without their prompts, block by block."""
    blocks = row_blocks(run, data.rows, data.positions())
    return run.map(write_alone, blocks, run.base, max_length, pass_tokens())


def index_rows(
    run: StepRun, rows: Table, positions: NDArray[np.int64], max_length: int
) -> list[Table]:
    """Return the vectors of each block of the rows at ascending positions."""
    blocks = row_blocks(run, rows, positions)
    return PoolPass(rows, _pass_over(run, blocks, "vectors", VECTORS, max_length)).vectors


def _pass_over(
    run: StepRun, blocks: Sequence[RowBlock], head: PassHead, heads: Heads, max_length: int
) -> list[Artifact]:
    """Return for each block a stored pass that has a head, or one that is made with these heads."""
    base, (least, *more) = run.base, _containing({head})
    fresh, calls = _containing(heads)[0], []
    for block in blocks:
        several = [_call(block, base, one, max_length) for one in (least, *more)]
        stored = next((call for call in several if run.is_stored(call)), None)
        calls.append(stored or _call(block, base, fresh, max_length))
    return run.execute_all(calls)


def _containing(heads: Heads) -> list[tuple[PassHead, ...]]:
    """Return the combinations that give all of some heads, the least first."""
    given = {"all": {"all", "response"}, "response": {"response"}, "vectors": {"vectors"}}
    return [one for one in COMBINATIONS if set(heads) <= set().union(*(given[h] for h in one))]


def _call(
    block: RowBlock, model: ModelSource, heads: Sequence[PassHead], max_length: int
) -> CachedCall[Any]:
    tokens = pass_tokens()
    if tuple(heads) == VECTORS:
        return vectors.call(block, model, max_length, tokens)
    return write_losses.call(block, model, list(heads), max_length, tokens)


def _shared_rows(run: ScoreRun, head: PassHead, max_length: int) -> tuple[Table, Heads]:
    """Return the rows of the pass that a method shares, and what is taken from it."""
    shared = run.shared_pass(max_length)
    if head in shared.heads and shared.stage is not None and shared.stage in run.evidence:
        names = list(run.evidence)
        stages = names[: names.index(shared.stage)]
        # Rows that later stages made, and that the template refuses.
        stages += [name for name in names if name not in stages and _kind(name) == TEMPLATE]
        rows = kept_rows(run, run.rows, [run.evidence[name] for name in stages])
        if kept_among(rows, run.kept).sum() == run.kept.height:
            return rows, shared.heads
    if head in shared.heads and not is_reduced(run):
        return measured(run), shared.heads
    return measured(run), {head}


def measured(run: ScoreRun) -> Table:
    """Return the rows of a pass that no stage has made: row_id and position in the pool."""
    if is_reduced(run):
        return run.kept
    lasting = [table for name, table in run.evidence.items() if not _reads_examples(name)]
    return kept_rows(run, run.rows, lasting)


def is_reduced(run: ScoreRun) -> bool:
    """Return whether fewer rows are kept than the stages left."""
    left = kept_rows(run, run.rows, list(run.evidence.values()))
    return left.artifact.key != run.kept.artifact.key


def _reads_examples(stage: str) -> bool:
    """Return whether a stage's verdicts depend on example sets; those of the template do not."""
    return _kind(stage) != TEMPLATE and bool(find_method(Stage, _kind(stage)).uses)


def _kind(stage: str) -> str:
    return stage.split("-")[0]


def _blocks(run: ScoreRun, rows: Table) -> list[RowBlock]:
    positions: NDArray[np.int64] = rows.read(["position"])["position"].to_numpy()
    return row_blocks(run, run.rows, positions)
