"""DSIR: weights against plain counting, smoothing and length traps, fair draws, planted rows."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.core.store import Store
from curate.selectors.dsir import DsirSelector, hash_ngrams, log_ratios
from tests.conftest import examples
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

# So many that the few n-grams of these tests do not share one.
MANY = 200_003
PROMPTS: dict[str, Any] = {"compare": "prompt"}


def ngrams(text: str) -> list[str]:
    words = re.findall(r"\w+|[^\w\s]+", text.lower())
    return words + [f"{a} {b}" for a, b in itertools.pairwise(words)]


def plain_weights(
    pool: Sequence[str], target: Sequence[str], pseudo: float
) -> tuple[list[float], list[int]]:
    """Sums of log p_target - log p_pool over n-grams, with pseudo-counts spread as the pool's are."""
    pool_counts = Counter(g for text in pool for g in ngrams(text))
    target_counts = Counter(g for text in target for g in ngrams(text))
    weights, counts = [], []
    for text in pool:
        weight = 0.0
        for gram in ngrams(text):
            in_pool = pool_counts[gram] / pool_counts.total()
            in_target = (target_counts[gram] + pseudo * in_pool) / (target_counts.total() + pseudo)
            weight += math.log(in_target) - math.log(in_pool)
        weights.append(weight)
        counts.append(len(ngrams(text)))
    return weights, counts


WORDS = ["to", "be,", "or", "NOT", "...", "über", "x=1;", "été"]
TEXTS = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join),
    min_size=1,
    max_size=10,
)  # fmt: skip


@settings(examples(0.3), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pool=TEXTS, target=TEXTS, pseudo=st.sampled_from([0.01, 1.0, 30.0]))
def test_weights_are_counted_log_ratios(
    store: Store, pool: list[str], target: list[str], pseudo: float
) -> None:
    run = target_run(store, {f"r{i}": text for i, text in enumerate(pool)}, target)
    options: dict[str, Any] = {**PROMPTS, "buckets": MANY, "smoothing": pseudo / MANY}
    weights, counts = plain_weights(pool, target, pseudo)
    summed = scores_of(run, "dsir", normalise="none", **options)
    assert summed["ngrams"].to_list() == counts
    if summed["score"].null_count():
        pieces = [hash_ngrams(pl.Series(texts), MANY)[0] for texts in (pool, target)]
        assert not np.isin(pieces[0], pieces[1]).any()
        assert set(summed["reason"]) == {"no row shares a word with the target"}
        return
    np.testing.assert_allclose(summed["score"], weights, atol=1e-9)
    each = scores_of(run, "dsir", **options)
    np.testing.assert_allclose(each["score"], np.divide(weights, counts), atol=1e-9)


def test_three_words_by_hand(store: Store) -> None:
    """Pool a, b, a; target a: p = 2/3 and 1/3, with 3 pseudo-counts (1 + 2) / 4 and (0 + 1) / 4."""
    run = target_run(store, {"x": "a", "y": "b", "z": "a"}, ["a"])
    table = scores_of(run, "dsir", buckets=MANY, smoothing=3 / MANY, **PROMPTS)
    expected = [math.log(3 / 4 / (2 / 3)), math.log(1 / 4 / (1 / 3)), math.log(3 / 4 / (2 / 3))]
    np.testing.assert_allclose(table["score"], expected)
    assert table["nearest_id"].null_count() == 3


def test_weights_are_zero_where_the_target_is_the_pool(store: Store) -> None:
    pool = {"x": "to be or not", "y": "to be", "z": "that is it; it is"}
    table = scores_of(target_run(store, pool, [*pool.values(), *pool.values()]), "dsir", **PROMPTS)
    np.testing.assert_allclose(table["score"], 0, atol=1e-12)


def test_words_pairs_case_and_punctuation() -> None:
    def buckets(*texts: str) -> list[list[int]]:
        bucket, owner = hash_ngrams(pl.Series(list(texts)), MANY)
        return [sorted(bucket[owner == i].tolist()) for i in range(len(texts))]

    one, other, order, marks, repeat, none = buckets(
        "Ann has; it", "ann HAS ;  it", "has ann ; it", "ann has it", "ha ha", ""
    )
    assert one == other
    assert len(one) == 4 + 3
    assert one != order
    assert len(marks) == 3 + 2
    assert len(set(repeat)) == 2
    assert none == []
    assert buckets("été Ünder")[0] == buckets("ÉTÉ ünder")[0]


def run_of(store: Store, odd: str) -> TargetRun:
    """A pool of 30 common rows, one on topic, one with nothing but words of its own."""
    pool = {f"r{i:02}": "the cat sat on the mat with the dog" for i in range(30)}
    pool |= {"odd": odd, "topic": "note the day and time with the dentist please"}
    return target_run(store, pool, ["note the day and time please", "note the time and day"])


def test_an_unknown_word_costs_the_same_however_rare(store: Store) -> None:
    """Evenly spread pseudo-counts would pay 'zyx' for being rare in the pool."""
    run = run_of(store, "zyx wvu tsr")
    table = scores_of(run, "dsir", buckets=MANY, smoothing=20 / MANY, **PROMPTS)
    scores = dict(table.select("row_id", "score").iter_rows())
    target_ngrams = sum(
        len(ngrams(t)) for t in ("note the day and time please", "note the time and day")
    )
    assert scores["odd"] == pytest.approx(math.log(20 / (target_ngrams + 20)))
    assert ranked(run, "dsir", **PROMPTS)[0] == "topic"
    assert scores["r00"] < 0 < scores["topic"]


def test_without_smoothing_the_shortest_row_wins(store: Store) -> None:
    """What the authors' 1e-8 does to small targets."""
    run = run_of(store, "zyx")
    bare = ranked(run, "dsir", smoothing=1e-8, normalise="none", **PROMPTS)
    assert bare[0] == "odd"
    assert ranked(run, "dsir", normalise="none", **PROMPTS)[0] == "topic"


def test_a_sum_favours_length_and_a_mean_does_not(store: Store) -> None:
    pool = {f"r{i}": "the cat sat on the mat" for i in range(20)}
    pool |= {"once": "note the time", "often": ". ".join(["note the time"] * 9)}
    run = target_run(store, pool, ["note the time", "note the day"])
    assert ranked(run, "dsir", normalise="none", **PROMPTS)[0] == "often"
    assert ranked(run, "dsir", **PROMPTS)[0] == "once"


def test_ratios_of_buckets_that_no_row_has_are_zero() -> None:
    ratios = log_ratios(np.array([5, 0, 1]), np.array([0, 4, 4]), 1.0)
    assert ratios[0] == 0
    np.testing.assert_allclose(ratios[1:], np.log([(0 / 0.5 + 3) / 9, (1 / 0.5 + 3) / 9]))


# --- draws ----------------------------------------------------------------------------------------


def frame(weights: Sequence[float], ids: Sequence[str] | None = None) -> pl.DataFrame:
    return pl.DataFrame({"row_id": ids or [f"r{i}" for i in range(len(weights))], "score": weights})


DRAW = {"draw": "gumbel", "normalise": "none"}


def test_draws_are_in_proportion_to_exp_of_the_weight() -> None:
    """First rows of 2,000 draws from five: chi-square with 4 degrees below its 0.1 % point."""
    weights = [0.0, 0.5, -0.3, 1.2, 0.1]
    first = Counter(rank_frame(frame(weights), "dsir", seed, **DRAW)[0] for seed in range(2_000))
    chances = np.exp(weights) / np.exp(weights).sum()
    expected = {f"r{i}": 2_000 * chance for i, chance in enumerate(chances)}
    assert sum((first[i] - n) ** 2 / n for i, n in expected.items()) < 18.5


def test_a_draw_depends_on_the_seed_and_not_on_the_order_of_the_table() -> None:
    table = frame(np.zeros(60).tolist())
    order = rank_frame(table, "dsir", 3, **DRAW)
    assert rank_frame(table.reverse(), "dsir", 3, **DRAW) == order
    assert rank_frame(table, "dsir", 3, **DRAW) == order
    assert len({tuple(rank_frame(table, "dsir", seed, **DRAW)) for seed in range(10)}) == 10


def test_the_top_is_sorted_by_weight_then_id_whatever_the_seed() -> None:
    table = frame([0.5, 1.0, 0.5, -1.0], ["d", "b", "a", "c"])
    for seed in range(3):
        assert rank_frame(table, "dsir", seed) == ["b", "a", "d", "c"]


def test_a_draw_of_weights_per_ngram_is_refused() -> None:
    with pytest.raises(ValidationError, match="gumbel needs normalise: none"):
        DsirSelector.model_validate({"budget": {"rows": 1}, "draw": "gumbel"})


# --- runs -----------------------------------------------------------------------------------------


def test_words_of_dropped_rows_play_no_part(store: Store) -> None:
    pool = {"a": "one two", "b": "two three", "c": "three three", "d": "one"}
    run = target_run(store, pool, ["one"])
    keep(run, [0, 1, 3])
    options: dict[str, Any] = {**PROMPTS, "buckets": MANY, "smoothing": 4 / MANY}
    table = scores_of(run, "dsir", normalise="none", **options)
    assert table["row_id"].to_list() == ["a", "b", "d"]
    np.testing.assert_allclose(
        table["score"], plain_weights(["one two", "two three", "one"], ["one"], 4)[0]
    )


def test_batches_and_the_order_of_the_pool_change_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    pool = {f"r{i:02}": " ".join(rng.choice(list("abcdefgh"), size=4)) for i in range(30)}
    run = target_run(store, pool, ["a b c", "d d e"])
    whole, order = scores_of(run, "dsir"), ranked(run, "dsir")
    monkeypatch.setattr("curate.selectors.pool_target.BATCH_ROWS", 7)
    again = target_run(Store(store.root / "again"), pool, ["a b c", "d d e"])
    assert scores_of(again, "dsir").equals(whole)
    mixed = target_run(store, dict(reversed(pool.items())), ["a b c", "d d e"])
    assert ranked(mixed, "dsir") == order


def test_another_draw_scores_nothing_anew(store: Store) -> None:
    run = target_run(store, {"a": "one", "b": "two"}, ["one"])
    ranked(run, "dsir", normalise="none")
    ranked(run, "dsir", seed=1, budget={"tokens": 5}, **DRAW)
    assert run.executed_steps == ["score-dsir"]


def test_it_needs_a_target(store: Store) -> None:
    run = target_run(store, {"a": "one"}, ["one"])
    run.target = None
    with pytest.raises(UserError, match="needs target examples"):
        scores_of(run, "dsir")


@pytest.mark.parametrize("variant", [{}, {"normalise": "none"}, DRAW])
def test_the_bundled_family_is_found(store: Store, variant: dict[str, Any]) -> None:
    """9.3 % of the pool, then 5 %."""
    assert precision(ranked(bundled_run(store), "dsir", **variant)[:60]) >= 0.9
    assert precision(ranked(bundled_run(store, 70), "dsir", **variant)[:60]) >= 0.8
