"""Language models whose bits do not depend on the number of threads of a processor.

Softmax, normalisation and most activations of torch give equal bits by themselves. Three things do not:

- SiLU. Torch cuts an elementwise operation into one piece a thread and computes each piece by vectors
  of the processor, except for what is left at the piece's end, which goes one by one through another
  exponential function. So the tensor is padded until every piece is whole vectors.
- Products of very few rows in float32, whose sums MKL cuts by threads. So they get more rows.
- Larger products on some processors. MKL has a mode without that, which it reads once, at its first
  product: `MKL_CBWR`. What the user has set stays.
"""

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

# Elements of one unrolled step: two vectors of 512 bits in bfloat16.
STEP = 64
# Elements that torch gives a thread at least.
GRAIN = 32_768
FEWEST_ROWS = 16


def pin_arithmetic(model: "torch.nn.Module") -> None:
    """Let a model compute the same bits on any number of threads; its weights stay as they are."""
    linear, whole_vectors = _modules()
    for module in list(model.modules()):
        if type(module) is torch.nn.Linear:
            module.__class__ = linear
        for name, child in module.named_children():
            if isinstance(child, torch.nn.SiLU) or type(child).__name__ == "SiLUActivation":
                setattr(module, name, whole_vectors(child))


@lru_cache(maxsize=1)
def _modules() -> tuple[Any, Any]:
    """Return the two classes, which cannot be defined before torch is loaded."""

    class PaddedLinear(torch.nn.Linear):
        """A linear layer that multiplies no fewer than 16 rows at once."""

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            rows = states.numel() // max(states.shape[-1], 1)
            if states.device.type != "cpu" or not 0 < rows < FEWEST_ROWS:
                return super().forward(states)
            flat = states.reshape(rows, states.shape[-1])
            flat = torch.nn.functional.pad(flat, (0, 0, 0, FEWEST_ROWS - rows))
            return super().forward(flat)[:rows].view(*states.shape[:-1], -1)

    class WholeVectors(torch.nn.Module):
        """An elementwise function of a tensor that is padded to whole vectors in every thread."""

        def __init__(self, function: torch.nn.Module) -> None:
            super().__init__()
            self.function = function

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            padding = padding_to_steps(states.numel(), torch.get_num_threads())
            result: torch.Tensor
            if states.device.type != "cpu" or not padding:
                result = self.function(states)
            else:
                flat = torch.nn.functional.pad(states.reshape(-1), (0, padding))
                result = self.function(flat)[: states.numel()].view(states.shape)
            return result

    return PaddedLinear, WholeVectors


def padding_to_steps(elements: int, threads: int) -> int:
    """Return how many elements to add until every thread's piece is whole vectors.

    Example: 50,000 elements on 2 threads are cut at 25,000, which is no multiple of 64; with 48 more
    they are cut at 25,024.
    """
    padded = elements
    while True:
        pieces = max(min(threads, -(-padded // GRAIN)), 1)
        if padded % (STEP * pieces) == 0:
            return padded - elements
        padded += -padded % (STEP * pieces)
