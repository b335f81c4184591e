"""Random projection of gradients, one matrix at a time: signed rolled block sums.

A vector's coordinates get random signs, are cut into rows of `dim`, each row is turned by a random
offset, and the rows are summed. It is a count sketch whose buckets lie in order: E <Pg, Ph> = <g, h>,
with a variance of at most (|g|^2 |h|^2 + <g, h>^2) / dim, for one pass over the coordinates and no
matrix. The dense signs of TRAK and LESS take dim times as much: 15 billion signs for the 1.8 million
adapter weights of SmolLM2-135M at rank 16.

The offsets matter: without them the coordinates j and j + dim of every matrix would meet, and so would
the outlier features that all rows of a matrix share.

Since P g is the sum of P_l g_l over matrices l, each is projected where it comes up in the backward
pass. Signs and offsets are drawn from the seed and the matrix's name: neither the order of matrices
nor the batch matters.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")


class Projection:
    """A map of named parts of a vector to `dim` numbers; the parts' images add up."""

    def __init__(self, dim: int, seed: Sequence[int]) -> None:
        self.dim = dim
        self.seed = tuple(seed)
        self._drawn: dict[str, tuple[torch.Tensor, list[int]]] = {}

    def add_to(self, total: "torch.Tensor", name: str, part: "torch.Tensor") -> None:
        """Add the images of one part's values [B, n] to total [B, dim]."""
        signs, offsets = self._draw(name, part)
        signed = part * signs
        for number, offset in enumerate(offsets):
            row = signed[:, number * self.dim : (number + 1) * self.dim]
            before_end = min(self.dim - offset, row.shape[1])
            total[:, offset : offset + before_end] += row[:, :before_end]
            total[:, : row.shape[1] - before_end] += row[:, before_end:]

    def _draw(self, name: str, part: "torch.Tensor") -> "tuple[torch.Tensor, list[int]]":
        """Return signs [n] (one byte each) and the offset of every row of the part."""
        if name not in self._drawn:
            named = hashlib.blake2b(name.encode(), digest_size=8).digest()
            rng = np.random.default_rng([*self.seed, int.from_bytes(named, "little")])
            count = part.shape[1]
            bits = np.unpackbits(np.frombuffer(rng.bytes(-(-count // 8)), np.uint8), count=count)
            offsets = rng.integers(0, self.dim, size=-(-count // self.dim)).tolist()
            signs = torch.from_numpy(bits.astype(np.int8) * 2 - 1).to(part.device)
            self._drawn[name] = signs, offsets
        return self._drawn[name]
