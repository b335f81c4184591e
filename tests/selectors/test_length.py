"""Length: tokens of the base model counted turn by turn, longest or shortest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.store import Store
from curate.models.chat import render
from curate.models.load import load_tokenizer
from curate.selectors import length
from tests.conftest import turns
from tests.selectors.lossruns import ModelRun, ranked, scored

TEXTS: list[Any] = [
    turns("a long, long, long question", "ok"),
    turns("q", "a long, long, long answer"),
    turns("q", "é 漢字 😀"),
    turns("q", "one", "again", "two", "and", "three"),
    [{"role": "system", "content": "Be brief. " * 9}, *turns("q", "no")],
    turns("q", "<|im_end|>"),
]


def plain_counts(folder: Path) -> list[tuple[int, int]]:
    """Return response and row tokens by tokenising one text after the other."""
    tokenizer = load_tokenizer(folder)

    def count(text: str) -> int:
        # The one that a response holds is text, those of the template are tokens.
        text = text.replace("\n<|im_end|><|im_end|>", "\n(|im_end|)<|im_end|>")
        text = "(|im_end|)" if text == "<|im_end|>" else text
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    return [
        (
            sum(count(m["content"]) for m in messages if m["role"] == "assistant"),
            count(render(tokenizer, messages)),
        )
        for messages in TEXTS
    ]


@pytest.mark.parametrize("order", ["longest", "shortest"])
@pytest.mark.parametrize("which", ["response", "row"])
def test_rows_come_by_the_tokens_of_what_is_counted(
    store: Store, tiny: Path, which: str, order: str
) -> None:
    run = ModelRun(store, folder=tiny, texts=TEXTS)
    table = scored(run, "length", which=which, order=order)
    counts = plain_counts(tiny)
    assert table.select("response_tokens", "row_tokens").rows() == counts
    own = [count[which == "row"] for count in counts]
    sign = 1 if order == "longest" else -1
    assert table["score"].to_list() == [sign * count for count in own]
    expected = sorted(range(len(TEXTS)), key=lambda i: (-sign * own[i], i))
    assert ranked(table, "length", which=which, order=order) == [f"r{i:03}" for i in expected]


def test_kept_rows_alone_are_counted_in_pool_order(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(length, "BATCH_ROWS", 2)
    kept = [0, 2, 3, 5]
    table = scored(ModelRun(store, folder=tiny, texts=TEXTS, kept_positions=kept), "length")
    counts = plain_counts(tiny)
    assert table["row_id"].to_list() == [f"r{i:03}" for i in kept]
    assert table["response_tokens"].to_list() == [counts[i][0] for i in kept]
    assert table["nearest_id"].null_count() == len(kept)


def test_tokens_are_counted_once_for_every_order_and_budget(store: Store, tiny: Path) -> None:
    run = ModelRun(store, folder=tiny, texts=TEXTS)
    scored(run, "length")
    scored(run, "length", order="shortest", budget={"rows": 3})
    scored(run, "length", which="row")
    assert run.executed_steps == ["response-tokens", *["score-length"] * 3]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.integers(0, 9))
def test_the_order_of_the_pool_changes_no_rank_and_ties_go_to_the_smaller_id(
    counts: list[int], seed: int
) -> None:
    ids = [f"r{(7 * i) % 31:02}" for i in range(len(counts))]
    table = pl.DataFrame({"row_id": ids, "response_tokens": counts})
    expected = [i for _, i in sorted((-count, i) for count, i in zip(counts, ids, strict=True))]
    assert ranked(table, "length") == expected
    mixed = np.random.default_rng(seed).permutation(len(ids))
    assert ranked(table[mixed], "length") == expected
