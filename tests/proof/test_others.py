"""Further arms: what their rows are, and that they stand beside the verdict without a part in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config.recipe import Config
from curate.core.store import Store
from curate.proof.others import ArmSources, draw_balanced, others
from curate.proof.statistics import estimate
from tests.conftest import row, stored_rows, stored_table, turns
from tests.proof.test_proof import run_proof


def sources(counts: dict[str, int]) -> pl.DataFrame:
    rows = [(f"{name}{i}", name) for name, count in counts.items() for i in range(count)]
    return pl.DataFrame(rows, schema=["row_id", "source"], orient="row")


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 12), min_size=1), st.data())
def test_a_balanced_draw_takes_as_many_rows_from_each_source_as_it_has(
    counts: dict[str, int], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, sum(counts.values())))
    drawn = draw_balanced(sources(counts), size, [0, data.draw(st.integers(0, 5))])
    assert drawn.height == size == drawn["row_id"].n_unique()
    taken = dict(drawn.group_by("source").len().iter_rows())
    most = max(taken.values())
    for name, count in counts.items():
        assert taken.get(name, 0) >= min(count, most - 1)


def test_a_balanced_draw_is_another_one_with_another_seed_and_knows_no_order() -> None:
    rows = sources({"a": 50, "b": 50})
    first, again = draw_balanced(rows, 10, [0, 0]), draw_balanced(rows.reverse(), 10, [0, 0])
    assert first.equals(again)
    assert not first.equals(draw_balanced(rows, 10, [0, 1]))


def test_the_rows_of_every_arm(store: Store) -> None:
    ids = [f"r{i}" for i in range(6)]
    ranking = pl.DataFrame({"row_id": ids, "selected": [True, True, *[False] * 4]})
    other = pl.DataFrame({"row_id": ids, "selected": [False] * 5 + [True]})
    pool = [row(i, turns(f"text {i}", "x")) for i in ids]
    read_from = ArmSources(
        rows=stored_rows(store, "pool", pool),
        target=stored_rows(store, "target", [row("t", turns("a", "b"))]),
        files={"saved": stored_rows(store, "saved", [row("s", turns("c", "d"))])},
        rankings={"dsir": stored_table(store, "ranking", other)},
    )
    names = ["target_only", "target_plus", "full", "balanced", "dsir", "saved"]
    table = others(names, read_from, stored_table(store, "ranking", ranking), runs=2, seed=0)

    def of(arm: str, number: int = 0) -> list[tuple[str, str]]:
        return table.filter(arm=arm, seed=number).select("place", "row_id").rows()

    assert of("target_only") == of("target_only", 1) == [("target", "t")]
    assert of("target_plus") == [("pool", "r0"), ("pool", "r1"), ("target", "t")]
    assert of("full") == [("pool", i) for i in ids]
    assert len(of("balanced")) == 2
    assert of("dsir") == [("pool", "r5")]
    assert of("saved") == [("saved", "s")]


def test_further_arms_have_no_part_in_the_verdict(store: Store) -> None:
    plain, _, _ = run_proof(store)
    arms = ["selected", "random", "target_only", "target_plus", "full", "balanced"]
    proof, artifact, run = run_proof(store, arms=arms)
    for key in ("verdict", "comparisons", "spread", "rank"):
        assert proof[key] == plain[key]
    # Balanced draws are others each time; of the rest each seed is a training of the same rows.
    assert len(run.trained) == 4 * 3
    names = [arm["arm"] for arm in proof["arms"]]
    assert names == ["base", "selected", "random_rows", "random_tokens", *arms[2:]]
    assert {arm["arm"]: arm["rows"] for arm in proof["arms"]}["full"] == [40] * 3
    pairs = [(o["arm"], o["against"]) for o in proof["others"]]
    assert pairs[:4] == [("selected", arm) for arm in arms[2:]]
    assert pairs[4] == ("target_plus", "target_only")
    effects = pl.read_parquet(artifact.file("effects.parquet"))
    means = dict(effects.group_by("arm").agg(pl.mean("loss")).iter_rows())
    for other in proof["others"]:
        expected = means[other["against"]] - means[other["arm"]]
        assert other["difference"] == pytest.approx(expected)
        assert other["low"] <= other["difference"] <= other["high"]


def test_with_a_second_phase_every_fine_tune_goes_on_with_the_target(store: Store) -> None:
    proof, _, run = run_proof(store, then="target")
    # One control is drawn six times, its pairs hold the same rows; six, three and three go on, and
    # three begin with the second phase.
    second = [ids for ids in run.trained if ids == ["t0", "t1"]]
    first = [ids for ids in run.trained if ids != ["t0", "t1"]]
    assert len(second) == len(first) + 3
    steps = {arm["arm"]: arm["steps"] for arm in proof["arms"]}
    assert steps["selected"] == [12] * 3
    assert steps["target_only"] == [2] * 3
    assert [o["against"] for o in proof["others"]] == ["target_only"]


def test_the_interval_of_two_fixed_sets_covers_their_difference() -> None:
    """As often as it says, where trainings and examples both vary."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(1_000):
        hard = rng.normal(0, 1, 40)
        one = 0.2 + hard + rng.normal(0, 0.3, 40) + rng.normal(0, 0.05, (3, 1))
        other = hard + rng.normal(0, 0.05, (3, 1)) + rng.normal(0, 0.02, (3, 40))
        interval = estimate(one, other)
        covered += interval.low <= 0.2 <= interval.high
    assert 0.93 <= covered / 1_000 <= 0.99


def test_one_training_has_an_interval_of_the_examples_alone() -> None:
    one, other = np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 1.0, 1.0]])
    from scipy import stats

    expected = stats.ttest_1samp((one - other)[0], 0).confidence_interval(0.95)
    interval = estimate(one, other)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


RECIPE: dict[str, Any] = {
    "name": "arms",
    "pool": [{"path": "pool.jsonl"}],
    "target": {"path": "target.jsonl", "eval": "eval.jsonl"},
    "select": {"method": "bm25", "budget": 5},
    "compare": ["dsir"],
}


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        (["selected"], "needs selected and random"),
        (["selected", "random", "dsri"], "'dsri' is no arm; known: .*dsir"),
        (["selected", "random", "full", "full"], "'full' stands here twice"),
        (["selected", "random", {"name": "full", "path": "x"}], "the name of another arm"),
        (["selected", "random", {"name": "a", "path": "x", "source": "pool"}], "pool.0 as well"),
    ],
)
def test_an_arm_that_is_none_is_named_with_those_that_are(arms: list[Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Config.model_validate({**RECIPE, "prove": {"arms": arms}})


def test_compared_methods_and_files_are_arms() -> None:
    arms = ["selected", "random", "dsir", {"name": "mine", "path": "runs/mine"}]
    config = Config.model_validate({**RECIPE, "prove": {"arms": arms, "then": "target"}})
    assert config.prove is not None
    assert [a if isinstance(a, str) else a.name for a in config.prove.arms][2:] == ["dsir", "mine"]
