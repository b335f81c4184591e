"""Metrics of what models write: their columns beside the losses, and the proof that they decide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.core.store import Store
from curate.proof import written_metrics
from curate.proof.groups import compare_groups
from curate.proof.metrics import GENERATED, LOSS
from curate.proof.settings import ProofSettings
from curate.proof.written_metrics import base_warning, check_metric, written_metric
from tests.conftest import StoreRun, row, stored_rows, stored_table, turns
from tests.proof import test_proof

TEXTS = {"e0": "#### 7", "e1": "so 7", "e2": "who knows", "e3": None, "e4": "#### 7"}
REFERENCES = {
    "e0": "#### 7",
    "e1": "#### 7",
    "e2": "#### 7",
    "e3": "#### 7",
    "e4": "seven",
    "e5": "#### 7",
}


def scored(store: Store, setting: Mapping[str, Any]) -> pl.DataFrame:
    rows = stored_rows(
        store, "eval", [row(i, turns("How many?", r)) for i, r in REFERENCES.items()]
    )
    results = pl.DataFrame({"eval_id": list(REFERENCES), "loss": [0.5] * len(REFERENCES)})
    written = pl.DataFrame({"eval_id": list(TEXTS), "text": list(TEXTS.values())})
    tables = stored_table(store, "results", results), stored_table(store, "written", written)
    return StoreRun(store)(written_metrics.results, *tables, rows, written_metric(setting)).read()


def test_examples_without_an_answer_or_a_gold_one_have_no_value(store: Store) -> None:
    table = scored(store, {"generate": "number", "examples": 5, "pattern": None})
    assert table["eval_id"].to_list() == list(REFERENCES)
    assert table["generated"].to_list() == [True, True, False, None, None, None]
    assert table["generated_announced"].to_list() == [True, False, False, None, None, None]
    assert table["unmatched"].to_list() == [False, False, True, None, None, None]
    assert table["loss"].null_count() == 0


def test_references_without_anything_to_compare_are_refused(store: Store) -> None:
    with pytest.raises(UserError, match=r"prove\.metric\.generate: none of the 4 .* has JSON"):
        scored(store, {"generate": "json", "examples": 5, "pattern": None})


def test_a_function_scores_every_answer_and_its_source_is_in_the_key(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = []
    for factor in (1, 2):
        source = (
            f"def score(prompt, reference, generated, row):\n    return {factor} * len(generated)\n"
        )
        (tmp_path / "own.py").write_text(source)
        table = scored(store, {"function": "own.py:score", "examples": 5})
        values.append(table["function"].to_list())
    assert values[0] == [6.0, 4.0, 9.0, None, 6.0, None]
    assert values[1][0] == 12.0


@pytest.mark.parametrize(
    ("metric", "fault"),
    [
        ({"generate": "regex"}, "pattern goes with"),
        ({"generate": "number", "pattern": "a"}, "pattern goes with"),
        ({"generate": "regex", "pattern": "("}, "is no regular expression"),
        ({"function": "no_colon"}, "function"),
        ({"generate": "number", "examples": 1}, "examples"),
        ({"generate": "poem"}, "generate"),
    ],
)
def test_settings_at_fault_are_refused(metric: Mapping[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ProofSettings.model_validate({"metric": metric})


def test_a_base_model_that_solves_nothing_is_told() -> None:
    def results(right: int) -> pl.DataFrame:
        return pl.DataFrame({"generated": [True] * right + [False] * (20 - right) + [None] * 40})

    assert base_warning(results(2), GENERATED) is None
    assert base_warning(results(0), LOSS) is None
    for right in (0, 1):
        warning = base_warning(results(right), GENERATED)
        assert warning is not None and f"to {right} of 20 examples" in warning


def test_what_can_show_is_told_before_anything_runs() -> None:
    rows = [turns("How many?", text) for text in REFERENCES.values()]
    drawn = pl.DataFrame({"messages": rows})
    sentence = check_metric({"generate": "number", "pattern": None}, drawn)
    assert "5 of 6 references have a final number" in sentence and "below 0.200" in sentence
    with pytest.raises(UserError, match="none of the 6"):
        check_metric({"generate": "json", "pattern": None}, drawn)
    assert check_metric("loss", drawn) == ""


def test_right_answers_decide_where_the_recipe_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fine-tunes on good rows answer right; the losses are all the same."""

    def write(self: Any, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        ids = test_proof.tuned_on(arguments)["ids"]
        text = "y" if test_proof.share_of_good(ids) > 0.9 else "z"
        eval_ids = test_proof.rows_of(arguments["eval"])["row_id"][: arguments["examples"]]
        frame = pl.DataFrame({"eval_id": eval_ids}).with_columns(
            text=pl.lit(text), tokens=1, cut=False
        )
        frame.write_parquet(out / "written.parquet")
        return {}

    monkeypatch.setattr(test_proof.MeasuredRun, "write", write)
    proof, artifact, _ = test_proof.run_proof(
        store, lambda ids: 1.0, metric={"generate": "exact", "examples": 8}
    )
    assert (proof["metric"], proof["verdict"]) == ("generated", "better")
    verdicts = {c["metric"]: c["verdict"] for c in proof["comparisons"]}
    assert verdicts["generated"] == "better" and verdicts["unmatched"] is None
    arms = {arm["arm"]: arm["generated"] for arm in proof["arms"]}
    assert arms == {"base": 0.0, "selected": 1.0, "random_rows": 0.0, "random_tokens": 0.0}
    assert "answered 8 eval examples" in proof["generation"]
    effects = pl.read_parquet(artifact.file("effects.parquet"))
    assert effects.filter(arm="selected", seed=0)["generated"].drop_nulls().len() == 8


def test_groups_without_a_judged_answer_have_no_estimate() -> None:
    lines = [
        {"arm": arm, "seed": seed, "eval_id": f"e{i}", "generated": None if i > 5 else 1.0}
        for arm, seeds in (("base", 1), ("selected", 2), ("random_rows", 3))
        for seed in range(seeds)
        for i in range(12)
    ]
    groups = pl.DataFrame({"eval_id": [f"e{i}" for i in range(12)], "group": ["a"] * 6 + ["b"] * 6})
    judged, other = compare_groups(pl.DataFrame(lines), groups, "random_rows", GENERATED)
    assert (judged["examples"], other["examples"]) == (6, 0)
    assert judged["random"] is not None and other["random"] is None
