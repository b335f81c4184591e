"""RDS+: the published loop, its variants, ties, and each target example finding itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from curate.core.store import Store
from curate.models.chat import tokenise
from curate.models.lm import encode
from curate.models.load import load_tokenizer
from curate.models.weights import load_trunk
from curate.selectors import whitening
from curate.selectors.rds import RdsSelector, scores
from curate.selectors.rounds import best_first, round_robin, round_robin_refill
from tests.conftest import row, stored_rows, stored_table, turns
from tests.selectors.targetruns import stored_vectors

Matrix = NDArray[np.float32]


def round_robin_order(scores: Matrix) -> NDArray[np.int64]:
    return round_robin(map(best_first, scores), scores.shape[1])


def refill_order(scores: Matrix) -> NDArray[np.int64]:
    return round_robin_refill([best_first(row) for row in scores], scores.shape[1])


def published_loop(scores: Matrix, budget: int) -> list[int]:
    """The loop of Ivison et al., as written: one turn names one row, new or not; ties by index."""
    left = scores.astype(np.float64).copy()
    chosen: list[int] = []
    while True:
        for example in range(len(left)):
            best = int(np.argmax(left[example]))
            left[example, best] = -np.inf
            if best not in chosen:
                chosen.append(best)
            if len(chosen) == budget:
                return chosen


def refill_loop(scores: Matrix) -> list[int]:
    """As above, but a turn goes on until it names a new row."""
    chosen: list[int] = []
    example = 0
    while len(chosen) < scores.shape[1]:
        free = [i for i in range(scores.shape[1]) if i not in chosen]
        chosen.append(min(free, key=lambda i: (-scores[example, i], i)))
        example = (example + 1) % len(scores)
    return chosen


# Few distinct values, so that ties and duplicates are common.
MATRICES = st.tuples(st.integers(1, 5), st.integers(1, 14)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1]))
)


@given(MATRICES)
def test_round_robin_is_the_published_loop_for_every_budget(scores: Matrix) -> None:
    order = round_robin_order(scores).tolist()
    for budget in range(1, scores.shape[1] + 1):
        assert order[:budget] == published_loop(scores, budget)


@given(MATRICES)
def test_refill_is_the_loop_in_which_duplicates_cost_no_turn(scores: Matrix) -> None:
    assert refill_order(scores).tolist() == refill_loop(scores)


HAND = np.array(
    [
        [0.9, 0.8, 0.7, 0.1, 0.1, 0.0],
        [0.9, 0.2, 0.8, 0.3, 0.1, 0.0],
        [0.1, 0.2, 0.3, 0.9, 0.9, 0.0],
    ],
    dtype=np.float32,
)


def test_a_hand_made_matrix_in_the_order_of_the_paper() -> None:
    """Turn 1: rows 0, (0 again), 3. Turn 2: 1, 2, 4. Then only row 5 is left."""
    assert round_robin_order(HAND).tolist() == [0, 3, 1, 2, 4, 5]


def test_a_hand_made_matrix_with_refill() -> None:
    """Example 1 names row 2 at once, since row 0 is taken."""
    assert refill_order(HAND).tolist() == [0, 2, 3, 1, 4, 5]


def scores_frame(ids: Sequence[str], scores: Matrix) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row_id": ids,
            "score": scores.max(axis=0),
            "similarities": pl.Series(scores.T, dtype=pl.Array(pl.Float32, len(scores))),
        }
    )


def rds(**settings: object) -> RdsSelector:
    return RdsSelector.model_validate({"budget": {"rows": 1}, **settings})


VARIANTS = [
    rds(),
    rds(refill=True),
    rds(combine="global_max"),
    rds(combine="global_max", refill=True),
]


@given(MATRICES)
def test_global_max_sorts_by_the_best_cosine_and_then_the_id(scores: Matrix) -> None:
    ids = [f"r{(5 * i) % 17:02}" for i in range(scores.shape[1])]
    frame = scores_frame(ids, scores)
    expected = sorted(range(len(ids)), key=lambda i: (-scores[:, i].max(), ids[i]))
    assert rds(combine="global_max").rank(frame, 0).tolist() == expected


@pytest.mark.parametrize("variant", VARIANTS, ids=range(4))
@given(scores=MATRICES, random=st.randoms(use_true_random=False))
def test_the_order_of_the_pool_changes_no_rank(
    variant: RdsSelector, scores: Matrix, random: random.Random
) -> None:
    ids = [f"r{i:02}" for i in range(scores.shape[1])]
    frame = scores_frame(ids, scores)
    mixed = random.sample(range(len(ids)), len(ids))
    order = frame["row_id"].gather(variant.rank(frame, 0)).to_list()
    assert frame[mixed]["row_id"].gather(variant.rank(frame[mixed], 0)).to_list() == order
    assert sorted(order) == ids


@pytest.mark.parametrize("variant", VARIANTS, ids=range(4))
def test_ties_go_to_the_smaller_row_id(variant: RdsSelector) -> None:
    frame = scores_frame(["c", "a", "b"], np.full((2, 3), 0.5, dtype=np.float32))
    assert frame["row_id"].gather(variant.rank(frame, 7)).to_list() == ["a", "b", "c"]


def test_global_max_lets_one_example_take_all_where_round_robin_shares() -> None:
    easy = np.linspace(0.99, 0.9, 8)
    scores = np.array([np.r_[easy, np.zeros(8)], np.r_[np.zeros(8), easy - 0.5]]).astype(np.float32)
    assert set(round_robin_order(scores)[:8].tolist()) == {0, 1, 2, 3, 8, 9, 10, 11}
    frame = scores_frame([f"r{i:02}" for i in range(16)], scores)
    assert set(rds(combine="global_max").rank(frame, 0)[:8].tolist()) == set(range(8))


# --- several tasks --------------------------------------------------------------------------------


def two_levels(scores: Matrix, tasks: Sequence[int]) -> list[int]:
    """Tasks take turns with the rows that their own examples name in turns, by the written loops.

    Examples that are similar to no row take none, unless there are no others.
    """
    near = [q for q in range(len(tasks)) if scores[q].any()] or range(len(tasks))
    lists = []
    for task in sorted({tasks[q] for q in near}):
        own = scores[[q for q in near if tasks[q] == task]]
        lists.append(published_loop(own, scores.shape[1]))
    chosen: list[int] = []
    for places in zip(*lists, strict=True):
        chosen.extend(i for i in places if i not in chosen)
        chosen = list(dict.fromkeys(chosen))
    return chosen


TASKED = MATRICES.flatmap(
    lambda scores: st.tuples(
        st.just(scores), st.lists(st.integers(0, 2), min_size=len(scores), max_size=len(scores))
    )
)


def with_tasks(frame: pl.DataFrame, tasks: Sequence[int]) -> pl.DataFrame:
    return frame.with_columns(tasks=pl.lit([*tasks], dtype=pl.Array(pl.Int16, len(tasks))))


@given(TASKED)
def test_tasks_take_turns_and_within_them_their_examples(tasked: tuple[Matrix, list[int]]) -> None:
    scores, tasks = tasked
    frame = with_tasks(scores_frame([f"r{i:02}" for i in range(scores.shape[1])], scores), tasks)
    assert rds().rank(frame, 0).tolist() == two_levels(scores, tasks)


@given(TASKED)
def test_the_published_rule_for_tasks_is_global_max_within_each(
    tasked: tuple[Matrix, list[int]],
) -> None:
    scores, tasks = tasked
    frame = with_tasks(scores_frame([f"r{i:02}" for i in range(scores.shape[1])], scores), tasks)
    best = [
        scores[[q for q, number in enumerate(tasks) if number == task]].max(axis=0)
        for task in sorted(set(tasks))
    ]
    expected = published_loop(np.stack(best), scores.shape[1])
    assert rds(combine="global_max").rank(frame, 0).tolist() == expected


def test_a_task_of_many_examples_gets_no_more_than_one_of_few() -> None:
    """Ten examples of task 0 like rows 0 to 9, the one of task 1 rows 10 to 19, with lower cosines."""
    like = np.linspace(0.9, 0.8, 10)
    scores = np.array([np.r_[np.roll(like, q), np.zeros(10)] for q in range(10)])
    scores = np.vstack([scores, np.r_[np.zeros(10), like - 0.5]]).astype(np.float32)
    ids = [f"r{i:02}" for i in range(20)]
    one = rds().rank(scores_frame(ids, scores), 0)[:8]
    two = rds().rank(with_tasks(scores_frame(ids, scores), [0] * 10 + [1]), 0)[:8]
    assert sum(one >= 10) == 0
    assert sum(two >= 10) == 4


def test_tasks_are_the_origins_of_the_target_rows(store: Store) -> None:
    vectors, targets = unit((12, 6), 0), unit((4, 6), 1)
    table = score(store, vectors, targets, [5], origins=["b", "a", None, "b"])
    assert table["tasks"].to_list() == [[0, 1, 2, 0]] * 12
    alone = score(store, vectors, targets, [5], ["b"] * 4)
    assert "tasks" not in alone.columns
    assert alone.equals(table.drop("tasks"))


# --- scores ---------------------------------------------------------------------------------------


def score(
    store: Store,
    vectors: Matrix,
    target_embeddings: Matrix,
    blocks: Sequence[int],
    origins: Sequence[str | None] = (),
) -> pl.DataFrame:
    """Score pool vectors, stored in blocks that start at the given rows, against the target's."""
    ids = [f"r{i}" for i in range(len(vectors))]
    tasks = [*origins] or [None] * len(target_embeddings)
    targets = [row(f"t{i}", turns("q", "a"), origin=name) for i, name in enumerate(tasks)]
    kept = stored_table(store, "kept", pl.DataFrame({"row_id": ids}))
    return scores(
        kept=kept,
        measured=kept,
        blocks=[stored_vectors(store, part, "index") for part in np.split(vectors, list(blocks))],
        target=stored_rows(store, "target", targets),
        target_vectors=stored_vectors(store, target_embeddings, "index"),
    ).result


def unit(shape: tuple[int, int], seed: int) -> Matrix:
    vectors = np.random.default_rng(seed).normal(size=shape)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_scores_are_the_cosines_of_every_row_with_every_example(store: Store) -> None:
    vectors, targets = unit((25, 6), 0), unit((4, 6), 1)
    table = score(store, vectors, targets, [3, 4, 20])
    assert table["row_id"].to_list() == [f"r{i}" for i in range(25)]
    for i, line in enumerate(table.iter_rows(named=True)):
        cosines = [float(np.dot(vectors[i].astype(float), w)) for w in targets.astype(float)]
        np.testing.assert_allclose(line["similarities"], cosines, atol=1e-6)
        assert line["score"] == pytest.approx(max(cosines), abs=1e-6)
        assert line["nearest_id"] == f"t{int(np.argmax(cosines))}"


def test_a_small_skill_is_nearer_once_the_common_part_is_gone(store: Store) -> None:
    """Centred and whitened cosines are stored where the selector has a basis."""
    vectors, targets = unit((40, 8), 0), unit((2, 8), 1)
    kept = stored_table(store, "kept", pl.DataFrame({"row_id": [f"r{i}" for i in range(40)]}))
    blocks = [stored_vectors(store, part, "index") for part in np.split(vectors, [9])]
    rows = whitening.basis(kept=kept, measured=kept, blocks=blocks, directions=2)
    examples = stored_rows(store, "target", [row(f"t{i}", turns("q", "a")) for i in range(2)])
    table = scores(
        kept=kept, measured=kept, blocks=blocks, target=examples,
        target_vectors=stored_vectors(store, targets, "index"),
        basis=stored_vectors(store, rows.astype(np.float32), "basis"),
    ).result  # fmt: skip
    expected = whitening.transform(vectors, rows) @ whitening.transform(targets, rows).T
    np.testing.assert_allclose(table["similarities"].to_numpy(), expected, atol=1e-6)


def test_a_row_whose_vector_is_not_finite_has_no_score(store: Store) -> None:
    vectors = unit((5, 3), 0)
    vectors[2, 1] = np.nan
    table = score(store, vectors, unit((2, 3), 1), [])
    assert table["score"].is_null().to_list() == [False, False, True, False, False]
    assert "models.dtype: float32" in table["reason"][2]


@pytest.mark.model
def test_every_target_example_in_the_pool_comes_back_first_for_itself(smollm: Path) -> None:
    rng = random.Random(0)
    names = ["Ann", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal"]
    pool = [
        turns(
            f"{rng.choice(names)} buys {rng.randrange(90)} nuts, how many?", f"{rng.randrange(9)}"
        )
        for _ in range(24)
    ]
    target = [
        turns("Write a haiku about rain.", "Soft rain on the roof"),
        turns("Ann buys 7 nuts, how many?", "7"),
        turns("Ann buys 8 nuts, how many?", "8"),
        turns("Was ist 7 mal 8?", "56"),
    ]
    ids = tokenise(load_tokenizer(smollm), [*pool, *target], 64)
    trunk = load_trunk(smollm, "float32")
    vectors, targets = encode(trunk, ids), encode(trunk, ids[len(pool) :], batch_tokens=64)
    cosines = (vectors @ targets.T).T
    for number, own in enumerate(range(len(pool), len(ids))):
        assert cosines[number].argmax() == own
        assert cosines[number, own] >= 0.999
    order = round_robin_order(cosines)
    assert set(order[: len(target)].tolist()) == set(range(len(pool), len(ids)))
