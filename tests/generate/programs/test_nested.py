"""Nested arithmetic: values and steps against Python's own reading of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import regex
from hypothesis import given
from hypothesis import strategies as st

from curate.answers.checkers import AnswerVerdict, check_answer
from curate.generate.programs.nested import draw_nested
from curate.generate.programs.question import Draw


def by_python(text: str) -> Fraction:
    """Return the value of an expression by Python itself, whose numbers become fractions."""
    value = eval(regex.sub(r"\d+", r"Fraction(\g<0>)", text), {"Fraction": Fraction})
    assert isinstance(value, Fraction)
    return value


@given(st.integers(0, 2**31))
def test_values_and_steps_are_exact(seed: int) -> None:
    question = draw_nested(Draw(np.random.default_rng(seed), 0), 0)
    value = by_python(question.slots["expression"])
    *steps, last = question.answer.splitlines()
    assert last == f"The value is {value}."
    assert 2 <= len(steps) <= 6
    for step in steps:
        left, right = step.split(" = ")
        assert by_python(left) == by_python(right)
    assert by_python(steps[-1].split(" = ")[1]) == value
    assert check_answer("arithmetic", question.answer, str(value)) is AnswerVerdict.CORRECT
    other = question.answer.replace(last, f"The value is {value + 1}.")
    assert check_answer("arithmetic", other, str(value)) is AnswerVerdict.WRONG
