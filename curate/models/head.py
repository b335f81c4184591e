"""A causal language model in two parts, so that logits exist for a few tokens at a time.

The trunk gives a hidden state a token (SmolLM2-135M: 576 numbers), the vocabulary head makes logits of
it (49,152 numbers). The logits of 1,024 tokens in float32, with the copies that a loss and its gradient
take, are 0.8 GB: more than the model. So the trunk runs on whole rows and the head on HEAD_TOKENS of
the states that a loss is asked of.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

# The float32 logits held at one time: 50 MB a copy for a vocabulary of 49k.
HEAD_TOKENS = 256


@dataclass(frozen=True)
class SplitModel:
    """A causal language model as trunk and vocabulary head.

    `head` is None for a model whose logits are more than what its head gives (Gemma 2 caps them,
    Cohere scales them); such a model is run as a whole.
    """

    model: Any
    head: Callable[["torch.Tensor"], "torch.Tensor"] | None

    def states(
        self, ids: "torch.Tensor", predicted: "torch.Tensor", cache: Any = None
    ) -> "torch.Tensor":
        """Return what `logits` takes, for every predicted token [M, ...], row by row.

        Args:
            ids: token ids [B, T], padded on the right, where a causal model's real tokens do not see
                the padding.
            predicted: whether a token is one to predict, for tokens 1 to T - 1 of each row.
            cache: keys and values of what each row begins with, and to which its own are added.
        """
        past = {"past_key_values": cache, "use_cache": cache is not None}
        if self.head is None:
            positions = predicted.any(dim=0).nonzero().squeeze(1)
            out = self.model(input_ids=ids, logits_to_keep=positions, **past)
            whole: torch.Tensor = out.logits[predicted[:, positions]]
            return whole
        trunk = self.model.base_model(input_ids=ids, **past)
        states: torch.Tensor = trunk.last_hidden_state[:, :-1][predicted]
        return states

    def trunk(self, ids: "torch.Tensor") -> "torch.Tensor":
        """Return the last hidden states [B, T, d] of token ids [B, T]."""
        hidden: torch.Tensor = self.model.base_model(
            input_ids=ids, use_cache=False
        ).last_hidden_state
        return hidden

    def logits(self, states: "torch.Tensor") -> "torch.Tensor":
        """Return float32 logits [m, V] of a few states."""
        return (states if self.head is None else self.head(states)).float()


def slices(tensor: "torch.Tensor", size: int) -> tuple["torch.Tensor", ...]:
    """Return a tensor in slices of `size` along its first axis."""
    parts: tuple[torch.Tensor, ...] = tensor.split(size)  # type: ignore[no-untyped-call]
    return parts


def split_model(model: Any) -> SplitModel:
    """Return a model (with adapters or without) as trunk and head, which are tried on four tokens."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = causal.get_output_embeddings()
    probe = torch.arange(4, device=causal.device).unsqueeze(0)
    with torch.inference_mode():
        plain = head(causal.base_model(input_ids=probe, use_cache=False).last_hidden_state)
        logits = causal(input_ids=probe, use_cache=False).logits
    return SplitModel(causal, head if torch.equal(plain, logits) else None)
