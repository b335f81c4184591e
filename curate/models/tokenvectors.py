"""Vectors of single tokens in their context, from a sentence encoder, and how well texts match by them.

The recall of BERTScore (Zhang et al. 2020, arXiv:1904.09675) of a text with tokens x_1..x_L by one with
z_1..z_M is the mean over i of the largest cosine of x_i to a z_j.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.fixedpoint import cosines
from curate.models.embed import unit
from curate.models.load import find_model, identify_embedder, load_embedder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH_TEXTS = 256


def encode_tokens(texts: Sequence[str], name: str) -> Iterator[NDArray[np.float32]]:
    """Yield an encoder's unit vectors [L, d] of each text's tokens; special ones are left out.

    Raises:
        UserError: the encoder has no vectors of tokens.
    """
    source = find_model(name)
    model = _load_encoder(source.name, digest_of(identify_embedder(source)))
    special = set(model.tokenizer.all_special_ids) - {model.tokenizer.unk_token_id}
    for start in range(0, len(texts), BATCH_TEXTS):
        batch = list(texts[start : start + BATCH_TEXTS])
        for output in model.encode(batch, output_value=None, show_progress_bar=False):
            content_mask = output["attention_mask"].bool().cpu().numpy()
            content_mask &= ~np.isin(output["input_ids"].cpu().numpy(), list(special))
            yield unit(output["token_embeddings"].float().cpu().numpy()[content_mask])


@lru_cache(maxsize=1)
def _load_encoder(name: str, digest: str) -> "SentenceTransformer":
    model = load_embedder(find_model(name))
    if "token_embeddings" not in model.encode(["a"], output_value=None)[0]:
        raise UserError(
            f"{name!r} has no vectors of tokens in their context; use minilm or another transformer "
            "(select.encoder, or models.embedder where generators show examples by coverage)"
        )
    return model


def best_cosines(
    example_tokens: NDArray[np.float32], states: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the cosine of each example token [L, d] to the nearest of a row's [M, d]; 0 if M is 0."""
    if not len(states):
        return np.zeros(len(example_tokens), dtype=np.float32)
    best: NDArray[np.float32] = cosines(example_tokens, states).max(axis=1).astype(np.float32)
    return best
