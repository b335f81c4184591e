"""Transport: potentials against plain Sinkhorn, POT and linear programs, the sign, planted rows."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.stats import spearmanr

from curate.core.calls import Counted
from curate.core.errors import UserError
from curate.core.store import Store
from curate.selectors.got import Costs, median_cost, row_potentials, scores, solve
from tests.selectors.targetruns import (
    bundled_run,
    embedded,
    precision,
    rank_frame,
    ranked,
    scores_of,
    stored_vectors,
    target_run,
    unit_vectors,
)

Array = NDArray[np.float64]
Vectors = NDArray[np.float32]


def in_blocks(cost: NDArray[Any], size: int = 7) -> Costs:
    def blocks() -> Iterator[NDArray[Any]]:
        yield from (cost[:, i : i + size] for i in range(0, cost.shape[1], size))

    return blocks


def centred(values: Array) -> Array:
    return np.asarray(values - values.mean())


def cosine_costs(examples: int, rows: int, seed: int) -> Array:
    targets, vectors = unit_vectors((examples, 6), seed), unit_vectors((rows, 6), seed + 1)
    return np.asarray(1 - targets.astype(float) @ vectors.astype(float).T)


def log_sum_exp(terms: Array, axis: int) -> Array:
    """Return what scipy's function does, which takes ten times as long for its checks of arrays."""
    highest = terms.max(axis=axis, keepdims=True)
    sums: Array = np.log(np.exp(terms - highest).sum(axis=axis)) + highest.squeeze(axis)
    return sums


def plain_sinkhorn(cost: Array, masses: Array, epsilon: float) -> tuple[Array, float]:
    """Both potentials by their formulas, and the value of the dual."""
    examples = len(cost)
    f, g = np.zeros(examples), np.zeros(cost.shape[1])
    for _ in range(20_000):
        f = -epsilon * log_sum_exp((g - cost) / epsilon + np.log(masses), axis=1)
        new = -epsilon * log_sum_exp((f[:, None] - cost) / epsilon - math.log(examples), axis=0)
        done = np.abs(new - g).max() < 1e-13
        g = new
        if done:
            break
    return g, float(f.mean() + masses @ g)


def program(cost: Array, masses: Array) -> tuple[Array, float]:
    """The dual of the rows' constraints and the distance, by a linear program."""
    examples, rows = cost.shape
    equal = np.zeros((examples + rows, examples * rows))
    for q in range(examples):
        equal[q, q * rows : (q + 1) * rows] = 1
    for i in range(rows):
        equal[examples + i, i::rows] = 1
    right = np.concatenate([np.full(examples, 1 / examples), masses])
    solution = linprog(cost.ravel(), A_eq=equal, b_eq=right, method="highs")
    return solution.eqlin.marginals[examples:], float(solution.fun)


@pytest.mark.parametrize("epsilon", [0.02, 0.1, 1.0])
def test_potentials_are_those_of_the_plain_iteration(epsilon: float) -> None:
    cost = cosine_costs(7, 30, 0)
    expected, _ = plain_sinkhorn(cost, np.full(30, 1 / 30), epsilon)
    potentials = solve(in_blocks(cost), 7, epsilon, tolerance=1e-12)
    np.testing.assert_allclose(centred(potentials.rows), centred(expected), atol=1e-9)
    assert potentials.error <= 1e-12
    assert potentials.rounds > 1


def test_potentials_are_those_of_pot() -> None:
    ot = pytest.importorskip("ot", reason="POT is not installed: pip install pot")
    cost = cosine_costs(20, 200, 1)
    masses = np.full(200, 1 / 200)
    _, log = ot.sinkhorn(
        np.full(20, 1 / 20), masses, cost, reg=0.05, method="sinkhorn_log", stopThr=1e-12,
        numItermax=10_000, log=True,
    )  # fmt: skip
    potentials = solve(in_blocks(cost, 64), 20, 0.05, tolerance=1e-12)
    # POT's kernel is without the masses.
    expected = 0.05 * (log["log_v"] - np.log(masses))
    np.testing.assert_allclose(centred(potentials.rows), centred(expected), atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_for_small_epsilon_they_are_the_dual_of_the_linear_program(seed: int) -> None:
    """7 and 30 have no common divisor, so the program has one dual only."""
    cost = cosine_costs(7, 30, 10 * seed)
    expected, _ = program(cost, np.full(30, 1 / 30))
    potentials = solve(in_blocks(cost), 7, 0.001, tolerance=1e-6)
    assert spearmanr(potentials.rows, expected).statistic >= 0.99
    np.testing.assert_allclose(centred(potentials.rows), centred(expected), atol=0.01)


def nudged(row: int, rows: int, step: float) -> Array:
    """Equal masses, of which a share of `step` was moved to one row."""
    masses = np.full(rows, (1 - step) / rows)
    masses[row] += step
    return masses


def test_they_are_how_fast_the_distance_grows_with_the_mass_of_a_row() -> None:
    cost, step = cosine_costs(7, 30, 2), 1e-5
    exact = solve(in_blocks(cost), 7, 0.001, tolerance=1e-6).rows
    smooth = solve(in_blocks(cost), 7, 0.1, tolerance=1e-12).rows
    for row in range(0, 30, 5):
        distance = [program(cost, nudged(row, 30, h))[1] for h in (0, step)]
        assert (distance[1] - distance[0]) / step == pytest.approx(centred(exact)[row], abs=0.01)
        dual = [plain_sinkhorn(cost, nudged(row, 30, h), 0.1)[1] for h in (-step, step)]
        slope = (dual[1] - dual[0]) / (2 * step)
        assert slope == pytest.approx(centred(smooth)[row], abs=1e-5)


def scored(
    store: Store, vectors: Vectors, targets: Vectors, epsilon: float = 0.1
) -> Counted[pl.DataFrame]:
    both = embedded(store, vectors, targets, [3, 11])
    return scores(both, epsilon)


def test_mass_on_the_best_row_lowers_the_distance_most(store: Store) -> None:
    vectors, targets = unit_vectors((40, 6), 3), unit_vectors((7, 6), 4)
    table = scored(store, vectors, targets, 0.02).result
    cost = 1 - targets.astype(float) @ vectors.astype(float).T
    whole = program(cost, np.full(40, 1 / 40))[1]
    row_numbers = [int(i[1:]) for i in rank_frame(table, "got")]
    change = [program(cost, nudged(i, 40, 0.05))[1] - whole for i in row_numbers]
    assert max(change[:4]) < 0 < min(change[-4:])
    assert change[0] < np.quantile(change, 0.1)
    assert spearmanr(change, np.arange(40)).statistic > 0.95


def test_scores_are_the_centred_potentials_with_the_nearest_example(store: Store) -> None:
    vectors, targets = unit_vectors((25, 6), 5), unit_vectors((5, 6), 6)
    counted = scored(store, vectors, targets)
    cost = 1 - targets.astype(float) @ vectors.astype(float).T
    table = counted.result
    counts: dict[str, Any] = dict(counted.counts)
    assert counts["epsilon"] == pytest.approx(0.1 * np.median(cost), rel=2e-3)
    expected, _ = plain_sinkhorn(cost, np.full(25, 1 / 25), counts["epsilon"])
    np.testing.assert_allclose(table["score"].to_numpy(), -centred(expected), atol=1e-4)
    assert table["nearest_id"].to_list() == [f"t{q}" for q in cost.argmin(axis=0)]
    assert table["row_id"].to_list() == [f"r{i:03}" for i in range(25)]
    assert counts["converged"] is True
    assert counts["share_error"] <= 1e-4


@pytest.mark.parametrize("epsilon", [0.02, 0.3])
def test_with_a_reference_they_are_how_fast_its_distance_grows_with_new_mass(
    epsilon: float,
) -> None:
    """The slope at a little mass on a row of the pool, taken from all rows of the reference."""
    cost = cosine_costs(5, 34, 12)
    reference, pool = cost[:, :28], cost[:, 28:]
    solved = solve(in_blocks(reference), 5, epsilon, tolerance=1e-12)
    grown = row_potentials(solved.examples, in_blocks(pool), epsilon) - solved.rows.mean()
    step = 1e-6
    before = plain_sinkhorn(reference, np.full(28, 1 / 28), epsilon)[1]
    for number in range(pool.shape[1]):
        both = np.c_[reference, pool[:, number]]
        masses = np.append(np.full(28, (1 - step) / 28), step)
        distance = plain_sinkhorn(both, masses, epsilon)[1]
        assert (distance - before) / step == pytest.approx(grown[number], abs=1e-3)


def test_a_reference_that_is_the_pool_changes_nothing(store: Store) -> None:
    both = embedded(store, unit_vectors((25, 6), 5), unit_vectors((5, 6), 6), [7])
    assert scores(both, 0.1).result.equals(scores(both, 0.1, both.blocks).result)


def test_what_the_reference_has_plenty_of_is_worth_less(store: Store) -> None:
    """Two examples, a row at each: the reference has one side only, so the other row comes first."""
    eye = np.eye(3, dtype=np.float32)
    both = embedded(store, eye[[0, 1, 2]], eye[:2])
    near = unit_vectors((20, 3), 0) * 0.05 + eye[0]
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    table = scores(both, 0.05, [stored_vectors(store, near.astype(np.float32))]).result
    by_id = dict(table.select("row_id", "score").iter_rows())
    assert rank_frame(table, "got") == ["r001", "r000", "r002"]
    assert by_id["r001"] > 0 > by_id["r002"]
    assert abs(by_id["r000"]) < 0.05
    alone = scores(both, 0.05).result
    assert alone["score"][0] == pytest.approx(alone["score"][1], abs=1e-3)


def test_a_run_reads_the_reference_of_a_file(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "learned.jsonl"
    lines = [{"prompt": f"book a table for {n}", "response": "fine"} for n in range(9)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pool = {"a": "book a table for ten", "b": "prove the theorem", "c": "the weather at sea"}
    run = target_run(store, pool, ["book a table", "prove a theorem"])
    assert ranked(run, "got", reference={"path": str(file)}) == ["b", "a", "c"]
    run.executed_steps.clear()
    ranked(run, "got", reference={"path": str(file)})
    assert run.executed_steps == []
    file.write_text("")
    with pytest.raises(UserError, match=r"select.reference: there is no record at all"):
        ranked(run, "got", reference={"path": str(file)})


def test_with_one_example_the_order_is_that_of_the_cosine(store: Store) -> None:
    vectors, targets = unit_vectors((25, 6), 7), unit_vectors((1, 6), 8)
    order = np.argsort(-(vectors @ targets.T)[:, 0])
    ranked_ids = rank_frame(scored(store, vectors, targets).result, "got")
    assert ranked_ids == [f"r{i:03}" for i in order]


def test_rows_near_a_neglected_example_get_a_bonus(store: Store) -> None:
    """Twelve rows are close to one example, two not quite as close to the other."""
    rng = np.random.default_rng(9)
    crowd = np.c_[np.ones(12), rng.uniform(0, 0.1, 12), rng.uniform(0, 0.1, 12)]
    few = np.c_[rng.uniform(0, 0.3, 2), np.ones(2), np.full(2, 0.4)]
    vectors = np.r_[crowd, few]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    targets = np.eye(3, dtype=np.float32)[:2]
    table = scored(store, vectors.astype(np.float32), targets).result
    assert set(rank_frame(table, "got")[:2]) == {"r012", "r013"}
    cosines = (vectors @ np.eye(3)[:2].T).max(axis=1)
    assert cosines[:12].min() > cosines[12:].max()


def test_blocks_and_the_order_of_rows_change_no_rank(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "book a table for two at eight in the evening near the north campus"
    words = text.split(" ")
    rng = np.random.default_rng(0)
    pool = {f"r{i:02}": " ".join(rng.choice(words, size=5)) for i in range(40)}
    target = ["book a table", "at eight in the evening", "north campus"]
    order = ranked(target_run(store, pool, target), "got")
    monkeypatch.setattr("curate.selectors.got.BLOCK_COSTS", 16)
    mixed = dict(reversed(pool.items()))
    assert ranked(target_run(store, mixed, target), "got") == order
    table = scores_of(target_run(store, mixed, target), "got")
    assert rank_frame(table.sample(fraction=1, shuffle=True, seed=0), "got", seed=4) == order


def test_equal_rows_rank_by_id(store: Store) -> None:
    vectors = np.tile(unit_vectors((1, 4), 0), (14, 1))
    table = scored(store, vectors, unit_vectors((1, 4), 0)).result
    assert rank_frame(table, "got") == [f"r{i:03}" for i in range(14)]
    assert table["score"].to_list() == [0] * 14


def test_tiny_epsilons_do_not_overflow() -> None:
    cost = cosine_costs(6, 50, 3).astype(np.float32)
    potentials = solve(in_blocks(cost), 6, 1e-4)
    assert np.isfinite(potentials.rows).all()


def test_more_rounds_change_no_rank() -> None:
    cost = cosine_costs(20, 300, 4).astype(np.float32)
    loose, tight = (solve(in_blocks(cost), 20, 0.05, tolerance=t).rows for t in (1e-4, 1e-6))
    assert spearmanr(loose, tight).statistic > 0.9999


def test_the_median_is_that_of_all_costs() -> None:
    for seed in range(3):
        cost = cosine_costs(5, 41, seed)
        assert median_cost(in_blocks(cost)) == pytest.approx(np.median(cost), abs=1.5e-4)
    assert median_cost(in_blocks(np.zeros((2, 5)))) > 0


def test_what_did_not_converge_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("curate.selectors.got.MOST_ROUNDS", 2)
    with caplog.at_level(logging.WARNING, logger="curate"):
        counts = scored(store, unit_vectors((30, 6), 5), unit_vectors((9, 6), 6), 0.01).counts
    assert counts["converged"] is False
    assert counts["rounds"] == 2
    assert "after 2 rounds" in caplog.text


def test_the_embedding_is_shared_with_embed(store: Store) -> None:
    run = target_run(store, {"a": "book a table", "b": "prove it"}, ["book a room"])
    ranked(run, "embed")
    run.executed_steps.clear()
    assert ranked(run, "got") == ["a", "b"]
    assert run.executed_steps == ["score-got"]


def test_the_bundled_family_is_found(store: Store) -> None:
    """9.3 % of the pool, then 5 %."""
    assert precision(ranked(bundled_run(store), "got")[:60]) >= 0.9
    assert precision(ranked(bundled_run(store, 70), "got")[:60]) >= 0.8
