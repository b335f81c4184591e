"""Set-BSR: greedy coverage against plain and exhaustive search, the reset rule, whole runs."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.core.store import Store
from curate.selectors.bsr import NOT_NEAR, ROUNDING, best_cosines, cover, encode_tokens, first_turns
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

Matrix = NDArray[np.float32]

# Few distinct values, so that ties, resets and equal rows are common.
PARTS = st.tuples(st.integers(1, 8), st.integers(1, 5)).flatmap(
    lambda shape: hnp.arrays(
        np.float32, shape, elements=st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75, 1])
    )
)
POSITIVE = st.tuples(st.integers(1, 8), st.integers(1, 5)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32))
)


def value(parts: Matrix, chosen: list[int]) -> float:
    return float(parts[chosen].max(axis=0).sum(dtype=np.float64)) if chosen else 0.0


def plain_cover(parts: Matrix) -> list[int]:
    """As the authors put it: if the best candidate does not improve the cover, start from nothing."""
    rows, tokens = parts.shape
    chosen: list[int] = []
    covered, total = np.full(tokens, -np.inf), -np.inf
    while len(chosen) < rows:
        free = [i for i in range(rows) if i not in chosen]
        values = [float(np.maximum(covered, parts[i]).sum()) for i in free]
        best = max(values)
        if best <= total + ROUNDING:
            covered, total = np.full(tokens, -np.inf), -np.inf
            continue
        first = next(k for k, v in enumerate(values) if v >= best - ROUNDING)
        chosen.append(free[first])
        covered, total = np.maximum(covered, parts[chosen[-1]]), values[first]
    return chosen


@given(PARTS)
def test_the_order_is_that_of_the_plain_loop(parts: Matrix) -> None:
    assert cover(parts).tolist() == plain_cover(parts)


def test_a_covered_example_is_covered_anew() -> None:
    """Row 0 covers one token, row 2 the other; row 1 adds nothing then, and opens a second layer."""
    parts = np.array([[0.9, 0.1], [0.8, 0.0], [0.0, 0.6]], dtype=np.float32)
    assert cover(parts).tolist() == [0, 2, 1]
    # By its own recall row 1 comes second, but what it covers is covered.
    assert np.argsort(-parts.sum(axis=1)).tolist() == [0, 1, 2]
    # In the second layer the rest is ordered as if nothing were covered.
    again = np.array([[1, 1], [0.2, 0.9], [0.9, 0.1], [0.1, 0.3]], dtype=np.float32)
    assert cover(again).tolist() == [0, 1, 2, 3]


@given(POSITIVE)
def test_the_first_row_is_the_one_of_largest_bsr(parts: Matrix) -> None:
    assert parts[cover(parts)[0]].sum() == pytest.approx(parts.sum(axis=1).max(), abs=1e-5)


@given(POSITIVE, st.integers(1, 4))
def test_greedy_is_near_the_best_set(parts: Matrix, size: int) -> None:
    order = cover(parts).tolist()[:size]
    sets = itertools.combinations(range(len(parts)), min(size, len(parts)))
    best = max(value(parts, list(some)) for some in sets)
    assert value(parts, order) >= (1 - 1 / math.e) * best - 1e-4


@given(POSITIVE)
def test_more_rows_never_cover_less_and_every_row_is_named_once(parts: Matrix) -> None:
    order = cover(parts).tolist()
    assert sorted(order) == list(range(len(parts)))
    values = [value(parts, order[:n]) for n in range(len(order) + 1)]
    assert values == sorted(values)
    rises = np.diff(values)
    first = next((n for n, rise in enumerate(rises) if rise <= 1e-5), len(rises))
    assert all(a >= b - 1e-4 for a, b in itertools.pairwise(rises[:first]))


def test_copies_of_a_row_do_not_come_together() -> None:
    parts = np.array([[0.9, 0.2], [0.9, 0.2], [0.9, 0.2], [0.1, 0.8]], dtype=np.float32)
    noise = np.random.default_rng(0).uniform(-1e-6, 1e-6, parts.shape).astype(np.float32)
    assert 3 in cover(parts + noise)[:2]
    assert cover(parts).tolist() == [0, 3, 1, 2]


def test_an_example_without_tokens_takes_rows_in_their_order() -> None:
    assert cover(np.zeros((3, 0), dtype=np.float32)).tolist() == [0, 1, 2]


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


def test_recall_is_the_best_match_of_each_token() -> None:
    rng = np.random.default_rng(0)
    example_tokens, states = (rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 5))
    expected = [max(float(x @ z) for z in states) for x in example_tokens]
    np.testing.assert_allclose(best_cosines(example_tokens, states), expected, rtol=1e-5)
    assert best_cosines(example_tokens, states[:0]).tolist() == [0, 0, 0]


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
    monkeypatch.setattr("curate.selectors.bsr.BATCH_TEXTS", 3)
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
    assert precision(ranked(bundled_run(store, 70), "bsr", candidates=30)[:60]) >= 0.7
