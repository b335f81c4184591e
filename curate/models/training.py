"""Train LoRA adapters on rows: batches, gradients, schedule of the learning rate."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from curate.core.calls import Table
from curate.core.digests import digest_of
from curate.core.lazy import lazy_module
from curate.core.meter import Meter, current_meter
from curate.core.rows import Message
from curate.core.store import Artifact
from curate.core.turntext import CONVERSATION, conversations
from curate.models.activations import checkpointed
from curate.models.batches import device_tokens, in_batches
from curate.models.chat import IGNORED, TokenizedExample
from curate.models.head import HEAD_TOKENS, SplitModel, slices, split_model
from curate.models.lora import add_adapters, attach_adapter
from curate.models.lora_values import TuningValues

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel
else:
    torch = lazy_module("torch")

WARMUP = 0.05
# Of a part of a training batch, whose activations are kept for the backward pass.
TRAINING_TOKENS = 1_024

E = TypeVar("E")
# Adds the gradient of a batch's loss; returns that loss, None without anything to learn.
Accumulate = Callable[[SplitModel, Sequence[E]], float | None]


@dataclass(frozen=True)
class TrainingRows:
    """Rows to train on, in their order, identified by their exact texts; an id may come twice."""

    identity: str
    tables: Sequence[Table]
    row_ids: Sequence[str]

    @property
    def reads(self) -> list[Artifact]:
        """Return the artifacts of the tables."""
        return [table.artifact for table in self.tables]

    def messages(self) -> list[list[Message]]:
        """Return the messages of the rows, in their order."""
        return read_messages(self.tables, self.row_ids)


def training_rows(tables: Sequence[Table], row_ids: Sequence[str]) -> TrainingRows:
    """Return the rows with these ids, of tables that share none."""
    return TrainingRows(digest_of(read_messages(tables, row_ids)), tables, row_ids)


def read_messages(tables: Sequence[Table], row_ids: Sequence[str]) -> list[list[Message]]:
    """Return the messages of rows of tables that share no id, in the order of the ids."""
    ordered = pl.LazyFrame({"row_id": list(row_ids)}, schema={"row_id": pl.String})
    turns = pl.concat(table.scan().select("row_id", *CONVERSATION) for table in tables)
    joined = ordered.join(turns, on="row_id", how="left", maintain_order="left").collect()
    return conversations(joined)


def train_lora(
    model: "PreTrainedModel",
    examples: Sequence[TokenizedExample],
    lora: TuningValues,
    seed: Sequence[int],
    start: Path | None = None,
) -> list[float]:
    """Tune the model in place with LoRA adapters; return the loss of every step.

    Adapter weights and the order of rows come from the seed alone, so two arms with the same seed
    start from the same adapter. `start` holds the weights of an earlier fine-tune to go on from.
    """
    if start is not None:
        return tune_adapters(attach_adapter(model, start), examples, lora, seed)
    return tune_adapters(add_adapters(model, lora, "all-linear", seed), examples, lora, seed)


def tune_adapters(
    tuned: Any, examples: Sequence[TokenizedExample], lora: TuningValues, seed: Sequence[int]
) -> list[float]:
    """Tune a model's adapters on responses; return the loss of every step.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    return tune_by(tuned, examples, lora, seed, accumulate_gradients)


def tune_by(
    tuned: Any,
    rows: Sequence[E],
    lora: TuningValues,
    seed: Sequence[int],
    accumulate: Accumulate[E],
) -> list[float]:
    """Tune a model's adapters by the gradients of a loss; return the loss of every step.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    batches = list(training_batches(rows, lora, seed))
    warmup = max(1, round(WARMUP * len(batches)))
    losses = []
    for step in training_steps(tuned, batches, accumulate, lora["learning_rate"], warmup):
        losses.append(step.loss)
        if not math.isfinite(step.loss):
            raise FloatingPointError(
                f"the loss of step {len(losses)} is not finite; lower prove.lora.learning_rate"
            )
    tuned.eval()
    return losses


@dataclass(frozen=True)
class TrainingStep:
    """An optimizer step that was made: its loss, its learning rate, and the optimizer after it."""

    loss: float
    rate: float
    optimizer: "torch.optim.Optimizer"


def training_steps(
    tuned: Any,
    batches: Sequence[Sequence[E]],
    accumulate: Accumulate[E],
    learning_rate: float,
    warmup: int,
) -> Iterator[TrainingStep]:
    """Train what is trainable with AdamW, a step a batch; batches without labels are passed over.

    Args:
        tuned: left in training mode.
        batches: all of them; their number is the length of the schedule.
        accumulate: adds the gradient of a batch.
        learning_rate: the highest one.
        warmup: steps until it is reached.
    """
    weights = [p for p in tuned.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: linear_rate(step, len(batches), warmup)
    )
    split, meter = split_model(tuned), current_meter()
    meter.expect(len(batches), "training steps")
    tuned.train()
    for batch in batches:
        loss = accumulate(split, batch)
        meter.advance()
        if loss is None:
            continue
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        yield TrainingStep(loss, rate, optimizer)


def linear_rate(step: int, steps: int, warmup: int) -> float:
    """Return the share of the highest learning rate at a step from 0: up to it, then down to zero."""
    return min((step + 1) / warmup, (steps - step) / max(steps - warmup, 1))


def accumulate_gradients(model: SplitModel, batch: Sequence[TokenizedExample]) -> float | None:
    """Add the gradient of the batch's mean token loss; return that loss, None without labels.

    The batch goes through the model in parts of similar length, so that one long row does not pad
    all the others; the parts' sums over the labels of the whole batch make the same gradient. A part
    that memory is too small for adds nothing, and is halved.
    """
    labels = sum(token != IGNORED for example in batch for token in example.labels[1:])
    if not labels:
        return None
    losses: list[float] = []

    def work(part: list[int], _: int) -> None:
        rows = [batch[i] for i in part if any(token != IGNORED for token in batch[i].labels[1:])]
        if rows:
            losses.append(_backward(model, rows, labels))

    # The step's meter counts steps of training, not the parts of one.
    in_batches([len(e.ids) for e in batch], device_tokens(TRAINING_TOKENS), work, Meter())
    return sum(losses, start=0.0)


def _backward(model: SplitModel, rows: Sequence[TokenizedExample], labels: int) -> float:
    """Add the gradient of the sum of the rows' token losses over `labels`; return that share.

    The gradient of the states is made in slices, each with its logits; it flows back all at once.
    """
    tokens = len(rows) * max(len(row.ids) for row in rows)
    with checkpointed(model.model, tokens):
        states, following, _ = response_states(model, rows)
    total, pulls = 0.0, []
    for part, gold in zip(
        slices(states.detach(), HEAD_TOKENS), slices(following, HEAD_TOKENS), strict=True
    ):
        part.requires_grad_()
        losses = torch.nn.functional.cross_entropy(model.logits(part), gold, reduction="sum")
        loss = losses / labels
        (pull,) = torch.autograd.grad(loss, part)
        pulls.append(pull)
        total += loss.item()
    add_gradients(model, states, torch.cat(pulls))
    return total


def add_gradients(model: SplitModel, states: "torch.Tensor", pulls: "torch.Tensor") -> None:
    """Add to the weights' gradients all at once, so that a failure leaves none of a part behind."""
    weights = [p for p in model.model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(states, weights, pulls, allow_unused=True)
    for weight, gradient in zip(weights, gradients, strict=True):
        if gradient is not None:
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)


def training_batches(
    examples: Sequence[E], lora: TuningValues, seed: Sequence[int]
) -> Iterator[list[E]]:
    """Yield batches of `batch_rows` rows for `epochs` epochs, each in an order of its own."""
    rng = np.random.default_rng([*seed, 0x0EDE2])
    for _ in range(lora["epochs"]):
        order = rng.permutation(len(examples))
        for start in range(0, len(order), lora["batch_rows"]):
            yield [examples[i] for i in order[start : start + lora["batch_rows"]]]


def pad_batch(
    batch: Sequence[TokenizedExample], padded: int | None = None
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return token ids [B, T], padded on the right, and what follows each position [B, T - 1].

    T is the longest row's length if it is not given. What follows is IGNORED where it is no response
    token.
    """
    longest = padded or max(len(example.ids) for example in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)
    labels = torch.full((len(batch), longest), IGNORED)
    for k, example in enumerate(batch):
        ids[k, : len(example.ids)] = torch.tensor(example.ids)
        labels[k, : len(example.labels)] = torch.tensor(example.labels)
    return ids, labels[:, 1:]


def response_states(
    model: SplitModel, batch: Sequence[TokenizedExample], padded: int | None = None
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """Return the state before every response token [M, ...], the token, and its row's number."""
    ids, following = (part.to(model.model.device) for part in pad_batch(batch, padded))
    labelled = following != IGNORED
    return model.states(ids, labelled), following[labelled], labelled.nonzero()[:, 0]
