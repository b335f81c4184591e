"""Rows in memory: columns of evidence on the rows that they are about, texts of few kinds as numbers."""

from __future__ import annotations

import polars as pl

from curate.runs.folder import open_run
from curate.view.context import ViewContext


def test_a_column_of_evidence_is_on_its_rows(view_context: ViewContext) -> None:
    run = open_run(view_context.run.path)
    for name in ("fuzzy.score", "rules.reason", "select.nearest_id", "leaks.keep"):
        table, column = name.split(".")
        evidence = run.table(f"evidence/{table}").select("row_id", column).collect()
        expected = dict(evidence.iter_rows())
        values = view_context.rows.frame(["row_id", name])
        assert {k: v for k, v in values.iter_rows() if v is not None} == {
            k: v for k, v in expected.items() if v is not None
        }
        assert values[name].dtype == evidence[column].dtype


def test_the_schema_names_what_a_column_can_be(view_context: ViewContext) -> None:
    table = view_context.rows
    assert {"fate", "fuzzy.score", "rules.copied", "prompt"} <= set(table.schema)
    for name in table.schema:
        assert len(table.column(name)) == table.height
    assert table.ledger["fate"].dtype == pl.Enum(["dropped", "not_selected", "selected"])


def test_what_the_evidence_says_of_one_row(view_context: ViewContext) -> None:
    table = view_context.rows
    position = table.ledger["stage"].eq("fuzzy").arg_true()[0]
    evidence = table.evidence_of(position)
    assert set(evidence) == {"exact", "fuzzy"}
    assert evidence["fuzzy"]["reason"] == "fuzzy_duplicate"
    assert table.position(table.ledger["row_id"][position]) == position
    assert table.position("nothing") is None
