"""Texts in a file that no folder names: those of the rows, in their order, or a reason why not."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curate.core.errors import UserError
from curate.runs.folder import open_run
from curate.runs.rowquery import row_texts
from curate.view.rowtexts import PendingTexts, RowTexts


def texts_of(view_run: Path) -> RowTexts:
    run = open_run(view_run)
    return RowTexts(run, run.table("ledger").select("row_id").collect()["row_id"])


def test_the_texts_are_those_of_the_pool_and_leave_no_file(view_run: Path) -> None:
    before = sorted(view_run.iterdir())
    texts = texts_of(view_run)
    expected = row_texts(open_run(view_run)).collect()
    assert texts.column("prompt", patient=True).to_list() == expected["prompt"].to_list()
    assert texts.column("response").to_list() == expected["response"].to_list()
    assert (texts.done, texts.share) == (True, 1.0)
    assert sorted(view_run.iterdir()) == before


def test_who_asks_too_early_is_to_come_again(
    view_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.view.rowtexts.PATIENCE_SECONDS", 0.01)
    texts = texts_of(view_run)
    texts._started = True
    with pytest.raises(PendingTexts, match="still being read"):
        texts.column("prompt")


def test_rows_of_another_pool_are_refused(view_run: Path) -> None:
    run = open_run(view_run)
    ids = run.table("ledger").select("row_id").collect()["row_id"]
    with pytest.raises(UserError, match="are not those of the ledger"):
        RowTexts(run, ids.reverse()).column("prompt", patient=True)


def test_no_rows_have_no_texts(view_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.view.rowtexts.read_batches", lambda *arguments: [])
    texts = RowTexts(open_run(view_run), pl.Series([], dtype=pl.String))
    assert texts.column("prompt", patient=True).to_list() == []
