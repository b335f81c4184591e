"""Stage ablation: what a stage earned, by trainings on the selection that is made without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import polars as pl
import pytest

from curate.core.selectparams import Budget
from curate.core.store import Artifact, Store
from curate.proof.ablation import AblatedStage
from curate.proof.metrics import LOSS
from curate.proof.proof import ProofInputs, prove
from curate.proof.results import gains_of
from curate.proof.settings import ProofSettings
from curate.proof.statistics import estimate
from tests.conftest import row, stored_rows, stored_table, turns
from tests.proof.test_proof import LEAK, MeasuredRun, helpful, share_of_good

pytestmark = pytest.mark.system

GOOD, COUNT, EVALS = 10, 40, 12
IDS = [f"{'g' if i < GOOD else 'b'}{i:02}" for i in range(COUNT)]
Chosen = Mapping[str, Sequence[str] | None]


def ranking(ids: Sequence[str], dropped: Sequence[str] = ()) -> pl.DataFrame:
    """Return a ranking that selects some rows, in their order; it has no rows that were dropped."""
    order = [*ids, *(i for i in IDS if i not in (*ids, *dropped))]
    return pl.DataFrame(
        {
            "row_id": order,
            "rank": range(1, len(order) + 1),
            "selected": [i in ids for i in order],
            "tokens": [10] * len(order),
            "score": [-float(place) for place in range(len(order))],
        }
    )


def run_ablation(
    store: Store,
    without: Chosen,
    *,
    leaking: Sequence[str] = (),
    loss: Callable[[Sequence[str]], float] = helpful,
    **settings: Any,
) -> tuple[dict[str, Any], Artifact, MeasuredRun]:
    """Prove the ten good rows; `without` has what is selected without each stage, None if it stays."""
    prompts = {i: LEAK if i in leaking else f"text of {i}" for i in IDS}
    rows = [row(i, turns(prompts[i], "an answer")) for i in IDS]
    evals = [row(f"e{i:02}", turns(LEAK if i == 0 else f"eval {i}", "y")) for i in range(EVALS)]
    run = MeasuredRun(store, loss=loss)
    run.rows = stored_rows(store, "pool", rows)
    stages = [
        AblatedStage(
            stage=name,
            dropped=3,
            new_rows=0,
            back=2,
            unjudged=[],
            guards="eval prompts" if ids is None else None,
            ranking=None if ids is None else stored_table(store, "ranking", ranking(ids)),
        )
        for name, ids in without.items()
    ]
    params = ProofSettings.model_validate({"draws": 5, **settings}).values
    selection = stored_table(store, "ranking", ranking(IDS[:GOOD], leaking))
    material = ProofInputs(stored_rows(store, "eval", evals), stages=stages)
    proof = prove(run, selection, material, params, Budget(rows=GOOD))
    return orjson.loads(proof.file("proof.json").read_bytes()), proof, run


def stages_of(proof: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["stage"]: line for line in proof["ablation"]["stages"]}


def with_bad(count: int) -> list[str]:
    """Return the selection with bad rows in the place of so many good ones."""
    return [*IDS[: GOOD - count], *IDS[GOOD : GOOD + count]]


def test_a_stage_that_kept_bad_rows_out_has_earned_what_they_cost(store: Store) -> None:
    without = {"exact": with_bad(4), "fuzzy": IDS[:GOOD], "rules": with_bad(8), "leaks": None}
    proof, _, run = run_ablation(store, without)
    lines = stages_of(proof)
    assert [*lines] == [*without], "in the order of the recipe"
    for name, share in (("exact", 0.4), ("rules", 0.8)):
        earned = lines[name]["earned"]
        assert earned["low"] < 0.5 * share < earned["high"]
        assert earned["low"] > 0
        assert lines[name]["changed"] == share * GOOD
        over = proof["ablation"]["over_random"] - lines[name]["over_random"]
        assert over == pytest.approx(earned["difference"])
    assert lines["fuzzy"]["earned"] is lines["leaks"]["earned"] is None
    assert lines["fuzzy"]["changed"] == 0
    assert lines["fuzzy"]["note"] == "without it the same rows are selected"
    assert lines["leaks"]["note"].startswith("it keeps eval prompts out")
    assert proof["ablation"]["compared"] == 2
    assert "2 comparisons, each with a 95 % interval of its own" in proof["ablation"]["sentence"]
    assert "verdict" not in lines["exact"]
    # Draws of rows, which here are those of tokens too, the selection, and two stages.
    assert len(run.trained) == 5 + 3 + 2 * 3


def test_the_estimate_is_that_of_trainings_in_pairs_of_one_seed(store: Store) -> None:
    proof, artifact, run = run_ablation(store, {"exact": with_bad(4)})
    points = pl.read_parquet(artifact.file("ablation.parquet"))
    interval = estimate(*(gains_of(points, arm, LOSS) for arm in ("selected", "without-exact")))
    assert stages_of(proof)["exact"]["earned"] == {
        "difference": interval.difference,
        "low": interval.low,
        "high": interval.high,
    }
    seeds: dict[float, list[list[int]]] = {}
    for ids, seed in zip(run.trained, run.seeds, strict=True):
        seeds.setdefault(share_of_good(ids), []).append(seed)
    assert sorted(seeds[0.6]) == sorted(seeds[1.0])


def test_where_nothing_changes_nothing_is_trained_and_it_is_said(store: Store) -> None:
    proof, _, run = run_ablation(store, {"exact": IDS[:GOOD][::-1], "fuzzy": IDS[:GOOD]})
    assert len(run.trained) == 5 + 3
    assert proof["ablation"]["compared"] == 0
    assert proof["ablation"]["sentence"].startswith("No stage changes what is trained on.")


def test_a_selection_that_would_hold_eval_prompts_is_not_trained(store: Store) -> None:
    without = {"exact": with_bad(4), "fuzzy": with_bad(2)}
    proof, _, run = run_ablation(store, without, leaking=[IDS[GOOD + 3]])
    lines = stages_of(proof)
    assert proof["verdict"] == "better", "the verdict is on arms that do not leak"
    assert lines["exact"]["leaking"] == 1
    assert lines["exact"]["earned"] is None
    assert "add the stage {method: leaks}" in lines["exact"]["note"]
    assert lines["fuzzy"]["earned"] is not None
    assert not any(share_of_good(ids) == 0.6 and len(ids) == GOOD for ids in run.trained)
    allowed, _, _ = run_ablation(store, without, leaking=[IDS[GOOD + 3]], allow_leaks=True)
    assert stages_of(allowed)["exact"]["earned"] is not None


def test_an_ablation_leaves_the_verdict_as_it_is_and_goes_on_where_it_was(store: Store) -> None:
    plain, _, _ = run_ablation(store, {})
    assert "ablation" not in plain
    proof, first, run = run_ablation(store, {"exact": with_bad(4)})
    assert len(run.trained) == 3, "what was trained before is not trained again"
    again, second, idle = run_ablation(store, {"exact": with_bad(4)})
    assert not idle.trained
    assert again == proof
    assert first.digest == second.digest
    for key in ("verdict", "comparisons", "arms", "others", "sentence"):
        assert proof[key] == plain[key]


def test_one_training_of_each_says_what_its_interval_knows(store: Store) -> None:
    proof, _, _ = run_ablation(store, {"exact": with_bad(4)}, seeds=1)
    assert "knows the eval examples only" in proof["ablation"]["sentence"]
