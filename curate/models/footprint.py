"""The memory that a language model takes, by its configuration: weights, adapters, activations.

Counted for one decoder layer with hidden size h, inner size i and adapters beside every product, in
numbers a token, and checked against what SmolLM2-135M takes (tests/models/test_footprint.py):

    kept for a backward pass     8 h + 4 i in float32, whatever the model computes in: adapters are
                                 float32 and keep copies of what they read
    of these, the products       6 h + 2 i in the dtype of the model
    held in a forward pass       5 h + 3 i in the dtype of the model, of one layer at a time
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.core.lazy import lazy_module
from curate.models.computation import import_computation
from curate.models.load import loading

if TYPE_CHECKING:
    import torch
    import transformers
else:
    torch = lazy_module("torch")
    transformers = lazy_module("transformers")

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


@dataclass(frozen=True)
class ModelShape:
    """A language model without its weights.

    parameters: numbers of its weights; adapted: what a LoRA adapter of rank 1 has, beside every product
    but the vocabulary head; cache: bytes of the keys and values of a token.
    """

    sizes: ModelSizes
    parameters: int
    adapted: int
    vocabulary: int
    cache: int

    @property
    def weights(self) -> int:
        """Return the bytes of its weights."""
        return self.sizes.number * self.parameters


def model_shape(folder: Path, number: int, trust: bool = False) -> ModelShape:
    """Return the shape of the model in a folder, whose numbers take so many bytes.

    Raises:
        UserError: there is no model whose configuration can be read.
    """
    import_computation()
    with loading(folder), torch.device("meta"):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust)
        model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
    head, text = model.get_output_embeddings(), config.get_text_config()
    sizes = sizes_of(config, number)
    adapted = sum(
        sum(module.weight.shape)
        for module in model.modules()
        if isinstance(module, (torch.nn.Linear, transformers.pytorch_utils.Conv1D))
        and module is not head
    )
    heads = text.num_attention_heads
    pairs = getattr(text, "num_key_value_heads", None) or heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    cache = 2 * sizes.layers * pairs * width * number
    return ModelShape(sizes, model.num_parameters(), adapted, text.vocab_size, cache)
