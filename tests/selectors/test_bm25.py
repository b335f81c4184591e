"""BM25: against a plain loop, its parts by hand, and the bundled pool."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.core.store import Store
from curate.selectors.bm25 import Bm25Selector
from curate.selectors.selection import choice_remarks
from tests.conftest import examples
from tests.selectors.targetruns import (
    bundled_run,
    keep,
    precision,
    rank_frame,
    ranked,
    scores_of,
    target_run,
)

K1, B = 1.2, 0.75


def words(text: str) -> list[str]:
    """Enough for ASCII."""
    return re.findall(r"[a-z0-9]+", text.lower())


def plain_bm25(pool: list[str], query: str, k1: float = K1, b: float = B) -> list[float]:
    """The formula as written, over the weights of all words of the query."""
    rows = [Counter(words(text)) for text in pool]
    lengths = [sum(row.values()) for row in rows]
    mean = sum(lengths) / len(lengths)
    query_counts = Counter(words(query))
    idf = {}
    for word in query_counts:
        holders = sum(word in row for row in rows)
        idf[word] = math.log(1 + (len(rows) - holders + 0.5) / (holders + 0.5))
    whole = sum(count * idf[word] for word, count in query_counts.items())
    scores = []
    for row, length in zip(rows, lengths, strict=True):
        score = 0.0
        for word, count in query_counts.items():
            f = row[word]
            if f:
                score += count * idf[word] * f / (f + k1 * (1 - b + b * length / mean))
        scores.append(score / whole)
    return scores


SAID = ["to", "be", "or", "not", "the", "Question,", "that", "is"]
TEXTS = st.lists(
    st.lists(st.sampled_from(SAID), min_size=1, max_size=9).map(" ".join),
    min_size=2,
    max_size=12,
)  # fmt: skip
SLOW = settings(examples(0.5), suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(pool=TEXTS, target=TEXTS, k1=st.sampled_from([0.0, 1.2, 2.0]), b=st.sampled_from([0, 0.75]))
def test_similarities_are_the_formula(
    store: Store, pool: list[str], target: list[str], k1: float, b: float
) -> None:
    rows = {f"r{i:02}": text for i, text in enumerate(pool)}
    table = scores_of(target_run(store, rows, target), "bm25", k1=k1, b=b)
    expected = np.array([plain_bm25(pool, query, k1, b) for query in target]).T
    assert table["row_id"].to_list() == list(rows)
    similar = table["similarities"].to_numpy()
    np.testing.assert_allclose(similar, expected, atol=2e-6)
    shared = similar.any(axis=1)
    assert table["score"].is_not_null().to_list() == shared.tolist()
    np.testing.assert_array_equal(table["score"].drop_nulls(), similar.max(axis=1)[shared])
    nearest = [f"t{q}" for q in similar.argmax(axis=1)[shared]]
    assert table["nearest_id"].drop_nulls().to_list() == nearest
    assert similar.min() >= 0
    assert similar.max() <= 1


def okapi(pool: list[str], query: str) -> list[float]:
    """As the package rank_bm25 has it: the factor k1 + 1, and an idf that can be negative."""
    rows = [words(text) for text in pool]
    mean = sum(map(len, rows)) / len(rows)
    scores = []
    for row in rows:
        score = 0.0
        for word in words(query):
            holders = sum(word in other for other in rows)
            idf = math.log(len(rows) - holders + 0.5) - math.log(holders + 0.5)
            f = row.count(word)
            score += idf * f * (K1 + 1) / (f + K1 * (1 - B + B * len(row) / mean))
        scores.append(score)
    return scores


def test_rare_words_order_rows_as_the_classic_formula_does(store: Store) -> None:
    rng = np.random.default_rng(0)
    pool = [" ".join(rng.choice([f"w{k}" for k in range(60)], size=rng.integers(3, 9)))
            for _ in range(80)]  # fmt: skip
    query = "w1 w2 w3 w3 w4"
    table = scores_of(
        target_run(store, {f"r{i:02}": t for i, t in enumerate(pool)}, [query]), "bm25"
    )
    classic = np.array(okapi(pool, query))
    hit = classic > 0
    ranks = [np.argsort(np.argsort(v[hit])) for v in (classic, table["score"].to_numpy())]
    assert hit.sum() > 10
    assert np.corrcoef(ranks[0], ranks[1])[0, 1] > 0.99


def test_a_rare_word_counts_more_than_a_common_one(store: Store) -> None:
    pool = {"a": "the cat", "b": "the dog", "c": "the cow", "d": "an owl"}
    assert ranked(target_run(store, pool, ["the owl"]), "bm25")[0] == "d"


def test_b_holds_long_rows_back_and_repeats_stop_counting(store: Store) -> None:
    pool = {"short": "owl", "long": "owl and a great many other words", "twice": "owl owl"}
    run = target_run(store, pool, ["owl"])
    scores = dict(scores_of(run, "bm25").select("row_id", "score").iter_rows())
    assert scores["short"] > scores["long"]
    assert scores["short"] < scores["twice"] < 2 * scores["short"]
    flat = dict(scores_of(run, "bm25", b=0).select("row_id", "score").iter_rows())
    assert flat["short"] == flat["long"] < flat["twice"]
    present = dict(scores_of(run, "bm25", k1=0).select("row_id", "score").iter_rows())
    assert set(present.values()) == {1.0}


def test_a_long_example_does_not_beat_a_short_one_by_its_length(store: Store) -> None:
    pool = {"a": "owl", "b": "owl cat cow elk emu fox"}
    target = ["owl", "owl cat cow elk emu hen pig bee ant jay"]
    assert ranked(target_run(store, pool, target), "bm25", combine="global_max", b=0)[0] == "a"


def test_what_is_compared_is_up_to_the_recipe(store: Store) -> None:
    run = target_run(store, {"a": "owl", "b": "cat"}, ["owl"], response="same words here")
    prompts, answers, both = (
        scores_of(run, "bm25", compare=part)["score"].to_list()
        for part in ("prompt", "response", "example")
    )
    assert prompts[0] > 0
    assert prompts[1] is None
    assert answers[0] == answers[1] > 0
    assert both[0] > both[1] > 0


def test_words_of_dropped_rows_play_no_part(store: Store) -> None:
    pool = {"a": "the owl", "b": "the cat", "c": "cat cat", "d": "owl cat", "e": "the the the"}
    run = target_run(store, pool, ["the cat owl"])
    keep(run, [0, 1, 3])
    table = scores_of(run, "bm25")
    assert table["row_id"].to_list() == ["a", "b", "d"]
    np.testing.assert_allclose(
        table["score"], plain_bm25(["the owl", "the cat", "owl cat"], "the cat owl"), atol=2e-6
    )


@pytest.mark.parametrize("target", [["owl", "..."], ["zebra"]])
def test_rows_without_a_word_of_the_target_have_no_score(store: Store, target: list[str]) -> None:
    run = target_run(store, {"b": "cat", "a": "owl cat", "c": "?!"}, target)
    table = scores_of(run, "bm25")
    assert table["score"].is_null().to_list() == [True, "owl" not in target, True]
    assert set(table["reason"].drop_nulls()) == {"shares no word with any target example"}
    assert not table["similarities"].to_numpy()[[0, 2]].any()


def test_batches_change_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    pool = {f"r{i}": " ".join(rng.choice(list("abcdefgh"), size=4)) for i in range(20)}
    run = target_run(store, pool, ["a b c", "d d e"])
    whole = scores_of(run, "bm25")
    monkeypatch.setattr("curate.selectors.pool_target.BATCH_ROWS", 3)
    monkeypatch.setattr("curate.selectors.bm25.BATCH_ROWS", 7)
    again = Store(store.root / "again")
    assert scores_of(target_run(again, pool, ["a b c", "d d e"]), "bm25").equals(whole)


@pytest.mark.parametrize("combine", ["round_robin", "global_max", "mean"])
def test_the_order_of_the_pool_changes_no_rank(store: Store, combine: str) -> None:
    rng = np.random.default_rng(2)
    pool = {f"r{i:02}": " ".join(rng.choice(list("abcdefgh"), size=3)) for i in range(40)}
    mixed = dict(reversed(pool.items()))
    target = ["a b c", "d e", "f"]
    run = target_run(store, pool, target)
    order = ranked(run, "bm25", combine=combine)
    assert ranked(target_run(store, mixed, target), "bm25", combine=combine) == order
    table = scores_of(run, "bm25").sample(fraction=1, shuffle=True, seed=0)
    assert rank_frame(table, "bm25", combine=combine) == order


def test_another_way_to_combine_scores_nothing_anew(store: Store) -> None:
    run = target_run(store, {"a": "owl", "b": "cat"}, ["owl"])
    ranked(run, "bm25")
    step_names = list(run.executed_steps)
    ranked(run, "bm25", combine="mean", budget={"tokens": 9})
    assert run.executed_steps == step_names == ["score-bm25"]


def test_it_needs_a_target(store: Store) -> None:
    run = target_run(store, {"a": "owl"}, ["owl"])
    run.target = None
    with pytest.raises(UserError, match="needs target examples"):
        scores_of(run, "bm25")


def test_the_bundled_family_is_found(store: Store) -> None:
    """9.3 % of the pool, then 5 %."""
    assert precision(ranked(bundled_run(store), "bm25")[:60]) >= 0.9
    assert precision(ranked(bundled_run(store, 70), "bm25")[:60]) >= 0.8


def test_an_example_that_is_similar_to_no_row_takes_no_turns(store: Store) -> None:
    """It would name rows by their ids, half of the budget here."""
    pool = {
        "r1": "to be that",
        "r2": "or not",
        "r3": "the question is",
        "r4": "is that the question",
    }
    run = target_run(store, pool, ["zzz qqq", "the question"])
    order = ranked(run, "bm25", compare="prompt")
    assert set(order[:2]) == {"r3", "r4"}


def test_how_many_examples_take_no_turns_is_told() -> None:
    params = Bm25Selector.model_validate({"method": "bm25", "budget": 2})
    remarks = choice_remarks(params, {"rows_in": 4, "rows_out": 2, "idle_examples": 1})
    assert remarks == ["target examples without any similarity to any row, which take no turns: 1"]
