"""The curve: nested prefixes, what each ability does with more rows, which budget is enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.selectparams import Budget
from curate.core.store import Store
from curate.proof.abilities import PairedTest
from curate.proof.arms import draw_arms
from curate.proof.curve import LEAST_ROWS, nested_prefixes, write_curve
from curate.proof.growth import CurveDesign, enough_rows
from curate.proof.metrics import LOSS
from curate.proof.proof import ProofInputs, prove
from curate.proof.results import gains_of
from curate.proof.settings import ProofSettings
from curate.proof.statistics import estimate
from curate.selectors.planner import choose
from curate.selectors.random import RandomSelector
from curate.text.pairs import PAIR_SCHEMA
from tests.conftest import row, stored_rows, stored_table, turns
from tests.proof.test_proof import MeasuredRun, rows_of, tuned_on
from tests.selectors.test_planner import plan_context, ranking

pytestmark = pytest.mark.system

ROWS, COUNT, EVALS = 48, 160, 20
Loss = Callable[[int, int], float]
# Of an ability, by how many of the first and of all selected rows are trained on.
ABILITIES: Mapping[str, Loss] = {
    "early": lambda early, good: 1 - 0.3 * min(early, 3) / 3,
    "late": lambda early, good: 1 - 0.01 * good,
    "spoiled": lambda early, good: 0.5 + 0.01 * good,
}


@dataclass
class AbilityRun(MeasuredRun):
    """A run whose losses are those of ABILITIES, by the origin of the eval example."""

    def measure(self, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        trained = tuned_on(arguments)
        ids, number = trained["ids"], trained["number"]
        early = sum(i < "g003" for i in ids)
        good = sum(i.startswith("g") for i in ids)
        evals = rows_of(arguments["eval"])
        noise = np.random.default_rng([number, 3]).normal(0, 0.005, evals.height)
        hard = np.random.default_rng(9).normal(0, 0.2, evals.height)
        loss = np.array([ABILITIES[origin](early, good) for origin in evals["origin"]])
        pl.DataFrame(
            {
                "eval_id": evals["row_id"],
                "loss": loss + noise + hard,
                "exact": loss + hard < 0.7,
                "response_tokens": [10] * evals.height,
            }
        ).write_parquet(out / "results.parquet")
        return {}


def run_curve(
    store: Store, *, rows: int = ROWS, **settings: Any
) -> tuple[dict[str, Any], pl.DataFrame, AbilityRun]:
    """Prove a selection of the first rows of a pool, which alone teach anything."""
    ids = [f"{'g' if i < rows else 'b'}{i:03}" for i in range(COUNT)]
    pool = [row(i, turns(f"text of {i}", "an answer")) for i in ids]
    evals = [
        row(f"{name}-{i:02}", turns(f"eval {name} {i}", "y"), origin=name)
        for name in ABILITIES
        for i in range(EVALS)
    ]
    run = AbilityRun(store, loss=lambda ids: 0.0)
    run.rows = stored_rows(store, "pool", pool)
    ranked = pl.DataFrame(
        {
            "row_id": ids,
            "rank": range(1, COUNT + 1),
            "selected": [i < rows for i in range(COUNT)],
            "tokens": [10] * COUNT,
            "score": [float(-i) for i in range(COUNT)],
        }
    )
    params = ProofSettings.model_validate({"draws": 5, "curve": 4, **settings}).values
    selection = stored_table(store, "ranking", ranked)
    material = ProofInputs(stored_rows(store, "eval", evals))
    artifact = prove(run, selection, material, params, Budget(rows=rows))
    proof = orjson.loads(artifact.file("proof.json").read_bytes())
    name = "curve.parquet" if "curve" in proof else "effects.parquet"
    return proof, pl.read_parquet(artifact.file(name)), run


@given(
    seed=st.integers(0, 50),
    rows=st.integers(1, 60),
    factor=st.integers(2, 5),
    control=st.sampled_from(["random_rows", "random_tokens"]),
)
def test_prefixes_are_nested_and_no_larger_than_their_share(
    seed: int, rows: int, factor: int, control: str
) -> None:
    lengths = np.random.default_rng(seed).integers(1, 60, 80)
    ranked = pl.DataFrame(
        {
            "row_id": [f"r{i:02}" for i in range(80)],
            "selected": [i < rows for i in range(80)],
            "tokens": lengths,
        }
    )
    drawn = pl.concat([draw_arms(ranked, [seed, number]) for number in range(3)])
    prefixes = nested_prefixes(drawn, control, factor)
    assert sorted([*prefixes.divisors, *prefixes.left_out]) == [factor, factor**2]
    total = {"random_rows": rows, "random_tokens": int(lengths[:rows].sum())}[control]
    for arm in ("selected", control):
        for number in range(3):
            larger = drawn.filter(arm=arm, seed=number)
            for divisor in prefixes.divisors:
                part = prefixes.rows.filter(arm=arm, seed=number, divisor=divisor)
                ids = part["row_id"].to_list()
                assert ids == larger["row_id"].to_list()[: len(ids)]
                cost = part.height if control == "random_rows" else part["tokens"].sum()
                assert cost * divisor <= total
                assert part.height >= LEAST_ROWS
                if control == "random_rows":
                    assert part.height == rows // divisor
                larger = part


@given(seed=st.integers(0, 100), rows=st.integers(1, 24), smaller=st.integers(1, 24))
def test_a_smaller_budget_of_rows_chooses_a_prefix(seed: int, rows: int, smaller: int) -> None:
    ranked = ranking(seed)
    rng = np.random.default_rng(seed)
    pairs = [
        {"row_id": one, "other_id": other, "similarity": 0.9, "same": False}
        for one, other in rng.choice(ranked["row_id"].to_numpy(), (6, 2))
        if one != other
    ]
    context = plan_context(ranked, seed, pl.DataFrame(pairs, schema=PAIR_SCHEMA))
    limits = {"filter": "fuzzy.score > 0.2", "diversity": {"most": 0.85}}

    def chosen(count: int) -> list[str]:
        plan = RandomSelector.model_validate({"budget": {"rows": count}, **limits})
        return choose(ranked, plan, context).filter("selected")["row_id"].to_list()

    assert chosen(min(rows, smaller)) == chosen(rows)[: min(rows, smaller)]


def test_a_prefix_of_a_draw_is_the_draw_of_a_smaller_selection() -> None:
    """So that a proof at that budget finds its controls trained."""
    ranked = ranking(count=80).with_columns(selected=pl.int_range(pl.len()) < 48)
    drawn = draw_arms(ranked, [0, 1])
    prefixes = nested_prefixes(drawn, "random_rows", 4)
    fewer = draw_arms(ranked.with_columns(selected=pl.int_range(pl.len()) < 12), [0, 1])
    prefix = prefixes.rows.filter(arm="random_rows", divisor=4)
    assert prefix["row_id"].equals(fewer.filter(arm="random_rows")["row_id"])


def test_abilities_saturate_grow_and_are_harmed_as_planted(store: Store) -> None:
    proof, _, _ = run_curve(store)
    curve = proof["curve"]
    assert [size["rows"] for size in curve["sizes"]] == [48, 12, 3]
    classes = {a["ability"]: a["class"] for a in curve["abilities"]}
    assert classes == {"early": "saturated", "late": "growing", "spoiled": "harmed"}
    enough = {a["ability"]: a["enough"] for a in curve["abilities"]}
    # Its rows stand first; more rows harm the third, so that the fewest are enough.
    assert enough == {"early": 3, "late": None, "spoiled": 3}
    for part in ("growing: late", "saturated: early", "harmed: spoiled"):
        assert part in curve["sentence"]
    assert curve["sentence"].startswith("Loss lower by ")


def test_points_of_all_abilities_make_the_total(store: Store) -> None:
    proof, _, _ = run_curve(store)
    total, abilities = proof["curve"]["total"], proof["curve"]["abilities"]
    assert sum(a["examples"] for a in abilities) == total["examples"] == proof["eval_examples"]

    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=[a["examples"] for a in abilities]))

    assert total["gain"] == pytest.approx(mean([a["gain"] for a in abilities]))
    assert total["base"] == pytest.approx(mean([a["base"] for a in abilities]))
    for place, point in enumerate(total["points"]):
        for key in ("selected", "control"):
            assert point[key] == pytest.approx(mean([a["points"][place][key] for a in abilities]))


def test_the_gain_is_the_estimate_of_paired_trainings(store: Store) -> None:
    proof, points, run = run_curve(store)
    for ability in proof["curve"]["abilities"]:
        of = points.filter(ability=ability["ability"])
        whole, part = (gains_of(of, arm, LOSS) for arm in ("selected", "selected-4"))
        interval = estimate(whole, part)
        bounds = ability["gain"], ability["low"], ability["high"]
        assert bounds == (interval.difference, interval.low, interval.high)
    seeds: dict[int, list[Any]] = {len(ids): [] for ids in run.trained}
    for ids, seed in zip(run.trained, run.seeds, strict=True):
        seeds[len(ids)].append(seed)
    assert sorted(seeds[12]) == sorted(seeds[3]) == sorted(seeds[48])


def test_the_margin_is_the_spread_of_the_whole_draws(store: Store) -> None:
    proof, _, _ = run_curve(store)
    assert proof["curve"]["margin"] == pytest.approx(max(proof["spread"]["sd"], 0.02))


@pytest.mark.parametrize(("rows", "left_out"), [(48, []), (47, [16]), (11, [4, 16])])
def test_sizes_of_too_few_rows_are_left_out_and_it_is_said(
    store: Store, rows: int, left_out: list[int]
) -> None:
    proof, _, _ = run_curve(store, rows=rows)
    curve = proof["curve"]
    assert curve["left_out"] == left_out
    parts = " and ".join(f"1/{divisor}" for divisor in left_out)
    is_listed = f"{parts} of {rows} rows, which are too few to train on" in curve["sentence"]
    assert is_listed == bool(left_out)
    if len(left_out) == 2:
        assert curve["sentence"].startswith("No curve: ")


def test_a_curve_leaves_the_verdict_as_it_is(store: Store) -> None:
    proof, _, run = run_curve(store)
    trained = len(run.trained)
    plain, _, again = run_curve(store, curve=None)
    assert not again.trained, "what the curve needs beside is all that it adds"
    # The other control has no curve, and the same rows, since all are as long.
    assert trained == 5 + 3 + 2 * (5 + 3)
    for key in ("verdict", "comparisons", "arms", "spread", "sentence"):
        assert proof[key] == plain[key]
    assert "curve" not in plain


def test_items_of_tasks_are_abilities_by_the_name_of_their_task(
    store: Store, tmp_path: Path
) -> None:
    """They are no eval rows, have no response tokens, and decide where the metric is lm_eval."""
    evals = stored_rows(store, "eval", [row("e0", turns("eval", "y"))])
    arms = {"selected": 2, "random_rows": 2}
    sized = [f"{arm}{part}" for arm in arms for part in ("", "-4")]
    tables = {}
    for place, name in enumerate(["base", *(f"{arm}/{n}" for arm in sized for n in range(2))]):
        items = [f"sums/{n}" for n in range(3)] + [f"names/of/{n}" for n in range(3)]
        results = {
            "eval_id": ["e0", *items],
            "loss": [1.0, *[None] * 6],
            "response_tokens": [5, *[None] * 6],
            "lm_eval": [None, *np.random.default_rng(place).random(6)],
        }
        tables[name] = stored_table(store, "results", pl.DataFrame(results))
    sizes = [
        {"divisor": d, "arm": arm, "rows": 48 / d, "tokens": 480 / d}
        for d in (1, 4)
        for arm in arms
    ]
    design = CurveDesign(arms, "random_rows", 4, [1, 4], [], sizes, "lm_eval")
    write_curve(tmp_path, evals, tables, design)
    curve = orjson.loads((tmp_path / "curve.json").read_bytes())
    sizes_by_ability = [(ability["ability"], ability["examples"]) for ability in curve["abilities"]]
    assert sizes_by_ability == [("names/of", 3), ("sums", 3)]
    assert curve["total"]["examples"] == 6


def gain(high: float) -> PairedTest:
    return PairedTest(high - 0.1, high - 0.2, high, 0.5, 0.5)


@pytest.mark.parametrize(
    ("highs", "enough"),
    [
        ({12: 0.05, 3: 0.05}, 3),
        ({12: 0.05, 3: 0.3}, 12),
        # A lucky small size is none: between it and the whole more rows still help.
        ({12: 0.3, 3: 0.05}, None),
        ({}, None),
    ],
)
def test_enough_is_the_smallest_size_from_which_on_the_gain_is_below_the_margin(
    highs: dict[int, float], enough: int | None
) -> None:
    gains = {rows: gain(high) for rows, high in highs.items()}
    assert enough_rows(gains, margin=0.1) == enough
