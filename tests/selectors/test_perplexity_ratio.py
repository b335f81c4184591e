"""Perplexity ratio: the difference of two plain passes, and target-like rows found in a mixed pool."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.core.store import Store
from curate.models.chat import build_example
from curate.models.load import load_causal, load_tokenizer
from curate.models.lora_values import ALPHA, BATCH_ROWS, RANK
from curate.models.training import train_lora
from curate.selectors import perplexity_ratio
from curate.selectors.gain import NOTHING_READ
from curate.selectors.perplexity_ratio import SEED
from tests.conftest import turns
from tests.selectors.lossruns import ModelRun, plain_row, ranked, scored

LONG = 2_048
# The tiny model is random, so it takes a longer tuning than a real one to learn anything.
TUNING = {"epochs": 12, "learning_rate": 2e-2}


def vowels(rng: random.Random) -> Any:
    """Return a row whose response is made of vowels."""
    word = "".join(rng.choice("aeiou") for _ in range(12))
    return turns(f"vowels {rng.randrange(99)}", word)


def digits(rng: random.Random) -> Any:
    """Return a row whose response is made of digits."""
    return turns(
        f"digits {rng.randrange(99)}", "".join(rng.choice("0123456789") for _ in range(12))
    )


RNG = random.Random(0)
TARGETS = [vowels(RNG) for _ in range(10)]
PLANTED = {3, 17, 40, 58}
POOL = [vowels(RNG) if i in PLANTED else digits(RNG) for i in range(80)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store for tests that do not ask which steps did work."""
    return Store(tmp_path_factory.mktemp("ratio"))


def tuned_model(folder: Path, targets: list[Any], **settings: Any) -> Any:
    tokenizer, model = load_tokenizer(folder), load_causal(folder, "float32")
    examples = [build_example(tokenizer, messages, LONG) for messages in targets]
    lora: Any = {"rank": RANK, "alpha": ALPHA, "batch_rows": BATCH_ROWS, **settings}
    train_lora(model, examples, lora, SEED)
    return model


def test_scores_are_the_differences_of_two_plain_passes(shared: Store, tiny: Path) -> None:
    kept = [0, 3, 4, 17]
    run = ModelRun(shared, folder=tiny, texts=POOL[:20], kept_positions=kept, targets=TARGETS)
    table = scored(run, "perplexity_ratio", **TUNING)
    tokenizer, base = load_tokenizer(tiny), load_causal(tiny, "float32").eval()
    tuned = tuned_model(tiny, TARGETS, **TUNING)
    for line, place in zip(table.iter_rows(named=True), kept, strict=True):
        before, after = (plain_row(model, tokenizer, POOL[place]) for model in (base, tuned))
        count = before["response_tokens"]
        assert line["row_id"] == f"r{place:03}"
        assert line["base_loss"] == pytest.approx(before["response_sum"] / count, rel=1e-4)
        assert line["tuned_loss"] == pytest.approx(after["response_sum"] / count, rel=1e-4)
        expected = (before["response_sum"] - after["response_sum"]) / (count + 10)
        assert line["score"] == pytest.approx(expected, abs=1e-3)
        assert (line["response_tokens"], line["nearest_id"], line["reason"]) == (count, None, None)


def test_rows_of_the_targets_kind_come_first(shared: Store, tiny: Path) -> None:
    """5 % of the pool is of the target's kind: precision at that budget is 1."""
    run = ModelRun(shared, folder=tiny, texts=POOL, targets=TARGETS)
    table = scored(run, "perplexity_ratio", **TUNING)
    first = ranked(table, "perplexity_ratio")[: len(PLANTED)]
    assert set(first) == {f"r{i:03}" for i in PLANTED}


def test_the_base_is_tuned_once_for_every_pool_and_budget(store: Store, tiny: Path) -> None:
    settings: Any = {"epochs": 1}
    run = ModelRun(store, folder=tiny, texts=POOL[:4], targets=TARGETS)
    scored(run, "perplexity_ratio", **settings)
    scored(run, "perplexity_ratio", **settings, budget={"rows": 3})
    other = ModelRun(store, seed=7, folder=tiny, texts=POOL[:5], targets=TARGETS)
    scored(other, "perplexity_ratio", **settings)
    again = ModelRun(store, folder=tiny, texts=POOL[:4], targets=TARGETS[1:])
    scored(again, "perplexity_ratio", **settings)
    longer = ModelRun(store, folder=tiny, texts=POOL[:4], targets=TARGETS)
    scored(longer, "perplexity_ratio", epochs=2)
    name = "score-perplexity_ratio"
    assert run.executed_steps == ["tune-target", "losses", "losses", name]
    assert other.executed_steps == ["losses", "losses", name], "other rows, same tuning"
    assert again.executed_steps == ["tune-target", "losses", name], "the base's losses are there"
    assert longer.executed_steps == ["tune-target", "losses", name]


def once_tuned(store: Store, tiny: Path) -> pl.DataFrame:
    run = ModelRun(store, folder=tiny, texts=POOL[:9], targets=TARGETS)
    return scored(run, "perplexity_ratio", epochs=1)


def test_the_same_settings_give_the_same_bytes(shared: Store, store: Store, tiny: Path) -> None:
    assert once_tuned(store, tiny).equals(once_tuned(shared, tiny))


@pytest.mark.parametrize("limit", [1, 10_000])
def test_batches_change_no_score(
    shared: Store, store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    expected = once_tuned(shared, tiny)
    monkeypatch.setattr("curate.models.lm.BATCH_TOKENS", limit)
    np.testing.assert_allclose(once_tuned(store, tiny)["score"], expected["score"], atol=1e-4)


def test_a_row_whose_response_is_cut_off_comes_last_with_a_reason(store: Store, tiny: Path) -> None:
    texts = [turns("why? " * 40, "aeiou"), *POOL[:3]]
    run = ModelRun(store, folder=tiny, texts=texts, targets=TARGETS)
    table = scored(run, "perplexity_ratio", epochs=1, max_length=100)
    assert table.select("score", "reason").row(0) == (None, NOTHING_READ)
    assert table["score"][1:].null_count() == 0
    assert ranked(table, "perplexity_ratio")[-1] == "r000"


# Base and tuned loss and response tokens; a row without tokens was not read.
VALUES = st.lists(
    st.tuples(st.sampled_from([1.0, 2.0, 4.0]), st.sampled_from([1.0, 2.0, 3.0]),
              st.sampled_from([0, 2, 10, 90])),
    min_size=1, max_size=20,
)  # fmt: skip


def table_of(values: list[tuple[float, float, int]]) -> pl.DataFrame:
    losses = {
        name: pl.Series([row[k] if row[2] else None for row in values], dtype=pl.Float64)
        for k, name in enumerate(("base_loss", "tuned_loss"))
    }
    ids = [f"r{(7 * i) % 31:02}" for i in range(len(values))]
    return pl.DataFrame({"row_id": ids, **losses, "response_tokens": [row[2] for row in values]})


@pytest.mark.parametrize("prior", [0, 10])
@given(values=VALUES, seed=st.integers(0, 9))
def test_rows_are_sorted_by_shrunk_gain_then_id_in_any_order_of_the_pool(
    prior: int, values: list[tuple[float, float, int]], seed: int
) -> None:
    table = table_of(values)
    keys = [
        (count == 0, -round((base - tuned) * count / (count + prior), 9) if count else 0, row_id)
        for (base, tuned, count), row_id in zip(values, table["row_id"], strict=True)
    ]
    expected = [row_id for *_, row_id in sorted(keys)]
    assert ranked(table, "perplexity_ratio", prior_tokens=prior) == expected
    mixed = np.random.default_rng(seed).permutation(len(values))
    assert ranked(table[mixed], "perplexity_ratio", prior_tokens=prior) == expected


def test_a_short_response_needs_a_larger_gain() -> None:
    table = table_of([(4.0, 1.0, 2), (4.0, 3.0, 90)])
    assert ranked(table, "perplexity_ratio") == ["r07", "r00"]
    assert ranked(table, "perplexity_ratio", prior_tokens=0) == ["r00", "r07"]


def test_without_a_response_to_learn_from_it_is_a_user_error(store: Store, tiny: Path) -> None:
    targets = [turns("why? " * 40, "aeiou")]
    run = ModelRun(store, folder=tiny, texts=POOL[:2], targets=targets)
    with pytest.raises(UserError, match="no target example has a response within 50 tokens"):
        scored(run, "perplexity_ratio", max_length=50)


def test_a_tuning_that_diverges_names_the_setting(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: Any) -> None:
        raise FloatingPointError("the loss of step 2 is not finite; lower prove.lora.learning_rate")

    monkeypatch.setattr("curate.models.finetune.train_lora", diverge)
    run = ModelRun(store, folder=tiny, texts=POOL[:2], targets=TARGETS)
    with pytest.raises(UserError, match=r"diverged; lower select\.learning_rate \(now 0\.0005\)"):
        scored(run, "perplexity_ratio")


def test_without_target_examples_there_is_nothing_to_tune_on(store: Store, tiny: Path) -> None:
    with pytest.raises(UserError, match="needs target examples"):
        scored(ModelRun(store, folder=tiny, texts=POOL[:2]), "perplexity_ratio")
    assert perplexity_ratio.SEED == (0,)


@pytest.mark.model
def test_the_real_model_finds_rows_of_the_targets_form(store: Store, smollm: Path) -> None:
    rng = random.Random(1)
    people, goods = ["Ann", "Bo", "Cy", "Di", "Ed", "Flo"], ["nuts", "pens", "eggs", "hats"]

    def sale(form: bool) -> Any:
        who, count, what = rng.choice(people), rng.randrange(2, 90), rng.choice(goods)
        prompt = f"{who} buys {count} {what}."
        return turns(prompt, f"buyer={who}; goods={what}; count={count}" if form else
                     f"So {who} now has {count} more {what}.")  # fmt: skip

    targets = [sale(form=True) for _ in range(3)]
    pool = [sale(form=i % 6 == 3) for i in range(12)]
    run = ModelRun(store, folder=smollm, texts=pool, targets=targets, dtype="bfloat16")
    table = scored(run, "perplexity_ratio")
    first = ranked(table, "perplexity_ratio")[:2]
    assert set(first) == {"r003", "r009"}
