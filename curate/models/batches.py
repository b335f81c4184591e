"""Batches of rows of similar length: larger on a GPU, halved where memory is too small.

A batch is so many tokens, padding among them. How many depends on the kind of device alone, which is in
the key of every step that runs a model, and not on the memory that happens to be free, since a row's
numbers depend in their last digits on the length that it is padded to.

Whether a batch fits is tried. One that does not is worked off in halves, which are padded to the length
of the whole. A row's numbers may differ in the last digits then, where a library chooses another product
for fewer rows.
"""

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import psutil

from curate.core.errors import UserError
from curate.core.lazy import lazy_module
from curate.core.meter import Meter, current_meter
from curate.models.load import device, kernels

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

LOG = logging.getLogger("curate")
# How many times the tokens of a processor's batch go through a GPU at once.
GPU_BATCHES = 8
# Called with numbers of rows and the length to pad them to; a second call on some of them does no harm.
BatchWork = Callable[[list[int], int], None]


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield row numbers in batches of similar length, at most batch_tokens with padding each."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[i] > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def device_tokens(processor_tokens: int) -> int:
    """Return the tokens of a batch here, from those of a processor's batch."""
    return processor_tokens * GPU_BATCHES if device() == "cuda" else processor_tokens


def in_batches(
    lengths: Sequence[int], batch_tokens: int, work: BatchWork, meter: Meter | None = None
) -> None:
    """Work off rows in batches of similar length; those that memory is too small for, in halves.

    Args:
        lengths: of the rows, in tokens.
        batch_tokens: of a batch at most, padding among them; a longer row goes alone.
        work: called with the rows of a batch, the longest last, and the length to pad them to.
        meter: counts the rows; that of the step at work if None.

    Raises:
        UserError: memory is too small for a single row.
    """
    meter = current_meter() if meter is None else meter
    meter.expect(len(lengths), "rows")
    room = batch_tokens
    for batch in batches_by_length(lengths, batch_tokens):
        padded = lengths[batch[-1]]
        parts = [batch]
        while parts:
            part = parts.pop()
            if (len(part) == 1 or len(part) * padded <= room) and fits(work, part, padded):
                meter.advance(len(part))
                continue
            if len(part) == 1:
                raise UserError(row_too_long(padded))
            half = len(part) // 2
            room = min(room, half * padded)
            parts += [part[half:], part[:half]]


def fits(work: Callable[..., object], *arguments: object) -> bool:
    """Do some work; return whether memory was enough for it, and if not, give back what it took."""
    try:
        work(*arguments)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        LOG.info("memory of %s: too small for a batch, which is halved (%s)", kernels(), error)
    else:
        return True
    # Behind the handler, whose exception held the tensors of the batch; a model that was fine-tuned
    # before lies in cycles of references.
    gc.collect()
    if device() == "cuda":
        torch.cuda.empty_cache()
    return False


def free_bytes() -> int:
    """Return the free memory of the device, that which torch keeps for itself among it."""
    if device() == "cuda":
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + kept
    return int(psutil.virtual_memory().available)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch says that memory is used up, on a GPU or here."""
    message = str(error).lower()
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "out of memory" in message
        or "can't allocate memory" in message
        or "not enough memory" in message
    )


def row_too_long(tokens: int) -> str:
    """Return the sentence for a row that memory is too small for."""
    return (
        f"there is not enough memory on this processor ({kernels()}) for a single row of {tokens:,} "
        "tokens; lower the max_length that the recipe gives, or use a smaller model or models.dtype: "
        "bfloat16"
    )
