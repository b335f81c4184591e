"""IFD: both published ratios by hand, equal tokens with and without the prompt, and what comes last."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.store import Store
from curate.models.load import load_causal, load_tokenizer
from curate.selectors.ifd import PROMPT_IS_NO_HELP, TOO_SHORT, ifd_table
from tests.conftest import turns, write_tiny_model
from tests.selectors.lossruns import ModelRun, plain_row, ranked, scored

TEXTS: list[Any] = [
    turns("Say it: the answer is yes.", "the answer is yes."),
    turns("What is 7 times 8?", "7 times 8 is 56, as everyone knows."),
    turns("q", "ok"),
    turns("Übersetze: good morning", "Guten Morgen, wie geht es? 😀"),
    turns("Hi", "Hello.", "And now?", "Now it is 42 o'clock."),
    [{"role": "system", "content": "Be brief."}, *turns("Why?", "So that it is brief.")],
]


def plain_ifd(folder: Path, texts: list[Any], form: str) -> list[tuple[float, int]]:
    """Return the IFD and response tokens of rows by two plain passes over each."""
    model, tokenizer = load_causal(folder, "float32").eval(), load_tokenizer(folder)
    ratios = []
    for messages in texts:
        row = plain_row(model, tokenizer, messages)
        assert row["response_tokens"] == row["alone_tokens"]
        given = row["response_sum"] / row["response_tokens"]
        alone = row["alone_sum"] / row["alone_tokens"]
        value = given / alone if form == "loss" else math.exp(given) / math.exp(alone)
        ratios.append((value, int(row["response_tokens"])))
    return ratios


@pytest.mark.parametrize("form", ["loss", "perplexity"])
def test_scores_are_the_published_ratios_by_plain_passes(
    store: Store, tiny: Path, form: str
) -> None:
    kept = [0, 1, 2, 3, 5]
    run = ModelRun(store, folder=tiny, texts=TEXTS, kept_positions=kept)
    table = scored(run, "ifd", form=form)
    plain = plain_ifd(tiny, [TEXTS[i] for i in kept], form)
    np.testing.assert_allclose(table[f"ifd_{form}"], [value for value, _ in plain], rtol=1e-4)
    assert table["row_id"].to_list() == [f"r{i:03}" for i in kept]
    for line, (value, tokens) in zip(table.iter_rows(named=True), plain, strict=True):
        if tokens < 10:
            assert (line["score"], line["reason"]) == (None, TOO_SHORT)
        elif value >= 1:
            assert (line["score"], line["reason"]) == (None, PROMPT_IS_NO_HELP)
        else:
            assert line["score"] == pytest.approx(value, rel=1e-4)
            assert line["reason"] is None


def test_ifd_is_1_where_there_is_no_prompt(store: Store, tiny: Path) -> None:
    texts = [[{"role": "assistant", "content": "Once upon a time there was"}], TEXTS[1]]
    table = scored(ModelRun(store, folder=tiny, texts=texts), "ifd")
    assert table["ifd_loss"][0] == pytest.approx(1, abs=1e-6)
    assert table["ifd_perplexity"][0] == pytest.approx(1, abs=1e-6)


def test_a_response_that_stands_in_its_prompt_is_read_where_it_is_said(
    store: Store, tiny: Path
) -> None:
    """The published code looks for the text, and so may start in the prompt."""
    [(value, tokens)] = plain_ifd(tiny, TEXTS[:1], "loss")
    table = scored(ModelRun(store, folder=tiny, texts=TEXTS[:1]), "ifd")
    assert table["ifd_loss"][0] == pytest.approx(value, rel=1e-4)
    assert table["response_tokens"].to_list() == [tokens] == [len("the answer is yes.") + 1]


VALUES = st.lists(
    st.tuples(st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.5, 1.0, 2.0, 4.0]),
              st.sampled_from([0, 9, 10, 50])),
    min_size=1, max_size=25,
)  # fmt: skip


def table_of(values: list[tuple[float, float, int]]) -> pl.DataFrame:
    ids = pl.Series([f"r{(7 * i) % 31:02}" for i in range(len(values))])
    given, alone = (
        pl.Series([row[k] if row[2] else None for row in values], dtype=pl.Float64) for k in (0, 1)
    )
    return ifd_table(ids, given, alone, pl.Series([row[2] for row in values]))


@pytest.mark.parametrize("form", ["loss", "perplexity"])
@given(values=VALUES, seed=st.integers(0, 9))
def test_high_ratios_below_1_come_first_then_the_rest_then_short_rows(
    form: str, values: list[tuple[float, float, int]], seed: int
) -> None:
    table = table_of(values)
    good, short, bad = [], [], []
    for (prompted, alone, tokens), row_id in zip(values, table["row_id"], strict=True):
        value = prompted / alone if form == "loss" else math.exp(prompted) / math.exp(alone)
        if tokens < 10:
            short.append((0.0, row_id))
        elif value >= 1:
            bad.append((round(value, 9), row_id))
        else:
            good.append((-round(value, 9), row_id))
    expected = [i for part in (good, bad, short) for _, i in sorted(part)]
    assert ranked(table, "ifd", form=form) == expected
    mixed = np.random.default_rng(seed).permutation(len(values))
    assert ranked(table[mixed], "ifd", form=form) == expected


def test_the_two_forms_rank_differently() -> None:
    """0.1 against 0.2 nats: half the loss, yet nearly the same perplexity."""
    table = table_of([(0.1, 0.2, 20), (3.0, 4.0, 20)])
    assert ranked(table, "ifd", form="loss") == ["r07", "r00"]
    assert ranked(table, "ifd", form="perplexity") == ["r00", "r07"]


def test_the_least_number_of_tokens_is_a_setting() -> None:
    table = table_of([(0.5, 1.0, 9), (0.5, 2.0, 10)])
    assert ranked(table, "ifd") == ["r07", "r00"]
    assert ranked(table, "ifd", min_tokens=9) == ["r00", "r07"]
    assert ranked(table, "ifd", min_tokens=11) == ["r00", "r07"]


def test_a_response_beyond_the_limit_is_too_short(store: Store, tiny: Path) -> None:
    run = ModelRun(store, folder=tiny, texts=[turns("why? " * 20, "so " * 20), *TEXTS[:2]])
    table = scored(run, "ifd", max_length=100)
    assert table["response_tokens"][0] == 0
    assert table.select("score", "reason", "ifd_loss").row(0) == (None, TOO_SHORT, None)
    assert ranked(table, "ifd").index("r000") >= 1


def test_form_and_threshold_need_no_model_and_losses_are_shared(store: Store, tiny: Path) -> None:
    run = ModelRun(store, folder=tiny, texts=TEXTS)
    scored(run, "ifd")
    scored(run, "ifd", form="perplexity", min_tokens=3, budget={"rows": 4})
    assert run.executed_steps == ["losses", "losses-alone", "score-ifd", "score-ifd"]
    scored(run, "perplexity", of="response")
    assert run.executed_steps[4:] == ["score-perplexity"]


def test_another_model_may_score(store: Store, tiny: Path, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other", seed=3)
    run = ModelRun(store, folder=tiny, texts=TEXTS)
    table = scored(run, "ifd", model=str(other))
    expected = [value for value, _ in plain_ifd(other, TEXTS, "loss")]
    np.testing.assert_allclose(table["ifd_loss"], expected, rtol=1e-4)
    assert not np.allclose(scored(run, "ifd")["ifd_loss"], expected, rtol=1e-3)


def test_batches_change_no_score(store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = scored(ModelRun(store, folder=tiny, texts=TEXTS), "ifd")
    monkeypatch.setattr("curate.models.lm.BATCH_TOKENS", 1)
    again = scored(ModelRun(store, folder=tiny, texts=TEXTS), "ifd")
    np.testing.assert_allclose(again["ifd_loss"], expected["ifd_loss"], rtol=1e-4)


@pytest.mark.model
def test_the_real_model_tells_swapped_responses_by_their_ifd(store: Store, smollm: Path) -> None:
    """A prompt that belongs to another response helps less."""
    pairs = [
        ("What is the capital of France?", "The capital of France is Paris, on the river Seine."),
        ("How do I boil an egg?", "Put the egg in boiling water and take it out after six minutes."),
        ("Who wrote Romeo and Juliet?", "William Shakespeare wrote the play about the two of them."),
    ]  # fmt: skip
    swapped = [(pairs[i][0], pairs[(i + 1) % 3][1]) for i in range(3)]
    run = ModelRun(store, folder=smollm, texts=[turns(*pair) for pair in [*pairs, *swapped]])
    ratios = scored(run, "ifd")["ifd_loss"].to_list()
    own = {pair[1]: value for pair, value in zip(pairs, ratios[:3], strict=True)}
    assert all(own[pair[1]] < value for pair, value in zip(swapped, ratios[3:], strict=True))
    assert max(ratios[:3]) < 1
