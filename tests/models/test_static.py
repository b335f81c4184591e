"""Static embeddings: summing words is summing tokens, where no token reaches over a space."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.models.load import find_model, load_static
from curate.models.static import StaticModel, embed_static, splits_at_spaces, static_model


@pytest.fixture(scope="module")
def model() -> StaticModel:
    return static_model(*load_static(find_model("static").path))


@example(["▁ "])
@given(st.lists(st.text(st.sampled_from("ab  \n\t.▁é日<s>/0") | st.characters()), max_size=6))
def test_words_add_up_to_the_tokens_of_the_whole_text(model: StaticModel, texts: list[str]) -> None:
    texts = [text.encode(errors="replace").decode() for text in texts]
    ids = [
        encoding.ids for encoding in model.tokenizer.encode_batch(texts, add_special_tokens=False)
    ]
    table = model.table.numpy()
    expected = np.array([table[i].sum(axis=0) for i in ids]).reshape(len(texts), table.shape[1])
    np.testing.assert_allclose(embed_static(model, texts), expected, atol=1e-3, rtol=1e-4)


def test_a_tokenizer_whose_tokens_reach_over_spaces_reads_whole_texts(model: StaticModel) -> None:
    settings = json.loads(model.tokenizer.to_str())
    assert splits_at_spaces(settings)
    for change in (
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"truncation": {"max_length": 8}},
        {"normalizer": None},
        {"model": {**settings["model"], "vocab": {"of▁the": 0}}},
        {"model": {**settings["model"], "dropout": 0.1}},
        {"model": {"type": "WordPiece", "vocab": {}}},
    ):
        changed: dict[str, Any] = copy.copy(settings) | change
        assert not splits_at_spaces(changed)


def test_both_ways_agree(model: StaticModel) -> None:
    whole = StaticModel(model.tokenizer, model.table, None, [])
    texts = ["Name three rivers.", "", "a  b   c ", "x" * 500, "one</s> two"]
    np.testing.assert_allclose(
        embed_static(model, texts), embed_static(whole, texts), atol=1e-3, rtol=1e-4
    )
