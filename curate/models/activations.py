"""Activation checkpointing: what a training step keeps in memory for its backward pass.

everything   as long as that is little
products     of each layer the outputs of large matrix products and of attention. The rest (norms,
             activation functions, sums, casts, the adapters' thin products) is computed again in the
             backward pass, which costs next to nothing. With SmolLM2-135M that is a third less.
inputs       of each layer what enters it; the layer is computed again, which costs a third forward pass

All of them give the very same bits, so which one is taken may depend on the memory that is free.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from curate.core.lazy import lazy_module
from curate.models.batches import free_bytes
from curate.models.footprint import sizes_of
from curate.models.load import device

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

# Bytes that a processor keeps without checkpointing, which costs it less than memory does.
LIMIT = 0.8e9
# The share of a device's free memory that may be kept.
SHARE = 0.5
# The inner size below which a product is cheaper to compute again than to keep.
THIN = 129


def checkpointed(model: Any, tokens: int) -> AbstractContextManager[None]:
    """Return a context whose forward pass keeps as much of so many tokens as memory is there for."""
    sizes = sizes_of(model.config, model.dtype.itemsize)
    room = SHARE * free_bytes()
    plain = room if device() == "cuda" else min(room, LIMIT)
    if tokens * sizes.kept_whole <= plain or not model.supports_gradient_checkpointing:
        return nullcontext()
    return _checkpointed(model, products=tokens * sizes.kept_products <= room)


@contextmanager
def _checkpointed(model: Any, *, products: bool) -> Iterator[None]:
    context = {"context_fn": keep_products} if products else {}
    model.gradient_checkpointing_enable({"use_reentrant": False, **context})
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
