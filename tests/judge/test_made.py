"""Rows that a stage makes: lineage, ids, and what they keep of their parents."""

from __future__ import annotations

from curate.judge.made import made_id, remade
from curate.rows import content_hash
from tests.conftest import frame, row, turns


def test_a_made_row_names_its_parent_and_keeps_its_source() -> None:
    rows = frame(
        [
            row("a", turns("2 + 2?", "5"), source="web", origin="sums", meta='{"k": 1}'),
            row("b", turns("3 + 3?", "7"), hop=2),
        ]
    )
    new = [turns("2 + 2?", "4"), turns("3 + 3?", "6")]
    made = remade(rows, new, "correct")  # type: ignore[arg-type]
    assert made.schema == rows.schema
    assert made["row_id"].to_list() == [made_id("a", "correct"), made_id("b", "correct")]
    assert made["row_id"].n_unique() == 2
    assert made["messages"].to_list() == new
    assert made["content_hash"].to_list() == [content_hash(m) for m in new]  # type: ignore[arg-type]
    told = made.select("source", "origin", "meta", "parents", "method", "hop").rows()
    assert told == [
        ("web", "sums", '{"k": 1}', ["a"], "correct", 1), ("test", None, "{}", ["b"], "correct", 3)
    ]  # fmt: skip
    assert made_id("a", "mask") != made_id("a", "correct")


def test_no_rows_make_none() -> None:
    assert remade(frame([]), [], "correct").height == 0
