"""Static sentence embeddings: the mean of token vectors, word by word.

Words come again and again, so each distinct one is tokenised once and has its token vectors added up;
a text is the sum of its words. That takes a quarter of the time of tokenising whole texts, and is
the same but for rounding wherever no token can reach over a space (see `splits_at_spaces`).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
else:
    torch = lazy_module("torch")

# Texts at a time: fewer see a word anew too often, more hold too many words in memory.
BATCH_TEXTS = 8_192
# Every space belongs to the word after it; those at the end are a word of their own.
WORD = r" *[^ ]+| +"
# What tokenizers of the kind write for a space.
MARKER = "▁"


@dataclass(frozen=True)
class StaticModel:
    """A tokenizer and a table [V, d] of token vectors; `words` tokenises single words, if it can."""

    tokenizer: "Tokenizer"
    table: "torch.Tensor"
    words: "Tokenizer | None"
    added: list[str]


def static_model(tokenizer: "Tokenizer", table: "torch.Tensor") -> StaticModel:
    """Return a static model, with a tokenizer for words if its tokens stay between spaces."""
    from tokenizers import Tokenizer, normalizers  # noqa: PLC0415

    settings = json.loads(tokenizer.to_str())
    tokenizer.no_padding()
    words = None
    if splits_at_spaces(settings):
        words = Tokenizer.from_str(tokenizer.to_str())
        # The marker of a text's start becomes a plain space before it.
        words.normalizer = normalizers.Replace(" ", "▁")
    added = [token["content"] for token in settings["added_tokens"]]
    return StaticModel(tokenizer, table.detach().float().cpu(), words, added)


def splits_at_spaces(settings: dict[str, Any]) -> bool:
    """Return whether a text's tokens are those of its words, each with the spaces before it.

    So it is for the byte-pair encoding of Llama 2 and its kin: spaces become "▁", and as no token
    has one after another character, no merge crosses from a word into the next.

    Args:
        settings: a tokenizer.json.
    """
    model, normalizer = settings["model"], settings["normalizer"] or {}
    kinds = [(n.get("type"), n.get("prepend"), n.get("content"), n.get("pattern"))
             for n in normalizer.get("normalizers", [])]  # fmt: skip
    return (
        model.get("type") == "BPE"
        and not model.get("dropout")
        and settings["pre_tokenizer"] is None
        and settings["truncation"] is None
        and kinds == [("Prepend", "▁", None, None), ("Replace", None, "▁", {"String": " "})]
        and not any(re.search("[^▁]▁", token) for token in model["vocab"])
    )


def embed_static(model: StaticModel, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the sums of the token vectors of texts [N, d]; zeros where there is no token."""
    vectors = np.zeros((len(texts), model.table.shape[1]), dtype=np.float32)
    for start in range(0, len(texts), BATCH_TEXTS):
        batch = pl.Series("text", texts[start : start + BATCH_TEXTS], dtype=pl.String)
        part = vectors[start : start + BATCH_TEXTS]
        if model.words is None:
            part[:] = _sum_tokens(model.tokenizer, model.table, batch.to_list())
            continue
        # An added token cuts a text in two, and the second half starts anew; a marker is a space.
        cut = batch.str.contains_any([*model.added, MARKER])
        part[~cut.to_numpy()] = _sum_words(model.words, model.table, batch.filter(~cut))
        part[cut.to_numpy()] = _sum_tokens(
            model.tokenizer, model.table, batch.filter(cut).to_list()
        )
    return vectors


def _sum_words(
    tokenizer: "Tokenizer", table: "torch.Tensor", texts: pl.Series
) -> NDArray[np.float32]:
    spaced = pl.when(pl.col("text") != "").then(" " + pl.col("text")).otherwise("text")
    words = texts.to_frame("text").select(words=spaced.str.extract_all(WORD))["words"]
    counts = words.list.len().to_numpy().astype(np.int64)
    coded = words.list.explode(empty_as_null=False).to_arrow().dictionary_encode()
    of_words = _sum_tokens(tokenizer, table, coded.dictionary.to_pylist())
    return _sum_bags(coded.indices.to_numpy().astype(np.int64), counts, of_words)


def _sum_tokens(
    tokenizer: "Tokenizer", table: "torch.Tensor", texts: list[str]
) -> NDArray[np.float32]:
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    counts = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    flat = np.fromiter((i for row in ids for i in row), dtype=np.int64, count=int(counts.sum()))
    return _sum_bags(flat, counts, table.numpy())


def _sum_bags(
    ids: NDArray[np.int64], counts: NDArray[np.int64], table: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return sums [N, d] of rows of a table, of the first counts[0] ids, the next counts[1], ..."""
    if not len(ids):
        return np.zeros((len(counts), table.shape[1]), dtype=np.float32)
    sums: NDArray[np.float32] = torch.nn.functional.embedding_bag(
        torch.from_numpy(ids),
        torch.from_numpy(table),
        torch.from_numpy(np.cumsum(counts) - counts),
        mode="sum",
    ).numpy()
    return sums
