"""Perplexity: plain losses in order, the middle at any budget, and the published slice."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.core.store import Store
from curate.models.load import load_causal, load_tokenizer
from curate.selectors.perplexity import NOTHING_READ
from tests.conftest import turns
from tests.selectors.lossruns import ModelRun, plain_row, ranked, scored

TEXTS: list[Any] = [
    turns(f"{'very ' * i}long question?", f"answer {'ha' * (5 - i)}") for i in range(6)
]

# Few distinct values, so that ties are common; None is a row that could not be read.
LOSSES = st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, None]), min_size=1, max_size=25)


def table_of(losses: list[float | None]) -> pl.DataFrame:
    ids = [f"r{(7 * i) % 31:02}" for i in range(len(losses))]
    schema = {"row_id": pl.String, "all_loss": pl.Float64}
    return pl.DataFrame({"row_id": ids, "all_loss": losses}, schema=schema)


def read_rows(table: pl.DataFrame) -> list[tuple[float, str]]:
    """Return minus loss and id of rows with a loss, the highest loss first."""
    return sorted((-loss, i) for i, loss in table.select("row_id", "all_loss").rows() if loss)


def unread_rows(table: pl.DataFrame) -> list[str]:
    return sorted(table.filter(pl.col("all_loss").is_null())["row_id"])


@given(LOSSES)
def test_high_and_low_sort_by_loss_then_id_and_end_with_unread_rows(
    losses: list[float | None],
) -> None:
    table = table_of(losses)
    high = [i for _, i in read_rows(table)]
    low = [i for _, i in sorted((-loss, i) for loss, i in read_rows(table))]
    assert ranked(table, "perplexity", prefer="high") == high + unread_rows(table)
    assert ranked(table, "perplexity", prefer="low") == low + unread_rows(table)


@given(LOSSES)
def test_mid_takes_the_rows_whose_rank_is_nearest_to_the_medians(
    losses: list[float | None],
) -> None:
    table = table_of(losses)
    read = [i for _, i in read_rows(table)]
    away = {i: abs(place - (len(read) - 1) / 2) for place, i in enumerate(read)}
    expected = sorted(read, key=lambda i: (away[i], i))
    assert ranked(table, "perplexity") == expected + unread_rows(table)
    for budget in range(1, len(read) + 1):
        places = sorted(read.index(i) for i in expected[:budget])
        assert places == list(range(places[0], places[0] + budget)), "a run of ranks"
        assert abs(places[0] + places[-1] - (len(read) - 1)) <= 1, "around the median"


@given(LOSSES)
def test_the_reference_middle_is_the_published_slice_at_every_budget(
    losses: list[float | None],
) -> None:
    table = table_of(losses)
    read = [i for _, i in read_rows(table)]
    start = int(len(read) * 0.33)
    order = ranked(table, "perplexity", mid="reference")
    for budget in range(1, len(read) - start + 1):
        assert order[:budget] == read[start : start + budget]
    assert order[len(read) - start :] == read[:start][::-1] + unread_rows(table)


def test_a_known_list_by_hand() -> None:
    table = table_of([5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 7.0])
    ids = {loss: i for i, loss in table.rows()}
    assert ranked(table, "perplexity")[:3] == [ids[4.0], *sorted([ids[3.0], ids[5.0]])]
    assert ranked(table, "perplexity", mid="reference")[:3] == [ids[5.0], ids[4.0], ids[3.0]]


@pytest.mark.parametrize("prefer", ["low", "mid", "high"])
@given(losses=LOSSES, seed=st.integers(0, 9))
def test_the_order_of_the_pool_changes_no_rank(
    prefer: str, losses: list[float | None], seed: int
) -> None:
    table = table_of(losses)
    mixed = np.random.default_rng(seed).permutation(len(losses))
    order = ranked(table, "perplexity", prefer=prefer)
    assert ranked(table[mixed], "perplexity", prefer=prefer) == order


# --- scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["all", "response"])
@pytest.mark.parametrize("prefer", ["low", "mid", "high"])
def test_scores_are_the_mean_losses_of_a_plain_pass(
    store: Store, tiny: Path, of: str, prefer: str
) -> None:
    run = ModelRun(store, folder=tiny, texts=TEXTS, kept_positions=[0, 1, 3, 4, 5])
    table = scored(run, "perplexity", of=of, prefer=prefer)
    model, tokenizer = load_causal(tiny, "float32").eval(), load_tokenizer(tiny)
    plain = [plain_row(model, tokenizer, TEXTS[i]) for i in (0, 1, 3, 4, 5)]
    means = [row[f"{of}_sum"] / row[f"{of}_tokens"] for row in plain]
    np.testing.assert_allclose(table[f"{of}_loss"], means, rtol=1e-4)
    assert table[f"{of}_tokens"].to_list() == [row[f"{of}_tokens"] for row in plain]
    assert table["reason"].null_count() == 5
    by_loss = sorted(range(5), key=lambda i: -means[i])
    scores = table["score"].to_numpy()
    if prefer == "mid":
        assert [round(5 * scores[i]) for i in by_loss] == [-2, -1, 0, -1, -2]
    else:
        np.testing.assert_allclose(
            scores, np.array(means) * (1 if prefer == "high" else -1), rtol=1e-4
        )


def test_a_row_whose_response_is_cut_off_comes_last_with_a_reason(store: Store, tiny: Path) -> None:
    texts = [turns("why? " * 20, "so"), *TEXTS]
    run = ModelRun(store, folder=tiny, texts=texts)
    settings = {"of": "response", "prefer": "high", "max_length": 80}
    table = scored(run, "perplexity", **settings)
    assert table["score"].is_null().to_list() == [True, *[False] * 6]
    assert table["reason"].to_list() == [NOTHING_READ, *[None] * 6]
    assert ranked(table, "perplexity", **settings)[-1] == "r000"


def test_another_preference_needs_no_model(store: Store, tiny: Path) -> None:
    run = ModelRun(store, folder=tiny, texts=TEXTS)
    table = scored(run, "perplexity")
    other = scored(run, "perplexity", prefer="high", budget={"fraction": 0.5})
    assert run.executed_steps == ["losses", "score-perplexity", "score-perplexity"]
    settings = {"of": "response", "prefer": "low"}
    expected = scored(run, "perplexity", **settings)
    assert ranked(table, "perplexity", **settings) == ranked(expected, "perplexity", **settings)
    high = {"prefer": "high"}
    assert ranked(table, "perplexity", **high) == ranked(other, "perplexity", **high)


def test_prompts_that_were_not_measured_cannot_be_ranked_by(store: Store, tiny: Path) -> None:
    table = scored(ModelRun(store, folder=tiny, texts=TEXTS), "perplexity", of="response")
    with pytest.raises(UserError, match=r"run the recipe with --set select\.of=all"):
        ranked(table, "perplexity", of="all")


@pytest.mark.model
def test_the_real_model_finds_noise_hard_and_repetition_easy(store: Store, smollm: Path) -> None:
    noise = "".join(chr(33 + (i * i * 7919) % 90) for i in range(60))
    texts = [
        turns("Count.", "one two " * 30),
        turns("What is rain?", "Rain is water that falls from clouds to the ground."),
        turns("What is rain?", noise),
    ]
    run = ModelRun(store, folder=smollm, texts=texts)
    table = scored(run, "perplexity", of="response", prefer="high")
    assert ranked(table, "perplexity", of="response", prefer="high")[0] == "r002"
    assert ranked(table, "perplexity", of="response", prefer="mid")[0] == "r001"
    assert math.exp(table["response_loss"][2]) > 5 * math.exp(table["response_loss"][1])
