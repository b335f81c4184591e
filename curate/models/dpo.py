"""Direct preference optimisation: the loss of preference pairs, and its gradient.

Published: Rafailov et al. 2023 (arXiv:2305.18290), equation 7. With log p the sum of the log
probabilities of an answer's tokens,

    margin = log p(chosen) - log p(rejected)
    loss   = -log sigmoid(beta * (margin - margin of the reference))

The reference is the model before it is tuned. Of it a pair needs the margin alone, measured once.
beta * (log p - log p of the reference) is the implicit reward of an answer, up to a term of the prompt
that both answers share (section 4). So the loss is log 2 where nothing was learned, and below it where
the chosen answer has the higher reward.

Derived: with weight = beta * sigmoid(-beta * (margin - reference)), the gradient of the loss is -weight
times that of log p(chosen), plus weight times that of log p(rejected). So what flows back from each
token is that of its cross-entropy, scaled: one pass gives both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.core.lazy import lazy_module
from curate.core.meter import Meter
from curate.models.activations import checkpointed
from curate.models.batches import device_tokens, in_batches
from curate.models.evaluation import evaluate
from curate.models.head import HEAD_TOKENS, SplitModel, slices
from curate.models.preferences import TokenizedPair
from curate.models.training import TRAINING_TOKENS, add_gradients, response_states

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")


@dataclass(frozen=True)
class ReferencedPair:
    """A pair to learn, and how much likelier than the rejected answer the chosen one was before."""

    pair: TokenizedPair
    reference: float

    @property
    def length(self) -> int:
        """Return the tokens of the longer conversation."""
        return max(len(self.pair.chosen.ids), len(self.pair.rejected.ids))


def answer_likelihoods(model: Any, pairs: Sequence[TokenizedPair]) -> NDArray[np.float64]:
    """Return log p of chosen and rejected answers [pairs, 2]; NaN where an answer has no label."""
    examples = [example for pair in pairs for example in (pair.chosen, pair.rejected)]
    table = evaluate(model, examples)
    sums = -table["loss"] * table["response_tokens"]
    return sums.cast(float).fill_null(np.nan).to_numpy().reshape(-1, 2)


def preference_losses(gains: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Return the loss of each pair.

    Args:
        gains: of the margins over those of the reference.
        beta: how far from the reference the model may go; the larger, the less.
    """
    losses: NDArray[np.float64] = np.logaddexp(0.0, -beta * gains)
    return losses


def accumulate_preferences(
    model: SplitModel, batch: Sequence[ReferencedPair], beta: float
) -> float | None:
    """Add the gradient of the batch's mean loss; return that loss, None without a pair to learn.

    The batch goes through the model in parts of similar length; a part that memory is too small for adds
    nothing, and is halved.
    """
    labelled = [row for row in batch if row.pair.labelled]
    if not labelled:
        return None
    losses: list[float] = []

    def work(part: list[int], _: int) -> None:
        losses.append(_backward(model, [labelled[i] for i in part], beta, len(labelled)))

    lengths = [2 * row.length for row in labelled]
    in_batches(lengths, device_tokens(TRAINING_TOKENS), work, Meter())
    return sum(losses, start=0.0)


def _backward(model: SplitModel, rows: Sequence[ReferencedPair], beta: float, count: int) -> float:
    """Add the gradient of the sum of the pairs' losses over `count`; return that share."""
    examples = [row.pair.chosen for row in rows] + [row.pair.rejected for row in rows]
    with checkpointed(model.model, len(examples) * max(row.length for row in rows)):
        states, following, owners = response_states(model, examples)
    losses, pulls = _token_losses(model, states, following)
    # Sums of slices, since adding by index has no fixed order on a GPU.
    tokens = torch.bincount(owners, minlength=len(examples)).tolist()
    sums = torch.stack([part.sum() for part in torch.split(losses.double(), tokens)])
    chosen, rejected = (-sums).chunk(2)
    reference = torch.tensor([row.reference for row in rows], device=sums.device).double()
    gains = beta * (chosen - rejected - reference)
    weights = beta * torch.sigmoid(-gains) / count
    scale = torch.cat([weights, -weights])[owners].to(pulls.dtype)
    add_gradients(model, states, pulls * scale.unsqueeze(1))
    return float(torch.nn.functional.softplus(-gains).sum().item()) / count


def _token_losses(
    model: SplitModel, states: "torch.Tensor", following: "torch.Tensor"
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return the loss of each token [M], and its gradient by the token's state [M, ...]."""
    losses, pulls = [], []
    for part, gold in zip(
        slices(states.detach(), HEAD_TOKENS), slices(following, HEAD_TOKENS), strict=True
    ):
        part.requires_grad_()
        of_tokens = torch.nn.functional.cross_entropy(model.logits(part), gold, reduction="none")
        (pull,) = torch.autograd.grad(of_tokens.sum(), part)
        losses.append(of_tokens.detach())
        pulls.append(pull)
    return torch.cat(losses), torch.cat(pulls)
