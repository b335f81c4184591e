"""The estimate of making rows: bounds, limits, and what they mean for the later lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.methods import find_method, methods_in
from curate.core.stage import Stage
from curate.estimate.generation import generation_lines
from curate.estimate.proof import control_runs
from curate.estimate.recipe import estimate
from curate.generate.generation import Generator
from curate.pipeline.curation import run_curation
from tests.proof.test_together import recipe as proof_recipe

AIDE = {"method": "aide", "hops": 1, "attributes": 1, "personas": 1, "max_tokens": 100}
CRAFT = {"method": "craft", "corpus": "corpus.jsonl", "documents": 12, "max_tokens": 200}


def lines(*methods: dict[str, Any], **limits: Any) -> list[Any]:
    generate = {"methods": list(methods), "limits": limits}
    recipe = {"name": "x", "pool": "pool.jsonl", "target": "target.jsonl", "generate": generate}
    settings = Config.model_validate(recipe).generate
    assert settings is not None
    return generation_lines(settings, 10, 1_000)


def test_rows_calls_and_tokens_are_bounds() -> None:
    aide, craft, joined = lines(AIDE, CRAFT)
    # One prompt for each operator and persona; topics, then rewrite, grades and answer of each.
    assert aide.rows == 10 * 4
    assert "at most 290 calls and answers drawn anew, answers up to 100 tokens" in aide.does
    assert aide.tokens == 290 * 100
    assert (craft.rows, craft.tokens) == (12, 12 * 200)
    assert joined.rows == 1_000 + 40 + 12
    assert joined.does == "1,000 of the pool and up to 52 made"
    assert all(line.up_to for line in (aide, craft, joined))


def test_limits_cut_them_off() -> None:
    aide, craft, joined = lines(AIDE, CRAFT, calls=5, tokens=300, cost=2)
    assert (aide.rows, aide.tokens) == (5, 300)
    assert "at most 5 calls (limits.calls; 290 without)" in aide.does
    assert (craft.rows, craft.tokens) == (5, 300)
    assert joined.does.endswith("; the limits: 5 calls, 300 tokens, 2.0 cost")


@pytest.mark.parametrize("method", sorted(methods_in(Generator)))
def test_bounds_are_whole_numbers(method: str) -> None:
    cls = find_method(Generator, method)
    needed: dict[str, Any] = dict.fromkeys(
        (n for n, f in cls.model_fields.items() if f.is_required()), "x"
    )
    generator = cls.model_construct(**needed)
    calls = generator.cost(10, 100).calls
    assert isinstance(calls, int)
    assert calls > 0 or not generator.asks
    rows = generator.cost(10, 100).rows
    assert rows is None or rows > 0


@pytest.mark.parametrize(
    ("stage", "calls"),
    [
        # Five answers and two questions about the response.
        ({"kind": "clear"}, 700),
        ({"kind": "rubric", "votes": 2}, 200),
        # An answer, and in either order five judgements and two questions.
        ({"kind": "correct"}, 1_500),
        ({"kind": "knowledge", "sets": 2, "samples": 3}, 800),
        ({"kind": "knowledge", "sets": 2, "samples": 3, "rehearse": True}, 1_000),
    ],
)
def test_stages_say_what_a_hundred_rows_take_at_most(stage: dict[str, Any], calls: int) -> None:
    method = find_method(Stage, stage["kind"]).model_validate(stage)
    assert method.asks
    assert method.cost(100).calls == calls


@pytest.mark.parametrize("command", [estimate, run_curation])
def test_what_a_stage_needs_and_is_not_installed_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[Config], object]
) -> None:
    monkeypatch.setattr("curate.clean.heuristics.people._installed", lambda name: False)
    monkeypatch.chdir(tmp_path)
    config = Config.model_validate(
        {
            "name": "names",
            "pool": str(tmp_path / "none.jsonl"),
            "stages": ["exact", {"kind": "pii", "names": "en_core_web_sm"}],
        }
    )
    with pytest.raises(
        UserError,
        match=r"run `pip install presidio-analyzer` and `python -m spacy download en_core_web_sm`",
    ):
        command(config)
    assert not list(tmp_path.glob(".curate/store/*-*"))


@pytest.mark.parametrize(
    ("curve", "rows", "words", "cost"),
    [
        (3, 36, "12 more fine-tunes and measurements, with 12 and 4 rows", 6 * (12 + 4)),
        (4, 36, "6 more fine-tunes and measurements, with 9 rows", 6 * 9),
        (4, 8, "no curve: 1/4 of 8 rows is too few to train on", 0),
    ],
)
def test_a_curve_costs_a_third_of_the_trainings_more(
    tmp_path: Path, tiny: Path, curve: int, rows: int, words: str, cost: int
) -> None:
    given = proof_recipe(tmp_path, tiny, curve=curve)
    given = given | {"select": {"method": "bm25", "budget": rows}}
    lines_by_stage = {line.stage: line for line in estimate(Config.model_validate(given))}
    line = lines_by_stage["proof: curve"]
    assert line.does == words
    # 4 draws and 2 trainings of the selection.
    assert (line.tokens > 0) == (line.seconds.high > 0) == (cost > 0)
    tuned = lines_by_stage["proof: tune"]
    each = tuned.tokens / (rows * 9)
    measured = lines_by_stage["proof: measure"].tokens / 10
    runs = int(words.split()[0]) if cost else 0
    assert line.tokens == pytest.approx(each * cost + measured * runs, rel=0.01)


@pytest.mark.parametrize(("rows", "size"), [(5, 5), (36, 8)])
def test_parts_of_the_order_cost_a_fine_tune_for_each_seed(
    tmp_path: Path, tiny: Path, rows: int, size: int
) -> None:
    """A part is a fifth of the 40 rows of the pool."""
    given = proof_recipe(tmp_path, tiny, quantiles=5)
    given = given | {"select": {"method": "bm25", "budget": rows}}
    lines_by_stage = {line.stage: line for line in estimate(Config.model_validate(given))}
    line = lines_by_stage["proof: quantiles"]
    assert line.does == (
        f"10 more fine-tunes and measurements, on up to {size} rows of each of 5 parts of the order; 5 "
        "parts can show it only where their order is perfect"
    )
    each = lines_by_stage["proof: tune"].tokens / (rows * 9)
    measured = lines_by_stage["proof: measure"].tokens / 10
    assert line.tokens == pytest.approx(10 * (each * size + measured), rel=0.01)
    plain = estimate(
        Config.model_validate(given | {"prove": {**given["prove"], "quantiles": None}})
    )
    assert line.stage not in {other.stage for other in plain}


def test_parts_of_too_few_rows_to_train_on_cost_nothing(tmp_path: Path, tiny: Path) -> None:
    given = proof_recipe(tmp_path, tiny, quantiles=5)
    given = given | {"select": {"method": "bm25", "budget": 2}}
    by_stage = {line.stage: line for line in estimate(Config.model_validate(given))}
    line = by_stage["proof: quantiles"]
    assert line.does == "nothing is trained: a part would give 2 rows, fewer than 3"
    assert (line.tokens, line.seconds.likely) == (0, 0)


def test_models_of_a_curve_are_counted_wherever_models_are_measured(
    tmp_path: Path, tiny: Path
) -> None:
    given = proof_recipe(tmp_path, tiny, curve=4)
    given = given | {"select": {"method": "bm25", "budget": 40}}
    lines = [{"question": f"Which {i}?", "choices": ["a", "b"], "answer": "A"} for i in range(4)]
    (tmp_path / "eval.jsonl").write_text("\n".join(map(json.dumps, lines)))
    by_stage = {line.stage: line for line in estimate(Config.model_validate(given))}
    whole = int(by_stage["proof: measure"].does.split()[0])
    assert by_stage["proof: options"].does.startswith(f"{whole + 6} models on the options of 4")


@pytest.mark.parametrize(
    ("method", "scored"),
    [
        ("embed", "later stages judge again, rows that come back are scored once"),
        ("bm25", "later stages judge again, bm25 scores all rows again for each"),
        ("random", "later stages judge again"),
    ],
)
def test_an_ablation_trains_each_selection_without_a_stage_as_often_as_the_whole(
    tmp_path: Path, tiny: Path, method: str, scored: str
) -> None:
    given = proof_recipe(tmp_path, tiny, ablate=True)
    given = given | {
        "select": {"method": method, "budget": 8},
        "stages": ["exact", "fuzzy", "leaks"],
    }
    given["models"]["embedder"] = "static"
    lines = {line.stage: line for line in estimate(Config.model_validate(given))}
    line, tuned = lines["proof: ablation"], lines["proof: tune"]
    assert line.does == (
        "up to 4 more fine-tunes and measurements, without exact, fuzzy, one at a time; none where the "
        f"same rows are selected; {scored}"
    )
    measured = lines["proof: measure"].tokens / 10
    assert line.tokens == pytest.approx(tuned.tokens / 9 * 4 + measured * 4, rel=0.01)
    assert line.seconds.high > 0


@pytest.mark.parametrize(
    ("budgets", "runs"),
    [
        ([{"rows": 8}] * 2, (9, 6)),
        ([{"rows": 8}] * 5, (9, 6)),
        ([{"rows": 8}, {"rows": 9}], (18, 6)),
    ],
)
def test_methods_of_one_budget_share_the_draws_of_both_sizes(
    budgets: list[dict[str, int]], runs: tuple[int, int]
) -> None:
    own, *others = budgets
    config = Config.model_validate(
        {
            "name": "bill",
            "pool": ["a.jsonl"],
            "target": {"path": "t.jsonl", "eval": "e.jsonl"},
            "select": {"method": "bm25", "budget": own},
            "compare": [{"method": "length", "budget": budget} for budget in others],
            "prove": {"compare": True},
        }
    )
    by_arm = {"selected": 3, "random_rows": 9, "random_tokens": 3}
    assert control_runs(config, by_arm) == runs
