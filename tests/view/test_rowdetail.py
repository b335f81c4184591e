"""What a row in full holds: turns of every kind, where it is from, its kin, its example's side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.runs.folder import open_run
from curate.view.context import ViewContext, open_context
from curate.view.rowdetail import RowDetail, read_detail, read_example
from tests.report.realrun import finish, recipe, write_inputs
from tests.report.test_report_generated import make

CALLS: list[dict[str, Any]] = [
    {"role": "user", "content": "What is the weather?"},
    {
        "role": "assistant",
        "content": "",
        "reasoning_content": "I should look.",
        "tool_calls": [{"type": "function", "function": {"name": "sky", "arguments": '{"at": 1}'}}],
    },
    {"role": "tool", "content": "rain", "name": "sky"},
    {"role": "assistant", "content": "It rains."},
]


def detail_of(context: ViewContext, row_id: str, **settings: Any) -> RowDetail:
    position = context.rows.position(row_id)
    assert position is not None
    return read_detail(context.run, context.rows, position, **settings)


def text_of(turn: Any) -> str:
    return "".join(part.text for part in turn.text.segments)


def test_where_a_row_is_from_and_what_is_kept_of_it(view_context: ViewContext) -> None:
    row_id = view_context.rows.ledger.filter(fate="selected")["row_id"][0]
    detail = detail_of(view_context, row_id)
    facts = dict(detail.facts)
    assert (facts["source"], facts["file"]) == ("web", "pool.jsonl")
    assert row_id == f"web/pool.jsonl:{facts['record']}"
    assert facts["licence"] == "unknown"
    assert [turn.role for turn in detail.turns] == ["user", "assistant"]
    assert (detail.fate, detail.stage, detail.method) == ("selected", "select", "random")
    assert [one.stage for one in detail.verdicts] == ["exact", "fuzzy", "leaks", "rules"]
    assert detail.lineage is None
    assert not detail.cut


def test_a_row_can_be_compared_with_any_other(view_context: ViewContext) -> None:
    ids = view_context.rows.ledger.filter(fate="selected")["row_id"]
    beside = detail_of(view_context, ids[0], against=ids[1]).counterpart
    assert beside is not None
    assert (beside.title, beside.row_id) == ("Compared with", ids[1])
    gone = detail_of(view_context, ids[0], against="nothing").counterpart
    assert gone is not None
    assert gone.sides is not None
    assert [side.turns for side in gone.sides] == [None, None]


def test_rows_that_stages_measured_as_similar_are_its_kin(view_context: ViewContext) -> None:
    pairs = open_run(view_context.run.path).table("evidence/fuzzy-pairs").collect()
    row_id = pairs["row_id"][0]
    own = pairs.filter((pl.col("row_id") == row_id) | (pl.col("other_id") == row_id))
    expected = {*own["row_id"], *own["other_id"]} - {row_id}
    assert {one.row_id for one in detail_of(view_context, row_id).similar} == expected


def test_an_example_has_the_rows_that_hold_it(view_context: ViewContext) -> None:
    leak = view_context.rows.ledger.filter(stage="leaks").row(0, named=True)
    example = read_example(view_context.run, view_context.rows, leak["duplicate_of"])
    assert example is not None
    assert leak["row_id"] in example.leaking
    assert read_example(view_context.run, view_context.rows, "nothing") is None


def test_reasoning_and_calls_are_turns_of_their_own(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, rows=4)
    line = json.dumps({"messages": CALLS, "difficulty": "high"})
    (tmp_path / "pool.jsonl").write_text(
        f"{line}\n{json.dumps({'prompt': 'Hi', 'completion': 'Hello'})}\n"
    )
    context = open_context(finish(recipe(tmp_path, tiny, []), tmp_path / "run"))
    detail = detail_of(context, "web/pool.jsonl:1")
    assert [(turn.role, text_of(turn)) for turn in detail.turns] == [
        ("user", "What is the weather?"),
        ("assistant, reasoning", "I should look."),
        ("assistant, call of sky", '{"at":1}'),
        ("tool", "rain"),
        ("assistant", "It rains."),
    ]
    assert dict(detail.facts)["meta.difficulty"] == "high"


@pytest.mark.system
def test_a_made_row_has_its_lineage_and_a_parent_what_was_made_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = open_context(make(tmp_path, monkeypatch))
    rows = context.run.rows("pool")
    assert rows is not None
    hops = rows.filter(pl.col("hop") == 2).select("row_id", "parents").collect()
    row_id, parents = hops.row(0)
    tree = detail_of(context, row_id).lineage
    assert tree is not None
    assert [node.row_id for node in tree.parents] == parents
    assert tree.parents[0].parents
    parent = detail_of(context, parents[0])
    assert row_id in [one.row_id for one in parent.offspring]
