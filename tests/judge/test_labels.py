"""Labels: rows by id or place, and one sentence for each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.errors import UserError
from curate.core.stageinputs import StageInputs
from curate.core.store import Store
from curate.judge.labels import label_survivors
from tests.conftest import StoreRun, row, stored_rows, turns

IDS = [f"web/a.jsonl:{i}" for i in range(1, 31)] + [f"two/{f}.jsonl:1" for f in "ab"]


def labelled(store: Store, lines: list[Any]) -> pl.DataFrame:
    rows = stored_rows(store, "pool", [row(i, turns("q", "a")) for i in IDS])
    path = store.root / "labels.jsonl"
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return label_survivors(StoreRun(store), StageInputs(rows), path).read()


def enough() -> list[Any]:
    return [{"row_id": name, "correct": i % 2 == 0} for i, name in enumerate(IDS[:24])]


def test_rows_are_found_by_id_and_by_place(store: Store) -> None:
    labels = labelled(
        store,
        [
            *enough()[::-1],
            "",
            {"source": "web", "position": 30, "correct": True, "note": "checked twice"},
            {"source": "two", "position": 1, "file": "b.jsonl", "correct": False},
            {"row_id": "gone/x.jsonl:1", "correct": True},
        ],
    )
    assert labels["row_id"].to_list() == [*IDS[:24], IDS[29], IDS[31]], "in pool order"
    assert labels["correct"].to_list()[-3:] == [False, True, False]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "labels.jsonl:25: no JSON"),
        ('["a"]', "labels.jsonl:25: `correct` must be true or false"),
        ({"row_id": IDS[0], "correct": 1}, "labels.jsonl:25: `correct` must be true or false"),
        ({"source": "web", "correct": True}, "labels.jsonl:25: name the row by row_id"),
        ({"source": "web", "position": True, "correct": True}, "25: name the row by row_id"),
        ({"source": "two", "position": 1, "correct": True}, "25: the source has several files"),
        ({"row_id": IDS[0], "correct": False}, "web/a.jsonl:1 is labelled both right and wrong"),
    ],
)
def test_a_faulty_line_is_named(store: Store, line: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        labelled(store, [*enough(), line])


def test_the_same_label_twice_counts_once(store: Store) -> None:
    assert labelled(store, [*enough(), *enough()]).height == 24


def test_too_few_labels_are_told(store: Store) -> None:
    lines = [{"row_id": name, "correct": True} for name in IDS]
    with pytest.raises(UserError, match="32 are labelled right and 0 wrong; at least 10 of each"):
        labelled(store, lines)


def test_a_missing_file_is_told(store: Store) -> None:
    rows = stored_rows(store, "pool", [row("r", turns("q", "a"))])
    with pytest.raises(UserError, match="labels cannot be read"):
        label_survivors(StoreRun(store), StageInputs(rows), Path("/nowhere/labels.jsonl"))


def test_weights_are_read_and_rows_without_one_weigh_as_rows_drawn_at_random(store: Store) -> None:
    weighted = {"row_id": "two/b.jsonl:1", "correct": True, "weight": 0.25}
    labels = labelled(store, [*enough(), weighted])
    assert labels["weight"].to_list() == [*[1.0] * 24, 0.25]
    assert "weight" not in labelled(store, enough()).columns


def test_a_row_that_waits_for_its_label_has_none(store: Store) -> None:
    waiting = {"row_id": "two/b.jsonl:1", "correct": None, "weight": 0.25}
    assert labelled(store, [*enough(), waiting]).height == 24


@pytest.mark.parametrize("weight", [0, -1, "heavy", True, 1e300])
def test_a_weight_that_is_none_is_named(store: Store, weight: Any) -> None:
    line = {"row_id": "two/b.jsonl:1", "correct": True, "weight": weight}
    with pytest.raises(UserError, match=r"labels\.jsonl:25: `weight` must be a number above 0"):
        labelled(store, [*enough(), line])
