"""Sentence embeddings: a text's vector is its own, and blocks of them come back by content."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from curate.core.keyed import EmbedderSource
from curate.core.stageinputs import StageInputs
from curate.core.store import Store
from curate.models import embed
from curate.models.blocks import blocks_of
from curate.models.embed import embed_survivors, embed_texts, unit
from curate.models.index import read_vectors
from curate.models.load import find_model, load_embedder
from curate.text.compared import Compared
from tests.conftest import StoreRun, row, stored_rows, turns

TEXTS = ["How do I boil an egg?", "Put it in hot water.", "  Eggs,  eggs \n and\teggs ", "x"]
STATIC = "static"


def test_vectors_have_length_one_and_zeros_stay_zero() -> None:
    vectors = embed_texts([*TEXTS, ""], STATIC)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 1, 0], atol=1e-6)
    assert embed_texts([], STATIC).shape == (0, vectors.shape[1])
    assert not np.isnan(unit(np.zeros((2, 3), dtype=np.float32))).any()


def test_a_static_vector_depends_on_its_text_alone() -> None:
    many = [f"{text} {i}" for i in range(300) for text in TEXTS]
    vectors = embed_texts(many, STATIC)
    assert (embed_texts(many[::-1], STATIC)[::-1] == vectors).all()
    assert (embed_texts(many[7:8], STATIC) == vectors[7:8]).all()


@pytest.mark.model
def test_static_vectors_are_those_of_sentence_transformers() -> None:
    texts = [*TEXTS, "", " ", "a  b", "</s>", "one</s> two", "日本 語", "é ü\n\n  z", "▁a ▁"]
    model = load_embedder(find_model("static"))
    expected = unit(np.nan_to_num(model.encode(texts)).astype(np.float32))
    own = embed._encode(embed.load_model("static"), texts)
    np.testing.assert_allclose(own, expected, atol=1e-6)
    english = [i for i, text in enumerate(texts) if text != "日本 語"]
    np.testing.assert_array_equal(embed_texts(texts, STATIC)[english], own[english])


@pytest.mark.model
def test_what_else_is_in_a_batch_moves_a_transformers_vector_by_rounding_only() -> None:
    texts = [f"{text} {'and so on ' * i}" for i in range(0, 40, 4) for text in TEXTS]
    vectors = embed_texts(texts, "minilm")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embed_texts(texts[::-1], "minilm")[::-1], vectors, atol=2e-6)
    np.testing.assert_allclose(embed_texts(texts[9:10], "minilm"), vectors[9:10], atol=2e-6)
    assert embed_texts([], "minilm").shape == (0, vectors.shape[1])


def pool(store: Store, texts: Sequence[str]) -> StageInputs:
    rows = [row(f"r{i:03}", turns(text, "ok")) for i, text in enumerate(texts)]
    return StageInputs(stored_rows(store, "pool", rows))


def keys(run: StoreRun, data: StageInputs, compare: Compared) -> list[str]:
    """Return the keys of the blocks of vectors, which are not computed."""
    run.skipped, run.calls = ["embed"], []
    embed_survivors(run, data, compare, None)
    return run.keys("embed")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "SMALLEST_BLOCK", 4)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_hold_the_vectors_of_all_rows_in_order(store: Store) -> None:
    run, texts = StoreRun(store), [f"question {i}" for i in range(10)]
    blocks = embed_survivors(run, pool(store, texts), "prompt", None)
    assert len(blocks) == 3
    assert (read_vectors(blocks) == embed_texts(texts, STATIC)).all()


@pytest.mark.usefixtures("small_blocks")
def test_an_edited_row_leaves_the_other_blocks_as_they_were(store: Store) -> None:
    run, texts = StoreRun(store), [f"question {i}" for i in range(10)]
    before = keys(run, pool(store, texts), "example")
    texts[5] = "edited"
    after = keys(run, pool(store, texts), "example")
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_a_key_holds_what_is_compared_and_the_embedder(store: Store) -> None:
    class Other(StoreRun):
        def embedder(self, name: str | None = None) -> EmbedderSource:
            return EmbedderSource({"embedder": "other"}, "other")

    compared: list[Compared] = ["example", "prompt", "response"]
    embed_keys = [
        tuple(keys(run, pool(store, TEXTS), compare))
        for run in (StoreRun(store), Other(store))
        for compare in compared
    ]
    assert len(set(embed_keys)) == 6


def test_blocks_are_never_too_many() -> None:
    assert blocks_of(np.empty(0, dtype=np.int64), 0, 4) == []
    positions = np.arange(0, 10_000, 3)
    blocks = blocks_of(positions, 10_000, 4)
    assert len(blocks) <= 128
    assert [p for block in blocks for p in block] == positions.tolist()
    assert all(np.shares_memory(block, positions) for block in blocks), "no number a row beside it"
