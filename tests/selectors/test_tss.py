"""TSS: log-likelihoods behind own and other prompts by plain passes, and what is an alternative."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.core.store import Store
from curate.models.load import load_causal, load_tokenizer
from curate.selectors.gain import NOTHING_READ
from curate.selectors.tss import NO_ALTERNATIVE, with_specificity
from tests.conftest import turns
from tests.selectors.lossruns import ModelRun, plain_row, ranked, scored

SETTINGS: Any = {"max_length": 200, "embedder": "static"}
TEXTS: list[Any] = [
    turns("Name the capital of France.", "It is Paris."),
    turns("Name the longest river of Spain.", "It is the Tagus."),
    turns("Write a poem about the sea at night.", "The sea, the dark, the moon."),
    [{"role": "system", "content": "Be brief."}, *turns("Name the capital of Peru.", "Lima.")],
    [{"role": "system", "content": "Be kind."}, *turns("The best cheese?", "Brie!", "Why?", "So.")],
]


def swapped(own: Any, other: Any) -> Any:
    """Return a row behind the opening of another, both without a response before the first."""
    starts = [[m["role"] for m in row].index("assistant") for row in (own, other)]
    return [*other[: starts[1]], *own[starts[0] :]]


def test_scores_are_log_means_of_plain_passes(store: Store, tiny: Path) -> None:
    run = ModelRun(store, folder=tiny, texts=TEXTS)
    table = scored(run, "tss", **SETTINGS, quality=0.0)
    model, tokenizer = load_causal(tiny, "float32").eval(), load_tokenizer(tiny)

    def likelihood(messages: Any) -> float:
        row = plain_row(model, tokenizer, messages)
        return -row["response_sum"] / row["response_tokens"]

    # Openings of other roles are no alternatives: rows 0 to 2 have each other, 3 and 4 each other.
    for line, others in zip(
        table.iter_rows(named=True), [[1, 2], [0, 2], [0, 1], [4], [3]], strict=True
    ):
        own = TEXTS[int(line["row_id"][1:])]
        competitors = [math.exp(likelihood(swapped(own, TEXTS[i]))) for i in others]
        expected = likelihood(own) - math.log(np.mean(competitors))
        assert line["score"] == pytest.approx(expected, abs=1e-4)
        assert line["alternatives"] == len(others)
        assert line["nearest_id"] in {f"r{i:03}" for i in others}


def test_the_pass_over_the_rows_is_shared_and_alternatives_are_stored(
    store: Store, tiny: Path
) -> None:
    run = ModelRun(store, folder=tiny, texts=TEXTS)
    scored(run, "perplexity", of="response", max_length=200)
    before = len(run.executed_steps)
    scored(run, "tss", **SETTINGS)
    scored(run, "tss", **SETTINGS, budget={"rows": 3})
    assert run.executed_steps[before:].count("losses") == 1
    assert run.executed_steps[-1] == "score-tss"


def test_without_another_prompt_there_is_no_score(store: Store, tiny: Path) -> None:
    texts = [TEXTS[0], TEXTS[0], turns("Name the capital of Italy.", "It is Paris.")]
    table = scored(ModelRun(store, folder=tiny, texts=texts), "tss", **SETTINGS)
    assert table["score"].null_count() == 3
    assert table["reason"].unique().to_list() == [NO_ALTERNATIVE]


def test_an_opening_that_cuts_the_response_does_not_count(store: Store, tiny: Path) -> None:
    texts = [TEXTS[0], turns("Name the capital of Spain. " * 9, "Madrid."), TEXTS[1]]
    run = ModelRun(store, folder=tiny, texts=texts)
    table = scored(run, "tss", embedder="static", max_length=100)
    assert table["alternatives"].to_list() == [1, None, 1]
    assert table["reason"].to_list() == [None, NOTHING_READ, None]


def losses(values: list[tuple[float, int]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row_id": ["r"] * len(values),
            "alternative_id": [f"a{i}" for i in range(len(values))],
            "loss": [loss for loss, _ in values],
            "tokens": [count for _, count in values],
        }
    )


def test_the_worked_example() -> None:
    rows = pl.DataFrame({"row_id": ["r"], "loss_given": [2.0], "response_tokens": [5]})
    frame = with_specificity(rows, losses([(3.0, 5), (4.0, 5), (0.1, 4)]))
    assert frame["loss_alternatives"].to_list() == [pytest.approx(3.38, abs=1e-2)]
    assert frame["specificity"].to_list() == [pytest.approx(1.38, abs=1e-2)]
    assert frame["alternatives"].to_list() == [2]


def test_quality_moves_likely_responses_up() -> None:
    table = pl.DataFrame(
        {"row_id": list("abc"), "loss_given": [3.0, 1.0, 2.0], "specificity": [0.12, 0.1, 0.0]}
    )
    assert ranked(table, "tss", quality=0.0) == ["a", "b", "c"]
    assert ranked(table, "tss") == ["b", "c", "a"]


ROWS = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("What is 12 plus 30?", "12 plus 30 makes 42."),
    ("Translate to Spanish: good morning", "Buenos días."),
    ("Which animal barks?", "A dog barks."),
    ("Give me a word that rhymes with cat.", "Hat rhymes with cat."),
    ("Write one sentence about the sea.", "The sea is deep and blue, and its waves never rest."),
    ("List three colours.", "Red, green and yellow are three colours."),
    ("At what temperature does water boil?", "Water boils at 100 degrees Celsius."),
]


@pytest.mark.model
def test_wrong_and_generic_responses_are_less_specific(store: Store, smollm: Path) -> None:
    """The rows, their prompts with each other's responses, and with one that fits any prompt."""
    prompts, responses = zip(*ROWS, strict=True)
    wrong = [turns(p, r) for p, r in zip(prompts, responses[1:] + responses[:1], strict=True)]
    generic = [turns(p, "I am sorry, but I do not know.") for p in prompts]
    texts = [*(turns(*row) for row in ROWS), *wrong, *generic]
    run = ModelRun(store, folder=smollm, texts=texts, dtype="bfloat16")
    values = scored(run, "tss", quality=0.0, embedder="static", alternatives=2)["score"].to_numpy()
    right, swapped_in, generic_values = np.split(values, 3)
    above = np.greater.outer(right, swapped_in).mean()
    assert above > 0.95, "AUROC"
    assert right.mean() > 0.5
    assert abs(generic_values.mean()) < right.mean() / 4
