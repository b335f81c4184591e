"""Language-model representations: position-weighted means of the last hidden states (RDS+).

Ivison et al. 2025, "Large-Scale Data Selection for Instruction Tuning", arXiv:2503.01807, section
3 and appendix G.2: hidden states after the final norm, weights 1..L over the L tokens of the whole
rendered example, normalised to sum to 1, then the weighted mean scaled to unit length.

The authors' code takes the weights from the padded length, so it is right at batch size 1 only;
here padding has weight 0 on either side.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curate.core.lazy import lazy_module
from curate.models.batches import in_batches
from curate.models.load import device

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel
else:
    torch = lazy_module("torch")

VERSION = 2
# So many tokens' states fit into the caches of a processor: with 2,048 it is a sixth slower.
BATCH_TOKENS, GPU_BATCH_TOKENS = 512, 16_384


def pool_states(states: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """Return unit vectors [B, d] from hidden states [B, T, d] and a 0/1 mask [B, T].

    w_i = i / (1 + ... + L) for the i-th real token of L, 0 for padding on whichever side; e = sum of
    w_i h_i; e / |e|. Computed in float32.
    """
    weights = mask.cumsum(dim=1) * mask
    weights = weights.float() / weights.sum(dim=1, keepdim=True)
    pooled: torch.Tensor = (weights.unsqueeze(1) @ states.float()).squeeze(1)
    unit: torch.Tensor = pooled / pooled.norm(dim=1, keepdim=True)
    return unit


def pass_tokens() -> int:
    """Return the tokens of a batch of a forward pass here, padding among them."""
    return GPU_BATCH_TOKENS if device() == "cuda" else BATCH_TOKENS


def encode(
    model: "PreTrainedModel", rows: Sequence[Sequence[int]], batch_tokens: int = BATCH_TOKENS
) -> NDArray[np.float32]:
    """Return unit float32 vectors [N, d] of token id lists, in their order.

    Rows are padded on the right: a causal model's real tokens never see what comes after them, so no
    attention mask is needed and the fast attention kernel applies.
    """
    vectors = np.zeros((len(rows), model.config.hidden_size), dtype=np.float32)

    def work(batch: list[int], padded: int) -> None:
        ids = torch.zeros((len(batch), padded), dtype=torch.long)
        mask = torch.zeros((len(batch), padded), dtype=torch.long)
        for k, i in enumerate(batch):
            ids[k, : len(rows[i])] = torch.tensor(rows[i])
            mask[k, : len(rows[i])] = 1
        ids, mask = ids.to(model.device), mask.to(model.device)
        states = model(input_ids=ids, use_cache=False).last_hidden_state
        vectors[batch] = pool_states(states, mask).cpu().numpy()

    with torch.inference_mode():
        in_batches([len(row) for row in rows], batch_tokens, work)
    return vectors
