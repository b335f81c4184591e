"""Results by groups of eval examples: by origin or source, without a verdict, the whole but in parts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.proof.groups import compare_groups, group_examples
from curate.proof.metrics import EXACT_MATCH, LOSS
from curate.proof.results import gains_of

SIZES = {"easy": 8, "hard": 6, "rare": 4}
ROWS = pl.DataFrame(
    [
        {"row_id": f"{name}/{i}", "source": "eval", "origin": name}
        for name, size in SIZES.items()
        for i in range(size)
    ]
)


def results_of(gains: dict[str, float], seed: int = 0) -> pl.DataFrame:
    """Return losses where the selection gains so much in each group over draws that equal the base."""
    rng = np.random.default_rng(seed)
    hard = {row_id: rng.normal(1, 0.2) for row_id in ROWS["row_id"]}
    lines = []
    for arm, runs in {"base": 1, "selected": 3, "random_rows": 6}.items():
        for number in range(runs):
            for row_id, origin in ROWS.select("row_id", "origin").iter_rows():
                gain = gains.get(origin, 0.0) if arm == "selected" else 0.0
                loss = hard[row_id] - gain + rng.normal(0, 0.01) * (arm != "base")
                lines.append((arm, number, row_id, loss, float(loss < 1)))
    names = ["arm", "seed", "eval_id", "loss", "exact_match"]
    return pl.DataFrame(lines, schema=names, orient="row")


def test_a_group_is_the_origin_where_a_source_has_several_else_the_source() -> None:
    rows = pl.DataFrame(
        {
            "row_id": ["a1", "a2", "b1", "b2"],
            "source": ["one", "one", "two", "two"],
            "origin": ["maths", "verse", "file", "file"],
        }
    )
    assert group_examples(rows)["group"].to_list() == ["maths", "verse", "two", "two"]


def test_each_group_has_its_own_gain_over_random_draws_and_base() -> None:
    results = results_of({"easy": 0.5, "hard": -0.3})
    lines = compare_groups(results, group_examples(ROWS), "random_rows", LOSS)
    gains = {line["group"]: (line["random"], line["base"]) for line in lines}
    for group, gain in (("easy", 0.5), ("hard", -0.3)):
        for part in gains[group]:
            assert part["low"] < part["difference"] < part["high"]
            assert part["difference"] == pytest.approx(gain, abs=0.03)
            assert part["low"] * part["high"] > 0
    assert all("verdict" not in line for line in lines)


def test_a_group_of_few_examples_is_counted_and_has_no_estimate() -> None:
    lines = compare_groups(results_of({}), group_examples(ROWS), "random_rows", LOSS)
    assert [line["examples"] for line in lines] == [8, 6, 4]
    assert (lines[2]["random"], lines[2]["base"]) == (None, None)


@pytest.mark.parametrize("metric", [LOSS, EXACT_MATCH])
def test_groups_add_up_to_the_whole(metric: object) -> None:
    results = results_of({"easy": 0.2, "rare": 0.1})
    groups = group_examples(ROWS.filter(pl.col("origin") != "rare"))
    results = results.filter(pl.col("eval_id").is_in(groups["eval_id"].implode()))
    lines = compare_groups(results, groups, "random_rows", metric)  # type: ignore[arg-type]
    total = sum(line["examples"] * line["random"]["difference"] for line in lines)
    selected, draws = (gains_of(results, a, metric) for a in ("selected", "random_rows"))  # type: ignore[arg-type]
    assert total / 14 == pytest.approx(selected.mean() - draws.mean())


def test_a_single_group_is_not_told_twice() -> None:
    rows = ROWS.with_columns(origin=pl.lit("file"))
    assert compare_groups(results_of({}), group_examples(rows), "random_rows", LOSS) == []
