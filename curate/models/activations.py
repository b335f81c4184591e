"""Selective activation checkpointing: what a training step keeps in memory for its backward pass.

Of each layer only the outputs of large matrix products and of attention are kept. The rest (norms,
activation functions, sums, casts, the adapters' thin products) is computed again in the backward
pass, which costs next to nothing and gives the very same bits. With SmolLM2-135M that is a third of the
numbers.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

# Numbers that a layer keeps for one token, as a multiple of the hidden size, in float32 (adapters are
# float32 and keep copies of what they read, whatever the model computes in).
KEPT_NUMBERS = 34
# Bytes that may be kept without checkpointing.
LIMIT = 1.5e9
# The inner size below which a product is cheaper to compute again than to keep.
THIN = 129


def checkpointed(model: Any, tokens: int) -> AbstractContextManager[None]:
    """Return a context whose forward pass keeps less, if that of so many tokens would keep too much."""
    config = model.config.get_text_config()
    kept = 4 * KEPT_NUMBERS * config.hidden_size * config.num_hidden_layers * tokens
    return _checkpointed(model, kept > LIMIT and model.supports_gradient_checkpointing)


@contextmanager
def _checkpointed(model: Any, active: bool) -> Iterator[None]:
    if not active:
        yield
        return
    model.gradient_checkpointing_enable({"use_reentrant": False, "context_fn": keep_products})
    # Set along with it for the reentrant form alone: embeddings would get gradients that nobody reads.
    model.disable_input_require_grads()
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()


def keep_products() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of a forward pass that keeps products, and of the one that uses them."""
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts  # noqa: PLC0415

    ops = torch.ops.aten
    attention = (
        ops._scaled_dot_product_flash_attention_for_cpu.default,
        ops._scaled_dot_product_flash_attention.default,
        ops._scaled_dot_product_efficient_attention.default,
    )

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        product = {ops.mm.default: 0, ops.addmm.default: 1}.get(op)
        thick = product is not None and args[product].shape[1] >= THIN
        return CheckpointPolicy.MUST_SAVE if thick or op in attention else (
            CheckpointPolicy.PREFER_RECOMPUTE
        )  # fmt: skip

    contexts: tuple[Any, Any] = create_selective_checkpoint_contexts(policy)  # type: ignore[no-untyped-call]
    return contexts
