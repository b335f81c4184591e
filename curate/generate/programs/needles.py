"""Needles: a value to be looked up in a long list of dictionaries, by its key or by parts of its key.

    Dictionary [1] {5122: 7651, 4548: 1475, 4818: 4782}
    Dictionary [2] {2526: 2901, 9205: 9318, 9278: 1565, 6711: 3320}

Published: Xiong et al. 2024, "From Artificial Needles to Real Haystacks", arXiv:2406.19292: dictionaries
of 3 or 4 whole numbers, simple retrieval by a key, and retrieval by some of the numbers that make up a
key. The sentences of questions and answers are after theirs.

Ours: no number stands twice as a key or value, so that the answer is in the text once; of the keys that
are tuples some have all but one of the numbers that are asked for.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from curate.generate.programs.question import Draw, Question, distinct_numbers, place_in

PAIRS = 3, 4
DIGITS, SUBKEY_DIGITS = 4, 3
# Parts of a key that is a tuple, those asked for, and how many other keys share all but one of these.
PARTS, NAMED, NEAR_KEYS = (3, 4), 3, 5


def draw_dictionary(draw: Draw, size: int) -> Question:
    """Return the question for the value of a key, among `size` keys."""
    numbers = distinct_numbers(draw.rng, 2 * size, DIGITS)
    keys, values = [str(number) for number in numbers[:size]], numbers[size:]
    place = place_in(draw.decile, size, draw.rng)
    context, dictionaries = _listed(draw.rng, keys, values)
    key, value, dictionary = keys[place], values[place], dictionaries[place]
    return Question(
        slots={"key": key},
        answer=f"The value of key {key} is {value} and it is in Dictionary [{dictionary}].",
        context=context,
        needle=str(value),
        position=place / (size - 1),
    )


def draw_subkeys(draw: Draw, size: int) -> Question:
    """Return the question for the key that holds some numbers, and its value, among `size` keys."""
    place = place_in(draw.decile, size, draw.rng)
    parts, named = _keys(draw.rng, size, place)
    keys, values = [_written(key) for key in parts], distinct_numbers(draw.rng, size, DIGITS)
    context, dictionaries = _listed(draw.rng, keys, values)
    integers = ", ".join(map(str, named))
    return Question(
        slots={"integers": integers},
        answer=(
            f"The key that contains the integers {integers} is {keys[place]}. Its value is "
            f"{values[place]} and it is in Dictionary [{dictionaries[place]}]."
        ),
        context=context,
        needle=str(values[place]),
        position=place / (size - 1),
    )


def _keys(rng: np.random.Generator, size: int, place: int) -> tuple[list[list[int]], list[int]]:
    """Return keys, no two of the same numbers, and the numbers that only the one at a place has.

    Some others have all of these but one.
    """
    gold = _parts(rng)
    named: list[int] = rng.permutation(gold)[:NAMED].tolist()
    near = set(rng.permutation(np.delete(np.arange(size), place))[:NEAR_KEYS].tolist())
    keys: list[list[int]] = []
    seen = {frozenset(gold)}
    while len(keys) < size:
        key = gold if len(keys) == place else _parts(rng)
        if len(keys) in near:
            shared = rng.permutation(named)[: NAMED - 1].tolist()
            key = rng.permutation([*shared, *key[NAMED - 1 :]]).tolist()
        numbers = frozenset(key)
        if key is gold or not (numbers >= set(named) or numbers in seen or len(numbers) < len(key)):
            keys.append(key)
            seen.add(numbers)
    return keys, named


def _parts(rng: np.random.Generator) -> list[int]:
    """Return 3 or 4 numbers, none of them twice."""
    low, count = 10 ** (SUBKEY_DIGITS - 1), int(rng.integers(PARTS[0], PARTS[1] + 1))
    parts: list[int] = (rng.choice(9 * low, count, replace=False) + low).tolist()
    return parts


def _written(key: Iterable[int]) -> str:
    return f"({', '.join(map(str, key))})"


def _listed(
    rng: np.random.Generator, keys: Sequence[str], values: Iterable[int]
) -> tuple[str, list[int]]:
    """Return keys and values as dictionaries of 3 or 4, a line each, and the number of each key's."""
    sizes = rng.integers(PAIRS[0], PAIRS[1] + 1, size=len(keys))
    numbers = np.repeat(np.arange(1, len(keys) + 1), sizes)[: len(keys)].tolist()
    lines: dict[int, list[str]] = {}
    for number, key, value in zip(numbers, keys, values, strict=True):
        lines.setdefault(number, []).append(f"{key}: {value}")
    text = "\n".join(f"Dictionary [{n}] {{{', '.join(pairs)}}}" for n, pairs in lines.items())
    return text, numbers
