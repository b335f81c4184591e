"""One forward pass of a language model over rows, and all that methods take from it.

    trunk -+- vectors      the position-weighted mean of a row's last hidden states (curate.models.lm)
           +- response     sums of the losses of the response's tokens, their largest, and of entropies
           +- all          besides, sums of the losses of all tokens

The trunk is what a pass costs. `response` runs the vocabulary head before the response's tokens, `all`
before the others too; pooling costs next to nothing. What one of them gives is the same bits whichever
others are taken with it: batches are the same, and the head reads the states before responses by
themselves. (A model that can only be run as a whole, see curate.models.head, rounds otherwise for other
tokens, and runs its trunk once more for vectors.)
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.lazy import lazy_module
from curate.core.workload import PassHead
from curate.models.batches import in_batches
from curate.models.chat import IGNORED, TokenizedExample
from curate.models.head import HEAD_TOKENS, SplitModel, slices, split_model
from curate.models.lm import pool_states

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

# exp of it is 0 in float32.
NO_CHANCE = -200.0
SUMS = ("response_sum", "response_tokens")
CERTAINTY = ("response_worst", "response_entropy")
ALL = ("all_sum", "all_tokens")
# What is measured of tokens [n, ...], from their logits [n, V] and which they are [n].
Measure = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


@dataclass
class PassResult:
    """What a pass gives for each row: sums and counts [N] by name, and vectors [N, d]."""

    columns: dict[str, NDArray[Any]]
    vectors: NDArray[np.float32] | None

    @property
    def table(self) -> pl.DataFrame:
        """Return the sums and counts."""
        return pl.DataFrame(self.columns)


def forward(
    model: Any,
    rows: Sequence[TokenizedExample],
    heads: Collection[PassHead],
    batch_tokens: int,
    *,
    entropies: bool = True,
) -> PassResult:
    """Return what the heads give of rows, in their order.

    Rows go through the model in batches of similar length, padded on the right, where a causal
    model's real tokens do not see the padding. Losses are float32 whatever the model computes in,
    and are added up in float64.

    Args:
        model: a language model with its vocabulary head.
        rows: token ids and labels.
        heads: what is taken, `response` or `all` (which takes both) among it.
        batch_tokens: of a batch, padding among them.
        entropies: measure the largest loss and the entropies of the response's tokens too.
    """
    split, size = split_model(model), model.config.get_text_config().hidden_size
    names = [*SUMS, *(CERTAINTY if entropies else ()), *(ALL if "all" in heads else ())]
    columns = {n: np.zeros(len(rows), np.int64 if n.endswith("tokens") else float) for n in names}
    vectors = np.zeros((len(rows), size), np.float32) if "vectors" in heads else None

    def work(batch: list[int], padded: int) -> None:
        tokens = PaddedTokens.of([rows[i] for i in batch], padded, split.model.device)
        predicted = tokens.real[:, 1:] if "all" in heads else tokens.response[:, 1:]
        whole = split.head is None
        hidden = torch.empty(0) if whole and vectors is None else split.trunk(tokens.ids)
        if vectors is not None:
            vectors[batch] = pool_states(hidden, tokens.real.long()).cpu().numpy()
        if predicted.any():
            states = split.states(tokens.ids, predicted) if whole else hidden[:, :-1][predicted]
        else:
            states = torch.empty(0)
        for name, values in _sums(split, states, tokens, predicted, names).items():
            columns[name][batch] = values.numpy()

    with torch.inference_mode():
        in_batches([len(row.ids) for row in rows], batch_tokens, work)
    return PassResult(columns, vectors)


@dataclass(frozen=True)
class PaddedTokens:
    """Token ids of a batch [B, T], and which of them are real and which of a response."""

    ids: "torch.Tensor"
    real: "torch.Tensor"
    response: "torch.Tensor"

    @classmethod
    def of(cls, rows: Sequence[TokenizedExample], padded: int, device: Any) -> "PaddedTokens":
        """Return rows padded on the right, on a device."""
        ids = torch.zeros((len(rows), padded), dtype=torch.long)
        real, response = (torch.zeros((len(rows), padded), dtype=torch.bool) for _ in range(2))
        for k, row in enumerate(rows):
            ids[k, : len(row.ids)] = torch.tensor(row.ids)
            real[k, : len(row.ids)] = True
            response[k, : len(row.ids)] = torch.tensor([label != IGNORED for label in row.labels])
        return cls(ids.to(device), real.to(device), response.to(device))


def _sums(
    split: SplitModel,
    states: "torch.Tensor",
    tokens: PaddedTokens,
    predicted: "torch.Tensor",
    names: Collection[str],
) -> "dict[str, torch.Tensor]":
    """Return sums and counts [B] of a batch, by name, from the states before its predicted tokens."""
    gold, response = tokens.ids[:, 1:][predicted], tokens.response[:, 1:]
    measured = torch.zeros((*predicted.shape, 2), dtype=torch.float64)
    if len(gold):
        certain = _loss_and_entropy if "response_entropy" in names else _loss
        measured[predicted.cpu()] = _measure_tokens(
            split, states, gold, response[predicted], certain
        )
    losses, entropies = measured.unbind(dim=2)
    own = losses.where(response.cpu(), 0.0)
    sums = {
        "response_sum": own.sum(dim=1),
        "response_tokens": response.sum(dim=1).cpu(),
        "response_worst": torch.nn.functional.pad(own, (1, 0)).amax(dim=1),
        "response_entropy": entropies.sum(dim=1),
        "all_sum": losses.sum(dim=1),
        "all_tokens": predicted.sum(dim=1).cpu(),
    }
    return {name: sums[name] for name in names}


def _measure_tokens(
    split: SplitModel,
    states: "torch.Tensor",
    gold: "torch.Tensor",
    response: "torch.Tensor",
    certain: Measure,
) -> "torch.Tensor":
    """Return loss and entropy [M, 2] of tokens; entropies are 0 outside responses."""
    measured = torch.zeros((len(gold), 2), dtype=torch.float64)
    for own, measure in ((response, certain), (~response, _loss)):
        if own.any():
            pairs = zip(
                slices(states[own], HEAD_TOKENS), slices(gold[own], HEAD_TOKENS), strict=True
            )
            values = torch.cat(
                [measure(split.logits(part), labels).cpu() for part, labels in pairs]
            )
            measured[own.cpu(), : values.shape[1]] = values.double()
    return measured


def _loss(logits: "torch.Tensor", gold: "torch.Tensor") -> "torch.Tensor":
    """Return the losses [n, 1]."""
    return torch.nn.functional.cross_entropy(logits, gold, reduction="none")[:, None]


def _loss_and_entropy(logits: "torch.Tensor", gold: "torch.Tensor") -> "torch.Tensor":
    """Return both [n, 2]; entropy = -sum p log p, to which a token of no probability adds nothing."""
    logs = logits.log_softmax(dim=1)
    losses = -logs.gather(1, gold[:, None]).squeeze(1)
    # In place, since each copy is of the size of the logits; far below, p is 0 as a float32.
    entropies = -logs.clamp_(min=NO_CHANCE).exp().mul_(logs).sum(dim=1)
    return torch.stack([losses, entropies], dim=1)
