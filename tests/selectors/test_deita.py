"""DEITA: the filter row by row, what is ordered by, and why a row comes last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.store import Store
from curate.selectors.deita import DeitaSelector, filter_similar
from tests.conftest import row, stored, turns
from tests.selectors.poolruns import (
    EXACT,
    Matrix,
    PoolRun,
    check_contract,
    clumps,
    make_run,
    ranked,
    sample_pool,
    scored,
    selector_of,
)


def one_by_one(vectors: Matrix, threshold: float) -> list[int]:
    """The published filter at block size 1: the number of the row that rejects each, or -1."""
    twins: list[int] = []
    for i, vector in enumerate(vectors):
        taken = [j for j, twin in enumerate(twins) if twin < 0]
        like = [j for j in taken if round(float(vector @ vectors[j]), 6) > threshold]
        twins.append(like[0] if like else -1)
        assert len(twins) == i + 1
    return twins


@given(
    st.lists(st.integers(0, 23), min_size=1, max_size=40).map(lambda rows: EXACT[rows]),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
)
def test_the_filter_is_the_one_by_one_loop(vectors: Matrix, threshold: float) -> None:
    """Cosines are 0, 0.5 or 1 exactly, so at 0.5 the comparison has to be strict."""
    assert filter_similar(vectors, threshold).similar_to.tolist() == one_by_one(vectors, threshold)


@pytest.mark.parametrize("most", [1, 2, 1_000])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_no_two_taken_rows_are_too_similar(
    threshold: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where more rows are alike than pairs are kept of any row."""
    monkeypatch.setattr("curate.selectors.deita.MOST_PAIRS", most)
    vectors = clumps([60, 50, 40, 30, 20], 16, 0.6, 1)
    vectors = vectors[np.random.default_rng(0).permutation(len(vectors))]
    matches = filter_similar(vectors, threshold)
    assert matches.similar_to.tolist() == one_by_one(vectors, threshold)
    taken = vectors[matches.similar_to < 0]
    similar = taken @ taken.T - 2 * np.eye(len(taken))
    assert 0 < len(taken) < 200
    assert similar.max() <= threshold + 1e-6
    for i in np.flatnonzero(matches.similar_to >= 0):
        assert matches.similar_to[i] < i
        assert matches.similar_to[matches.similar_to[i]] == -1, (
            "passed over for a row that was taken"
        )
        assert matches.cosine[i] == pytest.approx(
            vectors[i] @ vectors[matches.similar_to[i]], abs=1e-6
        )
        assert matches.cosine[i] > threshold


def test_a_row_that_was_passed_over_rejects_none() -> None:
    """The trap of the reference code: B falls to A, so C, which is like B alone, stays."""
    angles = np.radians([0, 20, 40])
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert filter_similar(chain, 0.9).similar_to.tolist() == [-1, 0, -1]


def test_at_a_threshold_of_1_nothing_is_passed_over() -> None:
    vectors = clumps([20, 20], 8, 0.2, 0)
    assert (filter_similar(np.vstack([vectors, vectors]), 1.0).similar_to == -1).all()


def texts(*responses: str) -> list[dict[str, Any]]:
    topics = ["bread", "planet", "violin", "contract", "river", "engine"]
    return [
        row(f"r{i}", turns(f"What of the {topics[i]}?", text)) for i, text in enumerate(responses)
    ]


def evidence(store: Store, name: str, columns: Mapping[str, Sequence[Any]]) -> Table:
    count = len(next(iter(columns.values())))
    table = pl.DataFrame({"row_id": [f"r{i}" for i in range(count)], **columns})
    shuffled = table.sample(fraction=1, shuffle=True, seed=0)
    return Table(stored(store, name, {"evidence": shuffled}), "evidence")


def judged_run(store: Store, quality: Sequence[Any], complexity: Sequence[Any]) -> PoolRun:
    run = make_run(store, texts(*["fine"] * len(quality)))
    run.evidence = {
        "quality": evidence(store, "quality", {"score": quality, "why": ["x"] * len(quality)}),
        "complexity": evidence(store, "complexity", {"depth": complexity}),
    }
    return run


def test_scores_of_earlier_stages_are_multiplied(store: Store) -> None:
    run = judged_run(store, [2.0, 5.0, 3.0, 4.0], [4, 1, 3, 2])
    one = scored(run, "deita", score="quality.score")
    assert ranked(one, "deita") == ["r1", "r3", "r2", "r0"]
    assert scored(run, "deita", score="quality").equals(one), "score is the column if none is named"
    both = scored(run, "deita", score=["quality.score", "complexity.depth"])
    assert ranked(both, "deita") == ["r2", "r0", "r3", "r1"]
    assert dict(both.select("row_id", "score").iter_rows()) == {"r0": 8, "r1": 5, "r2": 9, "r3": 8}


def test_a_row_without_a_score_comes_last_with_that_reason(store: Store) -> None:
    run = judged_run(store, [2.0, None, float("nan"), 4.0], [1, 1, 1, None])
    table = scored(run, "deita", score=["quality.score", "complexity.depth"])
    assert ranked(table, "deita") == ["r0", "r1", "r2", "r3"]
    assert table["reason"].to_list() == [None, "no_score", "no_score", "no_score"]
    assert table["score"].to_list() == [2, None, None, None]


def test_a_pool_without_any_score_is_in_the_order_of_ids(store: Store) -> None:
    table = scored(judged_run(store, [float("nan")] * 3, [1, 1, 1]), "deita", score="quality")
    assert ranked(table, "deita") == ["r0", "r1", "r2"]


def test_rows_passed_over_come_after_all_that_were_taken(store: Store) -> None:
    same = turns("What of the bread?", "Bread is baked from flour and water.")
    rows = [row("a", same), row("b", same), row("c", turns("Name a planet.", "Mars"))]
    run = make_run(store, rows)
    grades = pl.DataFrame({"row_id": ["a", "b", "c"], "score": [2, 3, 1]})
    run.evidence = {"judge": Table(stored(store, "judge", {"evidence": grades}), "evidence")}
    table = scored(run, "deita", score="judge.score")
    assert ranked(table, "deita") == ["b", "c", "a"]
    line = table.filter(row_id="a").select("reason", "duplicate_of", "cosine").row(0)
    assert line == ("too_similar", "b", 1)
    assert table.filter(pl.col("row_id") != "a")["duplicate_of"].null_count() == 2


def test_ties_go_to_the_smaller_row_id(store: Store) -> None:
    run = judged_run(store, [1, 1, 1, 1], [1, 1, 1, 1])
    assert ranked(scored(run, "deita", score="quality"), "deita") == ["r0", "r1", "r2", "r3"]


def test_length_counts_the_tokens_of_all_turns_of_the_assistant(store: Store, tiny: Path) -> None:
    """The tiny tokenizer has a token for each byte."""
    rows = texts("one", "three more words", "ü")
    rows.append(row("r3", turns("Tell me about snow", "cold", "and then?", "white")))
    rows.append(row("r4", [{"role": "system", "content": "x" * 90}, *turns("hm", "short")]))
    table = scored(make_run(store, rows, folder=tiny), "deita")
    lengths = {"r0": 3, "r1": 16, "r2": 2, "r3": 10, "r4": 5}
    assert dict(table.select("row_id", "score").iter_rows()) == lengths
    assert ranked(table, "deita") == ["r1", "r3", "r4", "r0", "r2"]


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("judge.score", r"no stage named 'judge'; known: length, quality, complexity"),
        ("quality.why", r"evidence of 'quality' has no column 'why' of numbers; it has score"),
        (["quality", "complexity.height"], r"'complexity' has no column 'height' .* it has depth"),
    ],
)
def test_a_score_that_is_not_there_is_told(store: Store, score: Any, message: str) -> None:
    run = judged_run(store, [1], [1])
    with pytest.raises(UserError, match=message):
        selector_of("deita", score=score).score_rows(run)


def test_a_run_without_stages_has_length_alone(store: Store) -> None:
    run = make_run(store, texts("a"))
    with pytest.raises(UserError, match="no stage named 'judge'; known: length"):
        selector_of("deita", score="judge").score_rows(run)


def test_the_parameters() -> None:
    params = DeitaSelector.model_validate({"budget": {"rows": 1}, "score": ["a.b", "c", "a.b"]})
    assert params.factors == ["a.b", "c"]
    assert DeitaSelector.model_validate({"budget": {"rows": 1}}).factors == ["length"]
    with pytest.raises(ValidationError, match="at least 1 item"):
        DeitaSelector.model_validate({"budget": {"rows": 1}, "score": []})


def test_a_threshold_keeps_what_is_embedded_and_counted(store: Store, tiny: Path) -> None:
    run = make_run(store, sample_pool(20), folder=tiny)
    low, high = (scored(run, "deita", threshold=t) for t in (0.3, 0.9))
    assert run.executed_steps == ["embed", "deita-tokens", "score-deita", "score-deita"]
    assert low["reason"].null_count() < high["reason"].null_count()


def test_what_all_selectors_keep_to(store: Store, tiny: Path) -> None:
    check_contract(store, "deita", tiny)
    check_contract(store, "deita", tiny, threshold=0.5, compare="prompt")
