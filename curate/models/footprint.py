"""The memory that a language model takes, by its configuration: weights, adapters, activations.

Counted for one decoder layer with hidden size h, inner size i and adapters beside every product, in
numbers a token, and checked against what SmolLM2-135M takes (tests/models/test_footprint.py):

    kept for a backward pass     8 h + 4 i in float32, whatever the model computes in: adapters are
                                 float32 and keep copies of what they read
    of these, the products       6 h + 2 i in the dtype of the model
    held in a forward pass       5 h + 3 i in the dtype of the model, of one layer at a time
"""

from dataclasses import dataclass
from typing import Any

FLOAT = 4


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of a decoder: `width` is the hidden size, `inner` that between the products of a layer.

    number: bytes of a number of its dtype.
    """

    width: int
    inner: int
    layers: int
    number: int

    @property
    def kept_whole(self) -> int:
        """Return the bytes a token that all layers keep for a backward pass."""
        return FLOAT * self.layers * (8 * self.width + 4 * self.inner)

    @property
    def kept_products(self) -> int:
        """Return the bytes a token that they keep of their products."""
        return self.number * self.layers * (6 * self.width + 2 * self.inner)

    @property
    def kept_inputs(self) -> int:
        """Return the bytes a token that they keep of what enters them, and one of them of all."""
        return self.number * self.layers * self.width + self.kept_whole // self.layers

    @property
    def held_forward(self) -> int:
        """Return the bytes a token of a forward pass."""
        return self.number * (5 * self.width + 3 * self.inner)


def sizes_of(config: Any, number: int) -> ModelSizes:
    """Return the sizes that a model's configuration tells; a number takes so many bytes."""
    text = config.get_text_config()
    # GPT-2 and others have no name of their own for four times the hidden size.
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    return ModelSizes(text.hidden_size, inner, text.num_hidden_layers, number)
