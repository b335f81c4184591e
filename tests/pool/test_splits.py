"""The validation split: its size, and near copies on one side."""

import logging

import numpy as np
import polars as pl
import pytest

from curate.core.errors import UserError
from curate.pool.splits import split_rows
from tests.conftest import frame, row, turns


def text(rng: np.random.Generator) -> str:
    return " ".join(f"w{n}" for n in rng.integers(0, 5000, 40))


def rows_with_copies(count: int, copies: int) -> pl.DataFrame:
    """Return distinct rows, of the first ones each with some near copies: r0, r0-1, r0-2, r1 ..."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(count):
        prompt, answer = text(rng), text(rng)
        rows.append(row(f"r{i}", turns(prompt, answer)))
        if i < count // 4:
            rows += [
                row(f"r{i}-{k}", turns(f"{prompt} please {k}", f"{answer} ok"))
                for k in range(copies)
            ]
    return frame(rows)


@pytest.mark.parametrize("seed", range(5))
def test_planted_near_copies_stand_on_one_side(seed: int) -> None:
    rows = rows_with_copies(60, 2)
    splits = rows.with_columns(split=split_rows(rows, 0.2, seed))
    sides = splits.group_by(pl.col("row_id").str.extract(r"^(r\d+)")).agg(
        pl.col("split").n_unique()
    )
    assert sides["split"].to_list() == [1] * 60
    assert (splits["split"] == "validation").sum() == 18
    # Groups are drawn too, and not single rows alone.
    assert rows.height == 90


def test_some_group_of_copies_is_drawn() -> None:
    rows = rows_with_copies(60, 2)
    validation = [
        rows.filter(split_rows(rows, 0.2, seed) == "validation")["row_id"] for seed in range(5)
    ]
    assert any(ids.str.contains("-").any() for ids in validation)
    assert len({tuple(ids) for ids in validation}) == 5


def test_rows_of_one_prompt_stand_on_one_side() -> None:
    rng = np.random.default_rng(2)
    rows = frame(
        [row(f"r{i}-{k}", turns(f"Ask {i}", text(rng))) for i in range(20) for k in (0, 1)]
    )
    splits = rows.select(pl.col("row_id").str.slice(0, 3), split=split_rows(rows, 0.25, 0))
    assert splits.unique().height == splits["row_id"].n_unique()


def test_the_seed_decides() -> None:
    rows = rows_with_copies(40, 0)
    assert split_rows(rows, 0.1, 3).equals(split_rows(rows, 0.1, 3))


def test_a_share_below_the_smallest_group_is_refused() -> None:
    rows = frame([row(f"r{i}", turns("the same question", f"answer {i}")) for i in range(10)])
    with pytest.raises(UserError, match="is 2, and the smallest group of near copies has 10"):
        split_rows(rows, 0.2, 0)
    with pytest.raises(UserError, match=r"0.01 of 10 rows is 0"):
        split_rows(rows_with_copies(10, 0), 0.01, 0)


def test_a_share_that_groups_do_not_reach_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rows = frame(
        [row(f"r{i}", turns("the same question", f"answer {i}")) for i in range(18)]
        + [row("a", turns("Name a river.", "Rhine")), row("b", turns("Name a hill.", "Brocken"))]
    )
    with caplog.at_level(logging.WARNING, "curate"):
        splits = split_rows(rows, 0.25, 0)
    assert (splits == "validation").sum() == 2
    assert "validation has 2 rows, not 5" in caplog.text


def test_without_a_share_all_rows_are_for_training() -> None:
    assert split_rows(rows_with_copies(4, 1), 0, 0).to_list() == ["train"] * 5
