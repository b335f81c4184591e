"""The export: what a trainer reads is the selection, row for row."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from curate.config import Config
from curate.pool.export import export_step, write_card, write_format
from curate.store import Store
from tests.conftest import frame, row, stored, turns

HOSTILE = 'x | y\n# <img src=x onerror="alert(1)">'
ROWS = frame(
    [
        row("b", turns("a\u2028b", "c\n"), origin="sums", meta='{"id": 1}'),
        row("a", turns("é 😀", "\x00 tab\t", "d", "e"), origin=HOSTILE),
        row("c", turns("</script>", "--- y")),
    ]
)
COLUMNS = ["row_id", "messages", "source", "origin", "meta"]


def config(**changes: object) -> Config:
    base = {"name": "demo", "pool": "x", "select": {"method": "random", "budget": {"rows": 3}}}
    return Config.model_validate(base | changes)


def test_both_files_hold_the_rows_in_their_order(tmp_path: Path) -> None:
    jsonl, parquet = write_format(ROWS, "messages", tmp_path)
    expected = ROWS.select(COLUMNS).to_dicts()
    lines = jsonl.read_text(encoding="utf-8").split("\n")
    assert [json.loads(text) for text in lines[:-1]] == expected
    assert lines[-1] == ""
    assert pl.read_parquet(parquet).to_dicts() == expected


def test_an_unknown_export_format_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown format 'csv'; known: messages"):
        write_format(ROWS, "csv", tmp_path)


def test_datasets_reads_the_export_by_its_card(store: Store, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    selection = stored(store, "select", {"selected": ROWS})
    made = store.ensure(export_step(selection, config()))
    read = datasets.load_dataset(str(made.path), cache_dir=str(tmp_path / "cache"))
    assert list(read) == ["train"]
    assert read["train"].to_list() == ROWS.select(COLUMNS).to_dicts()


def test_the_card_counts_origins_and_escapes_upstream_text(store: Store) -> None:
    params = export_step(stored(store, "select", {"selected": ROWS}), config()).params
    card = write_card(ROWS, params)
    head = yaml.safe_load(card.split("---")[1])
    assert head["size_categories"] == ["n<1K"]
    table = [text for text in card.splitlines() if text.startswith("|")][2:]
    assert sum(int(text.split("|")[2]) for text in table) == ROWS.height
    assert all(text.count("|") == 3 for text in table)
    assert "<img" not in card


def test_the_card_names_the_budget_that_was_given(store: Store) -> None:
    selection = stored(store, "select", {"selected": ROWS})
    for budget, told in (({"fraction": 0.5}, "0.5 fraction"), ({"tokens": 9}, "9 tokens")):
        changed = config(select={"method": "random", "budget": budget})
        assert told in write_card(ROWS, export_step(selection, changed).params)


def test_the_export_changes_with_the_selection_and_what_the_card_says(store: Store) -> None:
    one = stored(store, "select", {"selected": ROWS})
    two = stored(store, "select", {"selected": ROWS.head(2)})
    keys = {
        export_step(one, config()).key,
        export_step(two, config()).key,
        export_step(one, config(name="other")).key,
        export_step(one, config(seed=1)).key,
    }
    assert len(keys) == 4
    assert export_step(one, config(store="elsewhere")).key in keys
