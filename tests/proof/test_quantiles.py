"""Quantiles: equal, disjoint parts of the order, paired draws, and what a planted order shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.orderparts import cut_order
from curate.core.selectparams import Budget
from curate.core.store import Store
from curate.proof.arms import draw_arms
from curate.proof.proof import ProofInputs, prove
from curate.proof.quantiles import draw_parts
from curate.proof.settings import ProofSettings
from tests.conftest import row, stored_rows, stored_table, turns
from tests.proof.test_proof import LEAK, MeasuredRun, rows_of, tuned_on

pytestmark = pytest.mark.system

COUNT, EVALS = 100, 24
Quality = Callable[[int], float]


@dataclass
class OrderedRun(MeasuredRun):
    """A run whose losses fall with the mean quality of the rows that are trained on."""

    def measure(self, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        trained = tuned_on(arguments)
        evals = rows_of(arguments["eval"])
        noise = np.random.default_rng([trained["number"], 3]).normal(0, 0.02, evals.height)
        hard = np.random.default_rng(9).normal(0, 0.2, evals.height)
        loss = 2 + (self.loss(trained["ids"]) if trained["ids"] else 0.5) + noise + hard
        pl.DataFrame(
            {
                "eval_id": evals["row_id"],
                "loss": loss,
                "exact": loss < 2,
                "response_tokens": [10] * evals.height,
            }
        ).write_parquet(out / "results.parquet")
        return {}


def ranked(count: int, selected: int, unscored: int = 0) -> pl.DataFrame:
    reasons = ["selected"] * selected + ["over_budget"] * (count - selected - unscored)
    return pl.DataFrame(
        {
            "row_id": [f"r{i:03}" for i in range(count)],
            "rank": range(1, count + 1),
            "selected": [i < selected for i in range(count)],
            "tokens": [10] * count,
            "score": [float(-i) for i in range(count)],
            "reason": reasons + ["unscored"] * unscored,
        }
    )


def run_quantiles(
    store: Store,
    quality: Quality,
    *,
    selected: int = 10,
    leak: int | None = None,
    unscored: int = 0,
    **given: Any,
) -> tuple[dict[str, Any], OrderedRun, Path]:
    """Prove a selection of the first rows of a pool, each of a quality of its own."""
    ids = [f"r{i:03}" for i in range(COUNT)]
    texts = [LEAK if i == leak else f"text of {i}" for i in range(COUNT)]
    pool = [row(i, turns(text, "an answer")) for i, text in zip(ids, texts, strict=True)]
    evals = [row(f"e{i:02}", turns(f"eval {i}", "y")) for i in range(EVALS - 1)]
    evals.append(row("leak", turns(LEAK, "y")))
    run = OrderedRun(store, loss=lambda rows: float(np.mean([quality(int(i[1:])) for i in rows])))
    run.rows = stored_rows(store, "pool", pool)
    params = ProofSettings.model_validate({"draws": 2, "quantiles": 5, **given}).values
    selection = stored_table(store, "ranking", ranked(COUNT, selected, unscored))
    material = ProofInputs(stored_rows(store, "eval", evals))
    artifact = prove(run, selection, material, params, Budget(rows=selected))
    return orjson.loads(artifact.file("proof.json").read_bytes()), run, artifact.path


@given(
    seed=st.integers(0, 50),
    parts=st.integers(3, 10),
    rows=st.integers(30, 90),
    selected=st.integers(1, 20),
    unscored=st.integers(0, 9),
)
def test_parts_are_disjoint_and_draws_are_the_same_places_of_each(
    seed: int, parts: int, rows: int, selected: int, unscored: int
) -> None:
    ranking = ranked(rows, selected, unscored)
    drawn = draw_parts(ranking, parts, 2, seed)
    cut = cut_order(ranking, parts)
    assert cut.height == rows - unscored
    sizes = cut.group_by("part").len()["len"]
    assert sizes.max() - sizes.min() <= 1  # type: ignore[operator]
    # Every row of a part ranks higher than all of the next.
    assert cut["part"].is_sorted()
    assert cut["rank"].is_sorted()
    first = cut.group_by("part").agg(pl.col("rank").min().alias("first"))
    located = drawn.join(cut.select("row_id", "part"), on="row_id").join(first, on="part")
    assert located.height == drawn.height
    assert drawn.group_by("seed", "row_id").len()["len"].max() == 1
    assert drawn.group_by("arm", "seed").len()["len"].unique().to_list() == [
        min(selected, (rows - unscored) // parts)
    ]
    assert (located["arm"] == "quantile-" + located["part"].cast(pl.String)).all()
    for number in range(2):
        places = {
            tuple(sorted((part["rank"] - part["first"]).to_list()))
            for _, part in located.filter(seed=number).group_by("part")
        }
        assert len(places) == 1


def test_each_number_draws_anew_from_all_of_a_part() -> None:
    drawn = draw_parts(ranked(200, 10), 5, 3, 0).filter(arm="quantile-1")
    draws = [set(drawn.filter(seed=number)["rank"]) for number in range(3)]
    assert len({frozenset(draw) for draw in draws}) == 3
    assert all(max(draw) > 20 for draw in draws), "not the best end of the part alone"
    again = draw_parts(ranked(200, 10), 5, 3, 0).filter(arm="quantile-1")
    assert again.equals(drawn)


def test_a_planted_order_is_shown(store: Store) -> None:
    proof, _, folder = run_quantiles(store, lambda place: place / COUNT)
    quantiles = proof["quantiles"]
    assert quantiles["correlation"] >= 0.9
    assert quantiles["p"] == pytest.approx(2 / 120)
    assert quantiles["trend"] == "better"
    assert len(quantiles["by_seed"]) == 3
    assert quantiles["first_over_last"]["low"] > 0
    assert quantiles["sentence"].startswith("Rows that rank higher train a better model here")
    ranks = [(part["first_rank"], part["last_rank"]) for part in quantiles["parts"]]
    assert ranks == [(1, 20), (21, 40), (41, 60), (61, 80), (81, 100)]
    effects = pl.read_parquet(folder / "quantiles.parquet")
    means = effects.group_by("arm").agg(pl.col("loss").mean())
    by_arm = dict(means.iter_rows())
    for part in quantiles["parts"]:
        assert part["mean"] == pytest.approx(by_arm[f"quantile-{part['part']}"])
    rows = pl.read_parquet(folder / "quantiles-rows.parquet")
    assert rows.group_by("arm", "seed").len()["len"].unique().to_list() == [10]


def test_an_order_that_means_nothing_is_called_so(store: Store) -> None:
    proof, _, _ = run_quantiles(store, lambda place: (place * 37 % COUNT) / COUNT)
    quantiles = proof["quantiles"]
    assert quantiles["trend"] == "not shown"
    assert "5 parts can show it only where their order is perfect" in quantiles["sentence"]


def test_four_parts_claim_nothing_however_they_lie(store: Store) -> None:
    proof, _, _ = run_quantiles(store, lambda place: place / COUNT, quantiles=4)
    assert proof["quantiles"]["correlation"] == 1
    assert proof["quantiles"]["trend"] == "not shown"
    assert "4 parts are too few to show anything" in proof["quantiles"]["sentence"]


def test_a_reversed_order_is_told_as_worse(store: Store) -> None:
    proof, _, _ = run_quantiles(store, lambda place: -place / COUNT, metric="exact_match")
    assert proof["quantiles"]["trend"] == "worse"
    assert (
        "a better place and higher exact match correlate with -" in proof["quantiles"]["sentence"]
    )


def test_trainings_of_a_number_are_pairs_and_the_verdict_stays(store: Store) -> None:
    proof, run, _ = run_quantiles(store, lambda place: place / COUNT)
    plain, again, _ = run_quantiles(store, lambda place: place / COUNT, quantiles=None)
    assert not again.trained, "what quantiles need beside is all that they add"
    for key in ("verdict", "comparisons", "arms", "spread", "sentence"):
        assert proof[key] == plain[key]
    assert "quantiles" not in plain
    # A part is 20 places, so that a random draw lies within one hardly ever.
    within = [len({int(i[1:]) // 20 for i in ids}) == 1 for ids in run.trained]
    seeds = [seed for seed, one in zip(run.seeds, within, strict=True) if one and len(seed) == 2]
    assert sorted(seeds) == sorted([run.seed, number] for number in range(3) for _ in range(5))


def test_rows_with_eval_prompts_are_not_trained_on(store: Store) -> None:
    ranking = ranked(COUNT, 20)
    controls = pl.concat(draw_arms(ranking, [0, number]) for number in range(2))
    undrawn = ranking.join(controls, on="row_id", how="anti")["rank"][-1] - 1
    proof, run, _ = run_quantiles(store, lambda place: place / COUNT, selected=20, leak=undrawn)
    assert run.seed == 0
    assert proof["verdict"] != "refused"
    quantiles = proof["quantiles"]
    assert quantiles["trend"] == "not shown"
    assert quantiles["sentence"].startswith("No quantiles: 1 row of the parts holds a prompt of")
    leaking = f"r{undrawn:03}"
    assert not [rows for rows in run.trained if leaking in rows]
    allowed, run, _ = run_quantiles(
        store, lambda place: place / COUNT, selected=20, leak=undrawn, allow_leaks=True
    )
    assert allowed["quantiles"]["trend"] == "better"
    assert [rows for rows in run.trained if leaking in rows]


def test_parts_of_too_few_rows_are_not_trained_on(store: Store) -> None:
    proof, _, _ = run_quantiles(store, lambda place: place / COUNT, selected=2)
    assert proof["quantiles"]["sentence"] == (
        "No quantiles: a fine-tune would have 2 rows, as many as the selection or all of one of 5 "
        "parts of the order, and at least 3 are needed."
    )
    assert len(proof["quantiles"]["parts"]) == 5


def test_an_order_of_fewer_rows_than_parts_has_no_parts(store: Store) -> None:
    proof, _, _ = run_quantiles(store, lambda place: place, selected=3, unscored=COUNT - 3)
    assert proof["quantiles"]["parts"] == []
    assert "a fine-tune would have 0 rows" in proof["quantiles"]["sentence"]
