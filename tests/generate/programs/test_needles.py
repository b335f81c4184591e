"""Needles: keys are unique, the answer is read back from the context, and stands there once."""

from __future__ import annotations

import numpy as np
import regex
from hypothesis import given
from hypothesis import strategies as st

from curate.generate.programs.needles import draw_dictionary, draw_subkeys
from curate.generate.programs.question import (
    Draw,
    Question,
    decile_of,
    distinct_numbers,
    occurrences,
    place_in,
)

SEEDS, DECILES = st.integers(0, 2**31), st.integers(0, 9)
ENTRY = regex.compile(r"(\d+|\([\d, ]+\)): (\d+)")


def entries(question: Question) -> list[tuple[int, list[tuple[str, str]]]]:
    """Return dictionaries as they stand in a context: number, keys and values."""
    lines = [
        regex.fullmatch(r"Dictionary \[(\d+)\] \{(.*)\}", line)
        for line in question.context.splitlines()
    ]
    assert all(lines)
    return [(int(line[1]), ENTRY.findall(line[2])) for line in lines if line]


def draw(seed: int, decile: int) -> Draw:
    return Draw(np.random.default_rng(seed), decile)


@given(SEEDS, DECILES, st.integers(12, 300))
def test_the_value_of_a_key(seed: int, decile: int, size: int) -> None:
    question = draw_dictionary(draw(seed, decile), size)
    dictionaries = entries(question)
    assert [number for number, _ in dictionaries] == list(range(1, len(dictionaries) + 1))
    pairs = [(key, value, number) for number, some in dictionaries for key, value in some]
    assert len(pairs) == size
    numbers = [number for key, value, _ in pairs for number in (key, value)]
    assert len(set(numbers)) == 2 * size
    (place,) = [i for i, pair in enumerate(pairs) if pair[0] == question.slots["key"]]
    key, value, number = pairs[place]
    assert question.needle == value
    assert (
        question.answer == f"The value of key {key} is {value} and it is in Dictionary [{number}]."
    )
    assert 10 * place // (size - 1) == decile or (decile, place) == (9, size - 1)
    assert question.position is not None and decile_of(question.position) == decile


@given(SEEDS, DECILES, st.integers(12, 120))
def test_the_key_that_holds_some_numbers(seed: int, decile: int, size: int) -> None:
    question = draw_subkeys(draw(seed, decile), size)
    pairs = [(key, value, number) for number, some in entries(question) for key, value in some]
    keys = [frozenset(regex.findall(r"\d+", key)) for key, _, _ in pairs]
    named = set(question.slots["integers"].split(", "))
    assert len(named) == 3
    assert len(set(keys)) == size
    (place,) = [i for i, key in enumerate(keys) if named <= key]
    assert sum(len(named & key) == 2 for key in keys) == 5
    key, value, number = pairs[place]
    assert question.needle == value
    assert question.answer.endswith(
        f"is {key}. Its value is {value} and it is in Dictionary [{number}]."
    )
    assert question.position is not None and decile_of(question.position) == decile


@given(SEEDS, DECILES, st.integers(11, 500))
def test_places_fill_their_decile(seed: int, decile: int, count: int) -> None:
    place = place_in(decile, count, np.random.default_rng(seed))
    assert decile_of(place / (count - 1)) == decile


def test_numbers_get_longer_where_there_are_too_few() -> None:
    rng = np.random.default_rng(0)
    assert len(set(distinct_numbers(rng, 20_000, 4).tolist())) == 20_000
    assert distinct_numbers(rng, 10, 4).max() < 10_000


def test_a_needle_is_no_part_of_a_longer_number() -> None:
    assert occurrences("123", "1234 and 123, 0123 {123: 5}") == 2
    assert occurrences("Name it.", "Name it. Rename it.") == 1
    assert occurrences("(a)", "(a)(a)") == 2
