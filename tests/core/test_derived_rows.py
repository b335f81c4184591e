"""Rows that a stage makes: lineage, ids, and what they keep of their parents."""

from __future__ import annotations

from curate.core.derived_rows import derive_rows, derived_id
from curate.core.rows import content_hash
from curate.core.turntext import conversations
from tests.conftest import frame, row, turns


def test_a_made_row_names_its_parent_and_keeps_its_source() -> None:
    rows = frame(
        [
            row("a", turns("2 + 2?", "5"), source="web", origin="sums", meta='{"k": 1}'),
            row("b", turns("3 + 3?", "7"), hop=2),
        ]
    )
    new = [turns("2 + 2?", "4"), turns("3 + 3?", "6")]
    new_rows = derive_rows(rows, new, "correct")
    assert new_rows.schema == rows.schema
    assert new_rows["row_id"].to_list() == [derived_id("a", "correct"), derived_id("b", "correct")]
    assert new_rows["row_id"].n_unique() == 2
    assert conversations(new_rows) == new
    assert new_rows["content_hash"].to_list() == [content_hash(m) for m in new]
    lineage = new_rows.select("source", "origin", "meta", "parents", "method", "hop").rows()
    assert lineage == [
        ("web", "sums", '{"k": 1}', ["a"], "correct", 1), ("test", None, "{}", ["b"], "correct", 3)
    ]  # fmt: skip
    assert derived_id("a", "mask") != derived_id("a", "correct")


def test_a_pair_stays_one() -> None:
    worse = turns("", "5")[1:]
    rows = frame([row("a", turns("2 + 2?", "4!"), rejected=worse), row("b", turns("c", "d"))])
    new_rows = derive_rows(rows, [turns("2 + 2?", "4"), turns("c", "e")], "manual")
    assert new_rows["rejected"].equals(rows["rejected"], null_equal=True)
    assert new_rows["rejected"].is_null().to_list() == [False, True]


def test_no_rows_make_none() -> None:
    assert derive_rows(frame([]), [], "correct").height == 0
