"""The race as a recipe writes it: candidates, their plan, how many are left, what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.selectparams import Budget
from curate.proof.halving import most_finetunes, survivors, trainings_in
from curate.selectors.compared import candidate_names
from curate.selectors.race import RaceParams
from tests.config.test_recipe import schema_faults

OF = ["rds", "less", {"method": "embed", "budget": 40}, {"method": "embed", "compare": "prompt"}]
RECIPE: dict[str, Any] = {
    "name": "a",
    "pool": "data",
    "target": {"path": "target.jsonl", "eval": "eval.jsonl"},
    "select": {"method": "race", "of": OF, "budget": 20},
    "prove": {},
}


def complain(folder: Path, **changed: Any) -> str:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changed}, sort_keys=False))
    with pytest.raises(UserError) as caught:
        load_config(path)
    return str(caught.value).removeprefix(f"{path}:")


def race(*of: Any, **more: Any) -> dict[str, Any]:
    return {"method": "race", "of": list(of), "budget": 5, **more}


def test_candidates_take_over_the_plan_and_are_named_by_their_methods() -> None:
    config = Config.model_validate(
        {**RECIPE, "select": {**RECIPE["select"], "filter": "tokens < 9"}}
    )
    assert isinstance(config.select, RaceParams)
    assert candidate_names(config.select) == ["rds", "less", "embed", "embed-2"]
    budgets = [params.budget for params in config.select.candidates]
    assert budgets == [Budget(rows=n) for n in (20, 20, 40, 20)]
    assert {params.filter for params in config.select.candidates} == {"tokens < 9"}
    assert [place for place, _ in config.choices] == [("select", "of", i) for i in range(4)]


def test_a_resolved_race_reads_as_itself_and_editors_know_it() -> None:
    config = Config.model_validate(RECIPE)
    resolved = config.model_dump(mode="json")
    assert Config.model_validate(resolved) == config
    assert schema_faults(RECIPE) == schema_faults(resolved) == []


def test_all_that_race_and_all_that_are_compared_share_the_level() -> None:
    assert Config.model_validate(RECIPE).judged_count == 4
    together = {**RECIPE, "compare": ["bm25", "dsir"], "prove": {"compare": True}}
    assert Config.model_validate(together).judged_count == 4 + 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"prove": {"metric": "lm_eval", "tasks": ["arc_easy"]}}, "tasks of lm_eval have no halves"),
        ({"prove": None}, "7: select.method: a race chooses by fine-tunes that are measured on one"),
        ({"target": "target.jsonl"}, "half of the eval set: give `prove` and target.eval"),
        ({"select": race("rds")}, "at least 2 items"),
        ({"select": race("rds", "lss")}, "of.1: unknown key; did you mean 'less'?"),
        ({"select": race("rds", "less", "rds")}, "of.2 is the same as of.0"),
        ({"select": race("rds", race("less", "dsir"))}, "of.1: a race is no candidate of another"),
        (
            {"select": race("rds", {"method": "got", "epsilom": 1})},
            "of.1 (got): epsilom: unknown key; did you mean 'epsilon'?",
        ),
        (
            {"select": race("rds", {"method": "less", "budget": {"rows": 0}})},
            "of.1 (less): budget: rows must be above 0",
        ),
        ({"select": race("rds", "less", rounds=0)}, "rounds: Input should be greater than or equal"),
        ({"select": race("rds", "less", filter="score > 1")}, "filter speaks of scores"),
        ({"select": race("rds", "less", filter="tokens <")}, "select.filter: 'tokens <'"),
        (
            {"select": race("rds", {"method": "less", "filter": "fuzzy.score < 1"})},
            "nothing is named 'fuzzy'",
        ),
        ({"compare": [race("rds", "less")]}, "compare: a race chooses the run's own selection"),
        (
            {"select": {"method": "cascade", "budget": 5, "parts": [
                {"method": "race", "keep": 0.5}, {"method": "rds"}]}},
            "part 0: unknown key",
        ),
    ],
)  # fmt: skip
def test_faults_are_told_with_their_place(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    assert words in complain(tmp_path, **changed)


def test_a_candidate_that_needs_target_examples_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    said = complain(tmp_path, target=None)
    assert "select.of.0" in said
    assert "needs `target:` examples" in said


@pytest.mark.parametrize(
    ("candidates", "rounds", "left", "finetunes"),
    [
        (8, 3, [4, 2, 1], 8 + 4 + 2 * 2),
        (4, 2, [2, 1], 4 + 2),
        (4, 3, [3, 2, 1], 4 + 3 + 2 * 2),
        (2, 3, [2, 2, 1], 2 * 4),
        (2, 1, [1], 2),
    ],
)
def test_the_field_shrinks_by_one_factor_and_trainings_double(
    candidates: int, rounds: int, left: list[int], finetunes: int
) -> None:
    assert [survivors(candidates, n, rounds) for n in range(1, rounds + 1)] == left
    assert most_finetunes(candidates, rounds) == finetunes


@given(candidates=st.integers(2, 40), rounds=st.integers(1, 5))
def test_one_is_left_after_the_last_round_and_two_before_it(candidates: int, rounds: int) -> None:
    left = [candidates, *(survivors(candidates, n, rounds) for n in range(1, rounds + 1))]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 1
    assert left[-2] >= 2
    # Never more than training every candidate as often as the winner.
    assert most_finetunes(candidates, rounds) <= candidates * trainings_in(rounds)
