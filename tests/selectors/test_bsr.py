"""Set-BSR: turns of the target examples, and whole runs with a tiny encoder."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.core.store import Store
from curate.models.tokenvectors import encode_tokens
from curate.selectors.bsr import NOT_NEAR, first_turns
from tests.conftest import write_tiny_encoder
from tests.selectors.targetruns import (
    TargetRun,
    bundled_run,
    keep,
    precision,
    rank_frame,
    ranked,
    scores_of,
    target_run,
)
from tests.text.plaincover import plain_cover

Matrix = NDArray[np.float32]

ORDERS = st.integers(1, 12).flatmap(
    lambda rows: st.lists(
        st.permutations(range(rows)).flatmap(
            lambda order: st.integers(0, rows).map(lambda n: np.array(order[:n], dtype=np.int64))
        ),
        min_size=1,
        max_size=4,
    ).map(lambda orders: (rows, orders))
)


@given(ORDERS)
def test_examples_first_turns(drawn: tuple[int, list[NDArray[np.int64]]]) -> None:
    rows, orders = drawn
    named: dict[int, int] = {}
    for turn in range(rows):
        for q, order in enumerate(orders):
            if turn < len(order):
                named.setdefault(int(order[turn]), q)
    time, owner = first_turns(orders, rows)
    row_order = np.argsort(time, kind="stable")[: len(named)].tolist()
    assert row_order == list(named)
    assert owner.tolist() == [named.get(i, -1) for i in range(rows)]


# --- runs with a tiny encoder ---------------------------------------------------------------------

TEXT = "book a table for two at eight the train leaves north campus note day time"
WORDS = TEXT.split(" ")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a random two-layer encoder that reads 12 tokens."""
    return str(write_tiny_encoder(tmp_path_factory.mktemp("encoder"), WORDS))


@cache
def plain_encoder(encoder: str) -> tuple[Any, Any]:
    """The tokenizer and the model, by transformers alone."""
    from transformers import AutoModel, AutoTokenizer

    return AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder).eval()


def plain_tokens(encoder: str, text: str) -> Matrix:
    """One text at a time, with transformers alone; the first and last token are special."""
    import torch

    tokenizer, model = plain_encoder(encoder)
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=12)
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state[0, 1:-1].numpy()
    return np.asarray(states / np.linalg.norm(states, axis=1, keepdims=True))


def sentences(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(2, 15))) for _ in range(count)]


def run_of(store: Store, pool: dict[str, str]) -> TargetRun:
    return target_run(store, pool, ["book a table", "note the day at eight", "train"], response="a")


def test_tokens_are_those_of_the_encoder_alone(encoder: str) -> None:
    texts = [*sentences(20, 0), "owl table"]
    encoded = encode_tokens(texts, encoder)
    for text, states in zip(texts, encoded, strict=True):
        np.testing.assert_allclose(states, plain_tokens(encoder, text), atol=1e-5)


@pytest.mark.parametrize("candidates", [4, 100])
def test_a_run_is_the_method_written_out(store: Store, encoder: str, candidates: int) -> None:
    pool = {f"r{i:02}": text for i, text in enumerate(sentences(20, 1))}
    run = run_of(store, pool)
    table = scores_of(run, "bsr", encoder=encoder, candidates=candidates, compare="prompt")
    cosines = scores_of(run, "embed", compare="prompt")["similarities"].to_numpy()
    ids = list(pool)
    states = {i: plain_tokens(encoder, text) for i, text in pool.items()}
    orders, best = [], dict.fromkeys(ids, -np.inf)
    for q, text in enumerate(["book a table", "note the day at eight", "train"]):
        near = sorted(zip(-cosines[:, q], ids, strict=True))[:candidates]
        candidate_ids = sorted(row_id for _, row_id in near)
        example_tokens = plain_tokens(encoder, text)
        parts = np.array(
            [
                (example_tokens @ states[i].T).max(axis=1) / len(example_tokens)
                for i in candidate_ids
            ]
        )
        orders.append([candidate_ids[i] for i in plain_cover(parts)])
        for i, sums in zip(candidate_ids, parts.sum(axis=1), strict=True):
            best[i] = max(best[i], sums)
    merged: dict[str, int] = {}
    for turn in range(candidates):
        for q, order in enumerate(orders):
            if turn < len(order):
                merged.setdefault(order[turn], q)
    left = sorted(set(ids) - set(merged), key=lambda i: (-cosines[ids.index(i)].max(), i))
    assert rank_frame(table, "bsr") == [*merged, *left]
    assert bool(left) == (candidates == 4)
    for line in table.iter_rows(named=True):
        if line["row_id"] in merged:
            assert line["score"] == pytest.approx(best[line["row_id"]], abs=1e-5)
            assert line["nearest_id"] == f"t{merged[line['row_id']]}"
            assert line["reason"] is None
        else:
            assert line["score"] is None
            assert line["reason"] == NOT_NEAR
            assert line["nearest_id"] == f"t{cosines[ids.index(line['row_id'])].argmax()}"


def test_blocks_dropped_rows_and_the_order_of_the_pool(
    store: Store, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = {f"r{i:02}": text for i, text in enumerate(sentences(24, 2))}
    settings: dict[str, Any] = {"encoder": encoder, "candidates": 9}
    run = run_of(store, pool)
    order = ranked(run, "bsr", **settings)
    monkeypatch.setattr("curate.selectors.bsr.SMALLEST_BLOCK", 4)
    monkeypatch.setattr("curate.models.tokenvectors.BATCH_TEXTS", 3)
    assert ranked(run_of(store, dict(reversed(pool.items()))), "bsr", **settings) == order
    dropped = run_of(store, {"x0": "train north", **pool, "x1": "at eight"})
    keep(dropped, range(1, 25))
    assert ranked(dropped, "bsr", **settings) == order
    table = scores_of(dropped, "bsr", **settings).sample(fraction=1, shuffle=True, seed=0)
    assert rank_frame(table, "bsr", seed=3) == order


def test_nothing_is_encoded_twice(store: Store, encoder: str) -> None:
    pool = {f"r{i:02}": text for i, text in enumerate(sentences(10, 3))}
    run = run_of(store, pool)
    ranked(run, "bsr", encoder=encoder)
    run.executed_steps.clear()
    ranked(run, "bsr", encoder=encoder, budget={"fraction": 0.5})
    assert run.executed_steps == []
    ranked(run, "bsr", encoder=encoder, candidates=3)
    assert run.executed_steps == ["bsr-candidates", "bsr-recall", "score-bsr"]


def test_an_encoder_without_tokens_is_refused(store: Store) -> None:
    with pytest.raises(UserError, match="'static' has no vectors of tokens"):
        scores_of(run_of(store, {"a": "table"}), "bsr", encoder="static")


def test_it_needs_a_target(store: Store) -> None:
    run = target_run(store, {"a": "one"}, ["one"])
    run.target = None
    with pytest.raises(UserError, match="needs target examples"):
        scores_of(run, "bsr")


@pytest.mark.model
def test_the_bundled_family_is_found(store: Store) -> None:
    """5 % of the pool; few candidates, for time."""
    assert precision(ranked(bundled_run(store, 70), "bsr", candidates=15)[:60]) >= 0.7
