"""Groups by what rows are and by what stages say of them, in the four selectors that mix groups."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import polars as pl
import pytest

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.store import Store
from curate.selectors.groups import read_groups
from tests.conftest import row, stored_table, turns
from tests.selectors.poolruns import PoolRun, make_run, ranked, scored

LANGUAGES = ["en", "en", "de", "en", None, "de"]


def language_run(store: Store) -> PoolRun:
    """Return a run whose stage `rules` has said a language of most rows."""
    rows = [
        row(
            f"r{i}",
            turns(f"question {i}", "answer"),
            source="web",
            meta=json.dumps({"topic": "ab"[i % 2]}),
        )
        for i in range(6)
    ]
    run = make_run(store, rows)
    table = pl.DataFrame({"row_id": [f"r{i}" for i in range(6)], "language": LANGUAGES})
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    run.evidence = {"rules": stored_table(store, "evidence", shuffled)}
    return run


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("source", ["web"] * 6),
        ("origin", ["web"] * 6),
        ("meta.topic", ["a", "b"] * 3),
        ("rules.language", ["en", "en", "de", "en", "none", "de"]),
    ],
)
def test_groups_come_in_pool_order(store: Store, by: str, groups: list[str]) -> None:
    run = language_run(store)
    evidence: Table | None = run.evidence["rules"] if by.startswith("rules") else None
    table = read_groups(run.rows, run.kept, by, evidence)
    assert table["row_id"].to_list() == [f"r{i}" for i in range(6)]
    assert table["group"].to_list() == groups


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("mixture", {"by": "rules.language"}),
        ("smart", {"by": "rules.language", "penalty": 0}),
        ("gme", {"attributes": ["rules.language"]}),
        ("clusters", {"by": "rules.language"}),
    ],
)
def test_languages_are_mixed(store: Store, method: str, settings: dict[str, Any]) -> None:
    table = scored(language_run(store), method, **settings)
    languages = dict(zip([f"r{i}" for i in range(6)], LANGUAGES, strict=True))
    first = [languages[row_id] for row_id in ranked(table, method, **settings)[:3]]
    assert set(first) == {"en", "de", None}


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("fuzzy.score", "no stage 'fuzzy' before the selection; there are: rules"),
        ("rules.tongue", "evidence of 'rules' has no column 'tongue'; there are: row_id, language"),
        ("meta.colour", "no kept row has a value of meta.colour"),
    ],
)
def test_what_is_not_there_is_named(store: Store, by: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scored(language_run(store), "mixture", by=by)


def test_a_plan_by_other_groups_needs_another_run(store: Store) -> None:
    table = scored(language_run(store), "mixture")
    assert Counter(ranked(table, "mixture", by="origin"))
    with pytest.raises(UserError, match=r"groups by meta.topic are not stored; run the recipe"):
        ranked(table, "mixture", by="meta.topic")
