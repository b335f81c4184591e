"""Order, phases and sample weights of an export."""

from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.pool.arrangement import ExportSettings, arrange
from tests.conftest import frame, row, turns

SOURCES = ["web", "book", "web", "talk", "book", "web"]
ROWS = frame(
    [row(f"r{i}", turns(f"q {i}", f"a {i}"), source=name) for i, name in enumerate(SOURCES)]
)
RANKING = pl.DataFrame(
    {
        "row_id": [f"r{i}" for i in range(6)],
        "rank": [1, 2, 3, 4, 5, 6],
        "score": [6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
        "tokens": [50, 10, 60, 20, 40, 30],
    }
)


def arranged(ranking: pl.DataFrame = RANKING, seed: int = 0, **settings: Any) -> pl.DataFrame:
    return arrange(ROWS, ranking, ExportSettings(**settings).arrangement, seed)


def ids(rows: pl.DataFrame) -> str:
    return "".join(rows["row_id"].str.slice(1))


def test_rows_stand_in_rank_order_or_shuffled_by_the_seed() -> None:
    assert ids(arranged()) == "012345"
    shuffles = {ids(arranged(order="random", seed=seed)) for seed in range(4)}
    assert len(shuffles) == 4
    assert ids(arranged(order="random", seed=2)) in shuffles


@pytest.mark.parametrize(
    ("phases", "order", "numbers"),
    [
        ({"by": "tokens", "parts": 3}, "135402", [1, 1, 2, 2, 3, 3]),
        ({"by": "tokens", "parts": 2, "reverse": True}, "024135", [1, 1, 1, 2, 2, 2]),
        ({"by": "rank", "parts": 2, "reverse": True}, "345012", [1, 1, 1, 2, 2, 2]),
        ({"by": "source", "values": ["talk", "web"]}, "302514", [1, 2, 2, 2, 3, 3]),
    ],
)
def test_phases_follow_one_another(phases: Any, order: str, numbers: list[int]) -> None:
    rows = arranged(phases=phases)
    assert rows["phase"].to_list() == numbers
    by_phase = {n: set(order[i] for i in range(6) if numbers[i] == n) for n in numbers}
    assert {n: set(ids(rows.filter(pl.col("phase") == n))) for n in numbers} == by_phase


def test_rows_of_a_phase_stand_in_the_order_that_is_set() -> None:
    halves = {"by": "rank", "parts": 2}
    assert ids(arranged(phases=halves)) == "012345"
    shuffled = [ids(arranged(phases=halves, order="random", seed=seed)) for seed in range(9)]
    assert len(set(shuffled)) > 3
    assert all(set(order[:3]) == set("012") for order in shuffled)


def test_weights_are_scores_with_a_mean_of_one() -> None:
    weights = arranged(sample_weight=True)["sample_weight"]
    assert weights.mean() == pytest.approx(1)
    assert weights.to_list() == pytest.approx([score / 3.5 for score in RANKING["score"]])


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ([None] * 6, "6 of 6 rows have no score"),
        ([1.0, -1, 1, 1, 1, 1], "the lowest score is -1"),
        ([0.0] * 6, "the lowest score is 0"),
    ],
)
def test_scores_that_make_no_weights_are_refused(scores: list[float | None], problem: str) -> None:
    ranking = RANKING.with_columns(score=pl.Series(scores, dtype=pl.Float64))
    with pytest.raises(UserError, match=f"export.sample_weight: {problem}"):
        arranged(ranking, sample_weight=True)


def test_phases_need_the_figures_that_they_are_made_of() -> None:
    ranking = RANKING.with_columns(tokens=pl.lit(None, dtype=pl.Int64))
    with pytest.raises(UserError, match=r"export.phases.by: 6 of 6 rows have no tokens"):
        arranged(ranking, phases={"by": "tokens", "parts": 2})


@pytest.mark.parametrize(
    "phases",
    [
        {"by": "tokens"},
        {"by": "tokens", "parts": 2, "values": ["a"]},
        {"by": "source", "parts": 2},
        {"by": "source"},
        {"by": "source", "values": ["a"], "reverse": True},
    ],
)
def test_phases_have_what_goes_with_their_column(phases: Any) -> None:
    with pytest.raises(ValidationError, match=f"phases by {phases['by']} need"):
        ExportSettings(phases=phases)


def test_splits_keep_order_and_phases() -> None:
    rows = arranged(validation=0.35, phases={"by": "tokens", "parts": 2})
    assert rows["split"].to_list() == ["train"] * 4 + ["validation"] * 2
    for part in rows.partition_by("split"):
        assert part["phase"].is_sorted()
