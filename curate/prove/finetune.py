"""A brief LoRA fine-tune and the losses of the tuned model on the eval set.

LoRA: Hu et al. 2021, arXiv:2106.09685, on all linear layers, AdamW, linear decay after a warm-up of
5 % of the steps, no dropout, loss on the responses only.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.prove.activations import checkpointed
from curate.represent.chat import IGNORED, TokenizedExample
from curate.represent.head import HEAD_TOKENS, SplitModel, slices, split_model
from curate.represent.lm import batches_by_length
from curate.store import Artifact, Counts, Step
from curate.tables import scan_table

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

VERSION = 5
WARMUP = 0.05
BATCH_TOKENS = 2_048
RESULTS: dict[str, Any] = {"loss": pl.Float64, "exact": pl.Boolean, "response_tokens": pl.Int64}
ANSWER_RESULTS: dict[str, Any] = {
    "answer_loss": pl.Float64,
    "answer_tokens": pl.Int64,
    "rest_loss": pl.Float64,
}
# Of a part of a training batch, whose activations are kept for the backward pass.
TRAINING_TOKENS = 1_024


def finetune_step(
    row_ids: Sequence[str],
    texts: str,
    *,
    lora: Mapping[str, Any],
    seed: Sequence[int],
    identity: Mapping[str, Any],
    runtime: Mapping[str, Any],
    start: Artifact | None = None,
) -> Step:
    """Return the step that tunes on these rows; its key knows neither target nor eval set.

    `texts` is a digest of the rows' exact texts in order. `start` is a fine-tune to go on from.
    """
    return Step(
        "finetune",
        VERSION,
        finetune,
        {"start": start} if start else {},
        {"texts": texts, "lora": dict(lora), "seed": list(seed), "model": dict(identity)},
        {**runtime, "row_ids": list(row_ids)},
    )


def finetune(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write adapter.safetensors: the LoRA weights; none without a response to learn from."""
    from curate.prove.adapter import ADAPTER, learn_adapter

    first = inputs.get("start")
    start = first.file(ADAPTER) if first and ADAPTER in first.files else None
    return learn_adapter(out / ADAPTER, params, runtime, params["seed"], start)


def read_messages(rows: Path | Sequence[Path], row_ids: Sequence[str]) -> list[list[Any]]:
    """Return the messages of these rows, in the order of the ids.

    Args:
        rows: one table of rows or several, which share no id.
        row_ids: may repeat.
    """
    tables = [rows] if isinstance(rows, Path) else rows
    ordered = pl.LazyFrame({"row_id": list(row_ids)}, schema={"row_id": pl.String})
    messages = pl.concat(scan_table(table).select("row_id", "messages") for table in tables)
    joined = ordered.join(messages, on="row_id", how="left", maintain_order="left").collect()
    return joined["messages"].to_list()


def train_lora(
    model: "PreTrainedModel",
    examples: Sequence[TokenizedExample],
    lora: Mapping[str, Any],
    seed: Sequence[int],
    start: Path | None = None,
) -> list[float]:
    """Tune the model in place with LoRA adapters; return the loss of every step.

    Adapter weights and the order of rows come from the seed alone, so two arms with the same seed
    start from the same adapter. `start` holds the weights of an earlier fine-tune to go on from.
    """
    from curate.represent.losses import attach_adapter

    if start is not None:
        return tune_adapters(attach_adapter(model, start), examples, lora, seed)
    return tune_adapters(add_adapters(model, lora, "all-linear", seed), examples, lora, seed)


def tune_adapters(
    tuned: Any, examples: Sequence[TokenizedExample], lora: Mapping[str, Any], seed: Sequence[int]
) -> list[float]:
    """Tune a model's adapters; return the loss of every step.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    batches = list(training_batches(examples, lora, seed))
    warmup = max(1, round(WARMUP * len(batches)))
    losses = []
    for step in training_steps(tuned, batches, lora["learning_rate"], warmup):
        losses.append(step.loss)
        if not math.isfinite(step.loss):
            raise FloatingPointError(
                f"the loss of step {len(losses)} is not finite; lower prove.lora.learning_rate"
            )
    tuned.eval()
    return losses


def add_adapters(
    model: "PreTrainedModel",
    lora: Mapping[str, Any],
    targets: str | Sequence[str],
    seed: Sequence[int],
) -> "PeftModel":
    """Return the model with fresh LoRA adapters, put into it in place; only they are trainable.

    Args:
        model: a language model without adapters.
        lora: `rank` and `alpha`.
        targets: names of the adapted layers, as peft takes them.
        seed: of the A matrices.
    """
    from peft import LoraConfig, get_peft_model

    names = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(
        r=lora["rank"], lora_alpha=lora["alpha"], target_modules=names, lora_dropout=0.0
    )
    tuned = get_peft_model(model, config)
    initialise_adapters(tuned, seed)
    return tuned


@dataclass(frozen=True)
class TrainingStep:
    """An optimizer step that was made: its loss, its learning rate, and the optimizer after it."""

    loss: float
    rate: float
    optimizer: "torch.optim.Optimizer"


def training_steps(
    tuned: Any, batches: Sequence[Sequence[TokenizedExample]], learning_rate: float, warmup: int
) -> Iterator[TrainingStep]:
    """Train what is trainable with AdamW, a step a batch; batches without labels are passed over.

    Args:
        tuned: left in training mode.
        batches: all of them; their number is the length of the schedule.
        learning_rate: the highest one.
        warmup: steps until it is reached.
    """
    import torch

    weights = [p for p in tuned.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: linear_rate(step, len(batches), warmup)
    )
    split = split_model(tuned)
    tuned.train()
    for batch in batches:
        loss = accumulate_gradients(split, batch)
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
    all the others; the parts' sums over the labels of the whole batch make the same gradient.
    """
    labels = sum(token != IGNORED for example in batch for token in example.labels[1:])
    if not labels:
        return None
    total = 0.0
    for part in batches_by_length([len(example.ids) for example in batch], TRAINING_TOKENS):
        rows = [batch[i] for i in part if any(token != IGNORED for token in batch[i].labels[1:])]
        if rows:
            total += _backward(model, rows, labels)
    return total


def _backward(model: SplitModel, rows: Sequence[TokenizedExample], labels: int) -> float:
    """Add the gradient of the sum of the rows' token losses over `labels`; return that share.

    The gradient of the states is made in slices, each with its logits; it flows back all at once.
    """
    import torch

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
    states.backward(torch.cat(pulls))  # type: ignore[no-untyped-call]
    return total


def initialise_adapters(model: Any, seed: Sequence[int], adapter: str = "default") -> None:
    """Draw an adapter's A matrices from the seed (B stays zero), whatever the global generator holds."""
    import torch

    state = np.random.SeedSequence([*seed, 0x10AA]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    for name, weight in sorted(model.named_parameters()):
        if f"lora_A.{adapter}" in name:
            bound = 1 / math.sqrt(weight.shape[1])
            fresh = torch.empty(weight.shape).uniform_(-bound, bound, generator=generator)
            weight.data.copy_(fresh)


def training_batches(
    examples: Sequence[TokenizedExample], lora: Mapping[str, Any], seed: Sequence[int]
) -> Iterator[list[TokenizedExample]]:
    """Yield batches of `batch_rows` rows for `epochs` epochs, each in an order of its own."""
    rng = np.random.default_rng([*seed, 0x0EDE2])
    for _ in range(lora["epochs"]):
        order = rng.permutation(len(examples))
        for start in range(0, len(order), lora["batch_rows"]):
            yield [examples[i] for i in order[start : start + lora["batch_rows"]]]


def pad_batch(batch: Sequence[TokenizedExample]) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return token ids [B, T], padded on the right, and what follows each position [B, T - 1].

    What follows is IGNORED where it is no response token.
    """
    import torch

    longest = max(len(example.ids) for example in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)
    labels = torch.full((len(batch), longest), IGNORED)
    for k, example in enumerate(batch):
        ids[k, : len(example.ids)] = torch.tensor(example.ids)
        labels[k, : len(example.labels)] = torch.tensor(example.labels)
    return ids, labels[:, 1:]


def response_losses(
    model: SplitModel, batch: Sequence[TokenizedExample]
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """Return loss, whether it is the most likely token, and row number of every response token."""
    import torch

    states, labels, rows = response_states(model, batch)
    losses, right = [torch.empty(0)], [torch.empty(0, dtype=torch.bool)]
    for part, gold in zip(slices(states, HEAD_TOKENS), slices(labels, HEAD_TOKENS), strict=True):
        logits = model.logits(part)
        losses.append(torch.nn.functional.cross_entropy(logits, gold, reduction="none").cpu())
        right.append((logits.argmax(dim=1) == gold).cpu())
    return torch.cat(losses), torch.cat(right), rows.cpu()


def response_states(
    model: SplitModel, batch: Sequence[TokenizedExample]
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """Return the state before every response token [M, ...], the token, and its row's number."""
    ids, following = (part.to(model.model.device) for part in pad_batch(batch))
    labelled = following != IGNORED
    return model.states(ids, labelled), following[labelled], labelled.nonzero()[:, 0]


def evaluate(
    model: Any, examples: Sequence[TokenizedExample], answers: Sequence[Sequence[int]] | None = None
) -> pl.DataFrame:
    """Return loss, exact and response_tokens of every example, in order.

    loss is the mean over the response tokens, null where truncation left none. exact says that every
    response token is the most likely one after the reference before it, the end marker included:
    the condition under which greedy decoding writes the reference token by token, at no cost of
    generation. A response cut by the length limit is never exact.

    Args:
        model: a language model.
        examples: what it is measured on.
        answers: the positions of the tokens of each example's answer; then answer_loss and rest_loss
            are the mean losses of these and of the other response tokens, null for an example without
            an answer and where there are none, and answer_tokens is the number of the former.
    """
    import torch

    rows: list[dict[str, Any]] = [{} for _ in examples]
    split = split_model(model)
    with torch.inference_mode():
        for batch in batches_by_length([len(e.ids) for e in examples], BATCH_TOKENS):
            losses, right, owners = response_losses(split, [examples[i] for i in batch])
            for k, i in enumerate(batch):
                own = losses[owners == k].double()
                exact = bool(right[owners == k].all()) and len(own) > 0 and not examples[i].cut
                rows[i] = {"loss": _mean(own), "exact": exact, "response_tokens": len(own)}
                if answers is not None:
                    rows[i] |= _answer_losses(own, examples[i], answers[i])
    schema = RESULTS if answers is None else RESULTS | ANSWER_RESULTS
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))


def _answer_losses(
    losses: "torch.Tensor", example: TokenizedExample, answer: Sequence[int]
) -> dict[str, float | int | None]:
    import torch

    positions = [i for i, label in enumerate(example.labels) if i and label != IGNORED]
    inside = torch.tensor([i in answer for i in positions], dtype=torch.bool)
    count = int(inside.sum())
    return {
        "answer_loss": _mean(losses[inside]),
        "answer_tokens": count,
        "rest_loss": _mean(losses[~inside]) if count else None,
    }


def _mean(losses: "torch.Tensor") -> float | None:
    return losses.mean().item() if len(losses) else None
