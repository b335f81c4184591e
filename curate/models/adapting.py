"""Adapt a scoring checkpoint to labelled rows: a brief tuning of all of its weights.

    one output      (score - 1)^2 of right rows, score^2 of wrong ones
    several         cross-entropy of the label's probability against right and wrong

AdamW, one line up over a tenth of the steps and one down to zero, batches of 16 rows in an order drawn
by the seed, no dropout. What is written is a checkpoint like any other.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.core.calls import cached_files
from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.lazy import lazy_module
from curate.core.meter import current_meter
from curate.core.store import Counts
from curate.core.wants import ONE_GPU
from curate.models.ratings import (
    encode_pairs,
    load_classifier,
    longest_input,
    pad_pairs,
    split_turns,
)
from curate.models.training import TrainingRows, linear_rate

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding
    from transformers import PreTrainedModel
else:
    torch = lazy_module("torch")

VERSION = 1
BATCH_ROWS = 16
WARMUP = 0.1


@cached_files(
    version=VERSION,
    name="adapt-scorer",
    title="Tune the scoring model on the labels",
    wants=ONE_GPU,
)
def adapt(
    out: Path,
    texts: TrainingRows,
    right: Sequence[bool],
    model: ModelSource,
    output: int | None,
    max_length: int,
    epochs: int,
    learning_rate: float,
    seed: int,
) -> Counts:
    """Write the tuned checkpoint.

    Raises:
        UserError: the tuning diverges.
    """
    # A copy of its own: what is tuned must not be what others read.
    load_classifier.cache_clear()
    classifier, tokenizer = load_classifier(model.folder, digest_of(model.identity))
    load_classifier.cache_clear()
    limit = longest_input(classifier, tokenizer, max_length)
    pairs = encode_pairs(tokenizer, [split_turns(row) for row in texts.messages()], limit)
    typed = "token_type_ids" in tokenizer.model_input_names
    order = np.random.default_rng(seed)
    batches = [
        batch
        for _ in range(epochs)
        for batch in np.array_split(
            order.permutation(len(pairs)), math.ceil(len(pairs) / BATCH_ROWS)
        )
    ]
    goals = torch.tensor(list(right), dtype=torch.float32, device=classifier.device)
    losses = _tune(classifier, pairs, goals, batches, output, learning_rate, typed=typed)
    classifier.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return {"rows_in": len(pairs), "rows_out": len(pairs), "train_loss": losses}


def _tune(
    classifier: "PreTrainedModel",
    pairs: "Sequence[Encoding]",
    goals: "torch.Tensor",
    batches: Sequence[Any],
    output: int | None,
    learning_rate: float,
    *,
    typed: bool,
) -> list[float]:
    """Tune a classifier in place, without dropout; return the loss of each step."""
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate, weight_decay=0.0)
    warmup = max(1, round(WARMUP * len(batches)))
    meter, losses = current_meter(), []
    meter.expect(len(batches), "training steps")
    for step, batch in enumerate(batches):
        chosen = [pairs[i] for i in batch]
        padded = max(len(pair.ids) for pair in chosen)
        logits = classifier(**pad_pairs(classifier, chosen, padded, typed=typed)).logits.float()
        loss = _loss(logits, goals[list(batch)], output, classifier.config.problem_type)
        if not torch.isfinite(loss):
            raise UserError("the tuning on the labels diverged; lower adapt.learning_rate")
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * linear_rate(step, len(batches), warmup)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(round(float(loss.detach()), 4))
        meter.advance()
    return losses


def _loss(
    logits: "torch.Tensor", goals: "torch.Tensor", output: int | None, problem: str | None
) -> "torch.Tensor":
    if output is None:
        return torch.nn.functional.mse_loss(logits[:, 0], goals)
    if problem == "multi_label_classification":
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[:, output], goals)
    others = torch.cat([logits[:, :output], logits[:, output + 1 :]], dim=1).logsumexp(dim=1)
    # The log-odds of the label under the softmax.
    odds = logits[:, output] - others
    return torch.nn.functional.binary_cross_entropy_with_logits(odds, goals)
