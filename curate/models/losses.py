"""The language model's losses on rows: sums and counts of token losses, in blocks reused by content.

    response_sum | response_tokens | response_worst | response_entropy      head "response"
    all_sum | all_tokens                                                    besides, head "all"
    alone_sum | alone_tokens                                                losses-alone

`response` is what the assistant says, end marker included, given everything before it: the sum of the
losses of its tokens, the largest of them (0 without tokens), and the sum of the entropies, in nats, of
the distributions that they were predicted from. `all` is every token of the rendered row but the first,
which nothing predicts. `alone` is the response without the conversation before it
(curate.models.unprompted).

One pass gives the first six, and the vectors of curate.models.lm with them (vectors.npy, head
"vectors"): see curate.models.forward. Which heads a pass takes is that of curate.models.passes.

A model that a method alone reads with may refuse rows in its chat template that the base model takes:
these have no tokens here, and unread.parquet says why.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from curate.core.calls import Table, cached_files
from curate.core.digests import digest_of
from curate.core.keyed import ModelSource
from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.core.run import StepRun
from curate.core.store import Artifact, Counts
from curate.core.tables import read_table
from curate.core.wants import ONE_GPU
from curate.core.workload import PassHead
from curate.models.acceptance import find_fault
from curate.models.blocks import RowBlock
from curate.models.chat import TokenizedExample, build_example
from curate.models.forward import forward
from curate.models.index import kept_among
from curate.models.load import find_model, load_tokenizer
from curate.models.lora import attach_adapter
from curate.models.modelsource import model_source
from curate.models.unprompted import sum_alone
from curate.models.weights import adaptable_model, shared_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

VERSION = 2
UNREAD = "unread.parquet"
WORDS = {
    Reason.TEMPLATE_REFUSED: "the chat template of the method's model refuses it",
    Reason.TEMPLATE_REWRITTEN: "the chat template of the method's model rewrites it",
}
LossKind = Literal["response", "all", "alone"]


def named_model(run: StepRun, name: str) -> ModelSource:
    """Return another model by name, folder or hub id, in the dtype of the run's base.

    Raises:
        UserError: there is no such model.
    """
    location = find_model(name)
    # The rows are those that the base model's template takes; this one's may refuse some.
    return model_source(location, run.base.dtype, run.base.trust, judges=True)


def read_losses(blocks: Sequence[Artifact], measured: Table, kept: Table) -> pl.DataFrame:
    """Return the losses of the kept rows as one table, in pool order.

    Args:
        blocks: of the measured rows.
        measured: the rows of the blocks.
        kept: the rows among them to return.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    return check_finite(join_losses(blocks).filter(pl.Series(kept_among(measured, kept))))


def join_losses(blocks: Sequence[Artifact]) -> pl.DataFrame:
    """Return the losses of all rows of blocks, in their order."""
    return pl.concat([read_table(block.file("losses.parquet")) for block in blocks])


def read_faults(blocks: Sequence[Artifact], measured: Table, kept: Table) -> pl.Series:
    """Return why the model could not read each kept row, in pool order; null for one that it did."""
    reasons: list[str | None] = []
    for block in blocks:
        own: list[str | None] = [None] * block.counts["rows_out"]
        if UNREAD in block.files:
            for number, reason in read_table(block.file(UNREAD)).iter_rows():
                own[number] = reason
        reasons += own
    unread = pl.Series("unread", reasons, dtype=pl.String)
    return unread.filter(pl.Series(kept_among(measured, kept)))


def check_finite(table: pl.DataFrame) -> pl.DataFrame:
    """Return the losses as they are.

    Raises:
        FloatingPointError: one of them is not finite.
    """
    if not np.isfinite(table.to_numpy()).all():
        raise FloatingPointError("a loss is not finite; try models.dtype: float32")
    return table


def mean_loss(table: pl.DataFrame, what: LossKind) -> pl.Series:
    """Return nats per token; null where a row has no such token within the length limit."""
    counted = pl.col(f"{what}_tokens")
    mean = pl.when(counted > 0).then(pl.col(f"{what}_sum") / counted)
    return table.select(mean.alias(what)).to_series()


@cached_files(version=VERSION, name="losses", title="Measure the model's losses", wants=ONE_GPU)
def write_losses(
    out: Path,
    texts: RowBlock,
    model: ModelSource,
    heads: Sequence[PassHead],
    max_length: int,
    batch_tokens: int,
    adapter: Artifact | None = None,
) -> Counts:
    """Write what one pass over a block of rows gives, in their order.

    That is losses.parquet; vectors.npy, for the head `vectors`; and unread.parquet if it must be.
    """
    rows = _read_examples(out, texts, model, max_length)
    result = forward(_load_with(model, adapter), rows, heads, batch_tokens)
    result.table.write_parquet(out / "losses.parquet")
    if result.vectors is not None:
        np.save(out / "vectors.npy", result.vectors, allow_pickle=False)
    return {"rows_in": len(rows), "rows_out": len(rows), "tokens": sum(len(r.ids) for r in rows)}


@cached_files(
    version=VERSION,
    name="losses-alone",
    title="Measure the model's losses without prompts",
    wants=ONE_GPU,
)
def write_alone(
    out: Path, texts: RowBlock, model: ModelSource, max_length: int, batch_tokens: int
) -> Counts:
    """Write losses.parquet of responses on their own: one block of rows, in their order."""
    rows = _read_examples(out, texts, model, max_length)
    tokenizer = load_tokenizer(model.folder, model.trust)
    table, tokens = sum_alone(_load_with(model), tokenizer, rows, batch_tokens)
    table.write_parquet(out / "losses.parquet")
    return {"rows_in": len(rows), "rows_out": len(rows), "tokens": tokens}


def _read_examples(
    out: Path, texts: RowBlock, model: ModelSource, max_length: int
) -> list[TokenizedExample]:
    """Return a block's rows as token ids and labels; write why some are empty, if they are."""
    tokenizer = load_tokenizer(model.folder, model.trust)
    messages = texts.messages()
    unread = _unread(tokenizer, messages) if model.judges else {}
    if unread:
        reasons = {"number": list(unread), "reason": list(unread.values())}
        pl.DataFrame(reasons).write_parquet(out / UNREAD)
    return [
        TokenizedExample([], []) if number in unread else build_example(tokenizer, row, max_length)
        for number, row in enumerate(messages)
    ]


def _load_with(model: ModelSource, adapter: Artifact | None = None) -> "PreTrainedModel":
    """Return a model to read with, an adapter's weights on it."""
    if adapter is None:
        return shared_model(model.folder, model.dtype, model.trust)
    digest = digest_of([model.identity, adapter.digest])
    path = adapter.file("adapter.safetensors")
    return _load(model.folder, model.dtype, model.trust, path, digest)


def _unread(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[Message]]
) -> dict[int, str]:
    """Return why the chat template does not take rows, by their number."""
    faults = {number: find_fault(tokenizer, row) for number, row in enumerate(rows)}
    return {number: f"{WORDS[fault[0]]}: {fault[1]}" for number, fault in faults.items() if fault}


@lru_cache(maxsize=1)
def _load(folder: Path, dtype: str, trust: bool, adapter: Path, digest: str) -> "PreTrainedModel":
    model: PreTrainedModel = adaptable_model(folder, dtype, trust)
    attach_adapter(model, adapter)
    return model.eval()
