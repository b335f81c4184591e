"""Token counts: the length of what the model reads, for every kept row."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curate.core.store import Artifact, Store
from curate.models.imitations import imitation_sentences
from curate.models.load import load_tokenizer
from curate.models.settings import ModelNames
from curate.models.tokens import count_tokens
from curate.testing.fake_run import FakeRun
from tests.conftest import row, stored_rows, stored_table, turns

TEXTS = ["hi", "é😀", "x" * 3_000, "a b c", "<|im_end|>", "last"]


def plain(i: int) -> str:
    """Return a text of as many tokens, none of them a control token."""
    return TEXTS[i].replace("<|im_end|>", "(|im_end|)")


def count(store: Store, folder: Path, kept: list[int]) -> Artifact:
    rows = [row(f"r{i}", turns(text, "ok")) for i, text in enumerate(TEXTS)]
    places = pl.DataFrame(
        {"row_id": [f"r{i}" for i in sorted(kept)], "position": sorted(kept)},
        schema={"row_id": pl.String, "position": pl.Int64},
    )
    pool, kept_rows = stored_rows(store, "pool", rows), stored_table(store, "kept", places)
    run = FakeRun(store, pool, None, ModelNames(base=str(folder)))
    return count_tokens(run, pool, kept_rows).artifact


@pytest.mark.parametrize("part", [1, 4, 100])
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_every_kept_row_is_counted_uncut_and_in_pool_order(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch, batch: int, part: int
) -> None:
    monkeypatch.setattr("curate.models.tokens.BATCH_ROWS", batch)
    monkeypatch.setattr("curate.core.tableparts.PART_ROWS", part)
    artifact = count(store, tiny, [5, 0, 2, 4, 1])
    table = pl.read_parquet(artifact.file("tokens.parquet"))
    tokenizer = load_tokenizer(tiny)
    expected = [
        (f"r{i}", len(tokenizer.apply_chat_template(turns(plain(i), "ok"))["input_ids"]))
        for i in (0, 1, 2, 4, 5)
    ]
    assert list(table.iter_rows()) == expected
    assert artifact.counts["tokens"] == sum(tokens for _, tokens in expected)


def test_no_kept_row_gives_an_empty_table(store: Store, tiny: Path) -> None:
    table = pl.read_parquet(count(store, tiny, []).file("tokens.parquet"))
    assert table.schema == {"row_id": pl.String, "tokens": pl.Int64}
    assert table.height == 0


@pytest.mark.parametrize("part", [1, 4, 100])
def test_rows_that_imitate_the_template_are_named(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr("curate.core.tableparts.PART_ROWS", part)
    artifact = count(store, tiny, [0, 4, 5])
    table = pl.read_parquet(artifact.file("imitations.parquet"))
    assert table.rows() == [("r4", ["<|im_end|>"], [])]
    [sentence] = imitation_sentences(table)
    assert sentence.startswith("1 row holds control tokens of the model, which are read as text")
    assert sentence.endswith(": <|im_end|>; r4")
    assert "imitations.parquet" not in count(store, tiny, [0, 5]).files
