"""Units: names, plurals, rates and powers, and what they are worth."""

from __future__ import annotations

from fractions import Fraction

import pytest

from curate.answers.units import COUNTED, UNITS, Unit, find_unit


@pytest.mark.parametrize(
    ("one", "other", "factor"),
    [
        ("hours", "minute", 60),
        ("feet", "inches", 12),
        ("square feet", "inch^2", 144),
        ("m³", "cubic cm", 10**6),
        ("km/h", "kilometers per hour", 1),
        ("dollars an hour", "cents/hr", 100),
        ("Kg", "grams", 1000),
        ("centuries", "years", 100),
        ("people", "person", 1),
    ],
)
def test_a_unit_is_so_many_of_another(one: str, other: str, factor: int) -> None:
    first, second = find_unit(one), find_unit(other)
    assert first is not None and second is not None
    assert first.dimension == second.dimension and first.factor == factor * second.factor


@pytest.mark.parametrize(
    "name", ["", "thirds", "because", "or 6", "hours and", "x", "^2", "per hour", "a" * 99]
)
def test_other_words_are_no_units(name: str) -> None:
    assert find_unit(name) is None


def test_every_name_on_the_list_is_found_as_it_stands() -> None:
    assert all(find_unit(name) == unit for name, unit in UNITS.items())
    assert all(find_unit(name) in (UNITS.get(name), Unit(name, Fraction(1))) for name in COUNTED)
