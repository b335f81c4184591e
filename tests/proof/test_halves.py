"""Halves of an eval set: disjoint, fixed by prompts and seed, even in every origin."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from curate.core.errors import UserError
from curate.core.store import Store
from curate.proof.halves import CHOICE, LEAST, VERDICT, check_halves, half_call, split_examples
from tests.conftest import StoreRun, frame, row, stored_rows, turns


def examples(prompts: list[str], start: int = 0) -> list[dict[str, Any]]:
    origins = [None, "a", "b"]
    return [
        row(f"eval:{i + start}", turns(prompt, f"answer {i}"), origin=origins[len(prompt) % 3])
        for i, prompt in enumerate(prompts)
    ]


def halves_by_prompt(prompts: list[str], seed: int) -> dict[str, set[str]]:
    rows = frame(examples(prompts))
    split = rows.join(split_examples(rows, seed), on="row_id", how="left")
    halves: dict[str, set[str]] = {}
    for messages, half in split.select("messages", "half").iter_rows():
        halves.setdefault(messages[0]["content"], set()).add(half)
    return halves


PROMPTS = st.lists(st.text("xyz", min_size=1, max_size=6), min_size=1, max_size=40)


@given(prompts=PROMPTS, seed=st.integers(0, 5), order=st.randoms())
def test_a_prompt_is_in_one_half_whatever_the_order_of_the_file(
    prompts: list[str], seed: int, order: Any
) -> None:
    halves = halves_by_prompt(prompts, seed)
    assert all(len(of_prompt) == 1 for of_prompt in halves.values())
    shuffled = list(prompts)
    order.shuffle(shuffled)
    assert halves_by_prompt(shuffled, seed) == halves
    sizes = Counter(half for of_prompt in halves.values() for half in of_prompt)
    assert sizes[VERDICT] - sizes[CHOICE] in (0, 1)


def test_every_origin_is_halved() -> None:
    rows = frame(examples([f"{'x' * (i % 3)}{i:04}" for i in range(90)]))
    split = rows.join(split_examples(rows, 1), on="row_id")
    counted = split.group_by("origin", "half").len()
    assert counted.height == 6
    assert set(counted["len"]) == {15}


def test_another_seed_splits_otherwise() -> None:
    prompts = [f"{i:04}" for i in range(40)]
    assert halves_by_prompt(prompts, 0) != halves_by_prompt(prompts, 1)


def test_the_halves_make_up_the_eval_set_also_as_the_model_reads_it(store: Store) -> None:
    given = examples([f"{i:04}" for i in range(40)])
    merged = [
        r | {"messages": turns("Be kind. " + r["messages"][0]["content"], "x")} for r in given
    ]
    rows, rendered = stored_rows(store, "eval", given), stored_rows(store, "merged", merged)

    def ids(read: Any, half: str) -> list[str]:
        table = StoreRun(store).result(half_call(rows, read, half, 0))
        assert table.artifact.name == f"eval-{half}"
        return table.read()["row_id"].to_list()

    choice, verdict = ids(rows, CHOICE), ids(rows, VERDICT)
    assert sorted(choice + verdict) == sorted(r["row_id"] for r in given)
    assert (ids(rendered, CHOICE), ids(rendered, VERDICT)) == (choice, verdict)


def test_the_least_size_lets_half_a_standard_deviation_be_seen() -> None:
    def reach(examples: int) -> float:
        return float(t.ppf(0.975, examples - 1) / examples**0.5)

    assert reach(LEAST) <= 0.5 < reach(LEAST - 1)


def test_too_few_prompts_are_refused_with_the_number_that_is_needed(store: Store) -> None:
    check_halves(stored_rows(store, "eval", examples([f"{i}" for i in range(2 * LEAST)])))
    few = [f"{i % (2 * LEAST - 1)}" for i in range(100)]
    with pytest.raises(UserError) as caught:
        check_halves(stored_rows(store, "few", examples(few)))
    said = str(caught.value)
    assert said.startswith("target.eval has 100 examples with 35 different prompts")
    assert "needs 18 in each half" in said
    assert "give at least 36 different prompts" in said


def test_of_a_race_by_pairs_the_pairs_of_an_eval_set_count_alone(store: Store) -> None:
    texts = [f"{i}" for i in range(3 * LEAST)]
    rows = [
        {**one, "rejected": turns("", "no")[1:] if i < LEAST else None}
        for i, one in enumerate(examples(texts))
    ]
    table = stored_rows(store, "eval", rows)
    check_halves(table)
    with pytest.raises(UserError, match=r"^target\.eval has 18 pairs with 18 different prompts"):
        check_halves(table, by_pairs=True)
