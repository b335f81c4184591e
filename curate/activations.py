"""Activation functions whose bits do not depend on the number of threads.

Torch cuts an elementwise operation into one piece a thread and computes each piece by vectors of the
processor, except for what is left at the piece's end, which it computes one by one with another
exponential function. So SiLU's last bits depend on where the pieces end, and through them every
loss, gradient and hidden state. Here the tensor is padded until every piece is whole vectors.
Matrix products, softmax and the other activations of language models give equal bits by themselves.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Elements of one unrolled step: two vectors of 512 bits in bfloat16.
STEP = 64
# Elements that torch gives a thread at least.
GRAIN = 32_768


def pin_activations(model: "torch.nn.Module") -> None:
    """Let every SiLU of a model compute the same bits on any number of threads."""
    import torch

    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.SiLU) or type(child).__name__ == "SiLUActivation":
                setattr(module, name, _whole_vectors(child))


def _whole_vectors(activation: "torch.nn.Module") -> "torch.nn.Module":
    import torch

    class WholeVectors(torch.nn.Module):
        """An elementwise function of a tensor that is padded to whole vectors in every thread."""

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            padding = padding_to_steps(states.numel(), torch.get_num_threads())
            result: torch.Tensor
            if states.device.type != "cpu" or not padding:
                result = activation(states)
            else:
                flat = torch.nn.functional.pad(states.reshape(-1), (0, padding))
                result = activation(flat)[: states.numel()].view(states.shape)
            return result

    return WholeVectors()


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
