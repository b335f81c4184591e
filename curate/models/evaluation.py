"""Evaluate a model on rows: the loss of each response, exact match, and the loss of its final answer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.core.lazy import lazy_module
from curate.models.batches import device_tokens, in_batches
from curate.models.chat import IGNORED, TokenizedExample
from curate.models.head import HEAD_TOKENS, SplitModel, slices, split_model
from curate.models.training import response_states

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

BATCH_TOKENS = 2_048
RESULTS: dict[str, Any] = {"loss": pl.Float64, "exact": pl.Boolean, "response_tokens": pl.Int64}
ANSWER_RESULTS: dict[str, Any] = {
    "answer_loss": pl.Float64,
    "answer_tokens": pl.Int64,
    "rest_loss": pl.Float64,
}


def response_losses(
    model: SplitModel, batch: Sequence[TokenizedExample], padded: int | None = None
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """Return loss, whether it is the most likely token, and row number of every response token."""
    states, labels, rows = response_states(model, batch, padded)
    losses, right = [torch.empty(0)], [torch.empty(0, dtype=torch.bool)]
    for part, gold in zip(slices(states, HEAD_TOKENS), slices(labels, HEAD_TOKENS), strict=True):
        logits = model.logits(part)
        losses.append(torch.nn.functional.cross_entropy(logits, gold, reduction="none").cpu())
        right.append((logits.argmax(dim=1) == gold).cpu())
    return torch.cat(losses), torch.cat(right), rows.cpu()


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
    rows: list[dict[str, Any]] = [{} for _ in examples]
    split = split_model(model)

    def work(batch: list[int], padded: int) -> None:
        losses, right, owners = response_losses(split, [examples[i] for i in batch], padded)
        for k, i in enumerate(batch):
            own = losses[owners == k].double()
            exact = bool(right[owners == k].all()) and len(own) > 0 and not examples[i].cut
            rows[i] = {"loss": _mean(own), "exact": exact, "response_tokens": len(own)}
            if answers is not None:
                rows[i] |= _answer_losses(own, examples[i], answers[i])

    with torch.inference_mode():
        in_batches([len(e.ids) for e in examples], device_tokens(BATCH_TOKENS), work)
    schema = RESULTS if answers is None else RESULTS | ANSWER_RESULTS
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))


def _answer_losses(
    losses: "torch.Tensor", example: TokenizedExample, answer: Sequence[int]
) -> dict[str, float | int | None]:
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
