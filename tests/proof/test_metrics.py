"""Metrics: which decides, which stand beside it, and that their means are what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.proof.metrics import (
    ACCURACY,
    ANSWER_LOSS,
    LOSS,
    LOSS_PER_TOKEN,
    METRICS,
    deciding_metric,
    measured_metrics,
)
from curate.proof.results import gains_of

EXAMPLES = st.lists(
    st.tuples(st.floats(0, 20), st.integers(1, 500)) | st.just((None, 0)), min_size=1, max_size=30
).filter(lambda rows: any(tokens for _, tokens in rows))


@given(EXAMPLES)
def test_the_mean_over_examples_of_the_loss_per_token_is_that_of_all_tokens(
    rows: list[tuple[float | None, int]],
) -> None:
    table = pl.DataFrame(
        rows, schema={"loss": pl.Float64, "response_tokens": pl.Int64}, orient="row"
    )
    values = table.select(LOSS_PER_TOKEN.values).to_series()
    losses = sum((loss or 0.0) * tokens for loss, tokens in rows)
    assert values.mean() == pytest.approx(losses / sum(tokens for _, tokens in rows))
    assert values.is_null().to_list() == [loss is None for loss, _ in rows]


@given(EXAMPLES, st.floats(-5, 5))
def test_a_gain_per_token_is_the_difference_of_two_such_means(
    rows: list[tuple[float | None, int]], change: float
) -> None:
    table = pl.DataFrame(
        rows, schema={"loss": pl.Float64, "response_tokens": pl.Int64}, orient="row"
    )
    arms = []
    for arm, shift in (("selected", 0.0), ("random_rows", change)):
        moved = table.with_columns(pl.col("loss") + shift)
        arms.append(
            moved.select(
                pl.lit(arm).alias("arm"),
                pl.lit(0).alias("seed"),
                pl.int_range(pl.len()).alias("eval_id"),
                LOSS_PER_TOKEN.values,
            )
        )
    results = pl.concat(arms)
    gains = [gains_of(results, arm, LOSS_PER_TOKEN) for arm in ("selected", "random_rows")]
    assert gains[0].shape == gains[1].shape == (1, sum(tokens > 0 for _, tokens in rows))
    assert (gains[0] - gains[1]).mean() == pytest.approx(change, abs=1e-6)


def results(**columns: Any) -> pl.DataFrame:
    table = {"arm": ["a"] * 4, "seed": [0, 0, 1, 1], "eval_id": ["e", "f"] * 2}
    return pl.DataFrame({**table, "response_tokens": [5] * 4, **columns})


def test_examples_without_a_metric_are_left_out_of_it() -> None:
    table = results(answer_loss=[1.0, None, 2.0, None], loss=[1.0, 2.0, 3.0, 4.0])
    assert np.array_equal(gains_of(table, "a", ANSWER_LOSS), [[-1.0], [-2.0]])
    assert gains_of(table, "a", LOSS).shape == (2, 2)


def test_what_was_measured_of_no_example_does_not_stand_beside_the_loss() -> None:
    none = pl.Series([None] * 4, dtype=pl.Float64)
    table = results(loss=[1.0] * 4, exact_match=[0.0] * 4, answer_loss=[1.0] * 4, accuracy=none)
    names = [metric.name for metric in measured_metrics(table, "auto")]
    assert names == ["loss", "exact_match", "answer_loss"]
    assert measured_metrics(table, "answer_loss")[0].name == "answer_loss"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_may_decide(name: str) -> None:
    assert deciding_metric(name).name == name


def test_the_loss_decides_by_itself() -> None:
    assert deciding_metric("auto") == LOSS
    assert ACCURACY.needs == "options"
