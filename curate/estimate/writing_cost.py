"""How long it takes a model to write answers to eval examples, from timing a few tokens of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.core.lazy import lazy_module
from curate.core.rows import Message, response_text
from curate.estimate.pace import Range, measure_pace
from curate.models.acceptance import accepted_messages
from curate.models.chat import tokenise
from curate.models.control import text_ids
from curate.models.decoding import BATCH_TOKENS, DecodingBatch
from curate.models.load import choose_dtype, find_model, load_causal, load_tokenizer, prepare
from curate.proof.written import longest_answer

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

STEPS = 8
PROBE_SECONDS = 1.5


@dataclass(frozen=True)
class WritingCost:
    """Of one model: examples, the most tokens of an answer, those of all, and seconds."""

    examples: int
    limit: int
    tokens: int
    seconds: Range


def writing_cost(
    drawn: Sequence[Sequence[Message]],
    *,
    model: str,
    dtype: str,
    trust: bool = False,
    system: str = "drop_row",
) -> WritingCost:
    """Return what it costs one model to answer eval examples, prompts included.

    Args:
        drawn: the examples that are answered.
        model: its name.
        dtype: in which it computes.
        trust: run code that comes with the model.
        system: "merge" if a system turn that its template refuses is merged.
    """
    folder = prepare(find_model(model))
    tokenizer = load_tokenizer(folder, trust)
    limit = longest_answer(tokenizer, drawn)
    references = [len(ids) for ids in text_ids(tokenizer, [response_text(row) for row in drawn])]
    taken = (accepted_messages(tokenizer, row, system) for row in drawn)
    prompts = tokenise(tokenizer, [row for row in taken if row is not None], None)
    longest = max(map(len, prompts), default=1)
    together = min(max(BATCH_TOKENS // (longest + limit), 1), len(drawn))
    causal = load_causal(folder, choose_dtype(dtype), trust).eval()
    step, reading = _paces(causal, together, longest)
    batches = -(-len(drawn) // together)
    # A batch goes on until its last answer ends; that of a model that follows the references, sooner.
    length = Range(float(np.mean(references)), limit, limit)
    seconds = (step * length + reading) * batches
    return WritingCost(len(drawn), limit, len(drawn) * limit, seconds)


def _paces(model: Any, rows: int, prompt: int) -> tuple[Range, Range]:
    """Return seconds of a token for so many rows at once, and of the pass over their prompts."""
    ids = torch.randint(0, model.config.vocab_size, (rows, prompt)).tolist()
    with torch.inference_mode():
        # The pass that is timed is the one whose state the tokens follow.
        batches: list[DecodingBatch] = []
        reading = measure_pace([(1.0, lambda: batches.append(DecodingBatch(model, ids)))])
        (batch,) = batches
        everyone: Sequence[int] = range(rows)
        work = partial(batch.advance, everyone, [0] * rows)
        return measure_pace([(1.0, work)] * STEPS, seconds=PROBE_SECONDS), reading
