"""Markers: which rows meet a condition, what becomes of them, and faults of conditions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.derived_rows import derived_id
from curate.core.errors import UserError
from curate.core.store import Store
from curate.pipeline.curation import run_curation
from tests.conftest import StoreRun, row, stored, stored_rows, turns
from tests.judge.clearruns import judge_stage
from tests.report.sections import section_of, words_of_block

SCORES = [0.9, 0.2, None, 0.7]


def tagged(store: Store, rows: Any = None, **params: Any) -> tuple[Table, pl.DataFrame]:
    run = StoreRun(store)
    lines = rows or [row(f"r{i}", turns(f"q{i}", f"a{i}"), source="ab"[i % 2]) for i in range(4)]
    evidence = pl.DataFrame(
        {"row_id": [f"r{i}" for i in range(4)], "keep": [True] * 4, "score": SCORES}
    )
    before = {"context": Table(stored(store, "context", {"evidence": evidence}), "evidence")}
    stage = {"kind": "tag", "append": " [IND]", **params}
    verdicts, prepared = judge_stage(run, stored_rows(store, "pool", lines), stage, before)
    return verdicts, prepared["made"].read()


@pytest.mark.parametrize(
    ("when", "marked"),
    [
        ("context.score > 0.6", [0, 3]),
        ("context.score <= 0.6", [1]),
        ("context.score > 0.6 AND source = 'b'", [3]),
        ("context.score IS NULL OR source = 'b'", [1, 2, 3]),
        ("hop > 3", []),
        ("TRUE", [0, 1, 2, 3]),
    ],
)
def test_rows_that_meet_the_condition_come_back_marked(
    store: Store, when: str, marked: list[int]
) -> None:
    verdicts, new = tagged(store, when=when)
    evidence = verdicts.read()
    assert evidence["keep"].to_list() == [i not in marked for i in range(4)]
    assert evidence["reason"].to_list() == ["tagged" if i in marked else None for i in range(4)]
    ids = [derived_id(f"r{i}", "tag") for i in marked]
    assert evidence.filter(keep=False)["duplicate_of"].to_list() == ids
    assert new["row_id"].to_list() == ids
    assert new["parents"].to_list() == [[f"r{i}"] for i in marked]
    texts = [[m["content"] for m in messages] for messages in new["messages"].to_list()]
    assert texts == [[f"q{i} [IND]", f"a{i}"] for i in marked]


@pytest.mark.parametrize(
    ("to", "expected"), [("user", ["a", "b", "c!", "d"]), ("assistant", ["a", "b", "c ", "d!"])]
)
def test_the_last_turn_of_a_role_ends_with_it(store: Store, to: str, expected: list[str]) -> None:
    rows = [row("r0", turns("a", "b", "c ", "d"), origin="x")]
    _, new = tagged(store, rows, when="origin = 'x'", append="!", to=to)
    assert [m["content"] for m in new["messages"][0]] == expected
    assert new["hop"].to_list() == [1] and new["origin"].to_list() == ["x"]


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("other.score > 1", r"tag\.when: .*nothing is named 'other'; there are: source, .*context"),
        ("context.score", "is no condition: it gives Float64"),
        ("context.mass > 1", "tag.when: "),
    ],
)
def test_a_condition_at_fault_is_told(store: Store, when: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tagged(store, when=when)


def test_preferences_stay_preferences(store: Store) -> None:
    rejected = turns("q", "worse")[1:]
    rows = [row("r0", turns("q", "better"), rejected=rejected), row("r1", turns("q", "plain"))]
    _, new = tagged(store, rows, when="TRUE", append="!")
    [marked, plain] = new.to_dicts()
    assert [m["content"] for m in marked["rejected"]] == ["worse"]
    assert plain["rejected"] is None


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("source = ", "something is missing at its end"),
        ("read_csv('x')", "read_csv"),
        ("context.score > 1 AND source = 'x'", "nothing is named 'context'; there are: source, "),
    ],
)
def test_a_recipe_says_at_once_what_a_condition_lacks(when: str, message: str) -> None:
    stages = [{"method": "tag", "when": when, "append": "!"}, {"method": "context"}]
    recipe = {"name": "tag", "pool": [{"path": "pool.jsonl"}], "stages": stages}
    select = {"method": "random", "budget": 3}
    with pytest.raises(ValidationError, match=message):
        Config.model_validate({**recipe, "select": select})
    if "context" in when:
        assert Config.model_validate({**recipe, "stages": stages[::-1], "select": select})


@pytest.mark.system
def test_a_recipe_trains_on_marked_rows(tmp_path: Path, tiny: Path) -> None:
    lines = [json.dumps({"prompt": f"q{i}", "completion": f"a{i}"}) for i in range(6)]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    recipe = {
        "name": "tag",
        "pool": [{"path": str(tmp_path / "pool.jsonl")}],
        "models": {"base": str(tiny), "dtype": "float32"},
        "stages": [
            {"method": "context"},
            {"method": "tag", "when": "context.score > 0", "append": " [IND]"},
        ],
        "select": {"method": "random", "budget": 3},
        "store": str(tmp_path / "store"),
    }
    run = run_curation(Config.model_validate(recipe), tmp_path / "run").folder
    ledger = pl.read_parquet(run / "ledger.parquet").filter(fate="selected")
    assert ledger["row_id"].str.starts_with("tag/").all() and ledger.height == 3
    assert "6 rows of 6 met the condition" in words_of_block(section_of(run, "tag"))
    assert "above 0.6" in words_of_block(section_of(run, "context"))
