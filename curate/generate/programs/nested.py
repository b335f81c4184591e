"""Nested arithmetic: an expression, its exact value, and the steps to it.

    (7 - 3 * 4) / 6        3 * 4 = 12
                           7 - 12 = -5
                           (-5) / 6 = -5/6
                           The value is -5/6.

Ours. Values are fractions; an expression of which one on the way would be unwieldy is drawn again. What
is written is read back by another interpreter (curate.answers.arithmetic) before it becomes a row.
"""

from dataclasses import dataclass
from fractions import Fraction
from operator import add, mul, sub, truediv
from typing import Any

import numpy as np

from curate.answers.arithmetic import evaluate, false_equation
from curate.generate.programs.question import Draw, Question

OPERATIONS: dict[str, Any] = {"+": add, "-": sub, "*": mul, "/": truediv}
RANKS = {"+": 1, "-": 1, "*": 2, "/": 2}
LARGEST_NUMBER, LARGEST_VALUE, LARGEST_DENOMINATOR = 20, 2_000, 60
NODES = 2, 6


@dataclass(frozen=True)
class Node:
    """A number, or an operation on two nodes; with its exact value."""

    value: Fraction
    operator: str = ""
    left: "Node | None" = None
    right: "Node | None" = None

    def text(self) -> str:
        """Return the expression with the brackets that it needs."""
        if self.left is None or self.right is None:
            return str(self.value)
        rank = RANKS[self.operator]
        left, right = self.left.text(), self.right.text()
        if self.left.rank < rank:
            left = f"({left})"
        # a - (b - c) and a / (b * c) are not a - b - c and a / b * c.
        if self.right.rank < rank or (self.right.rank == rank and self.operator in "-/"):
            right = f"({right})"
        return f"{left} {self.operator} {right}"

    @property
    def rank(self) -> int:
        """Return how closely it holds together: a number most."""
        return RANKS.get(self.operator, 3)

    def steps(self) -> list[str]:
        """Return the equations that lead to the value, one for each operation, inner ones first."""
        if self.left is None or self.right is None:
            return []
        sides = _operand(self.left.value), _operand(self.right.value)
        line = f"{sides[0]} {self.operator} {sides[1]} = {self.value}"
        return [*self.left.steps(), *self.right.steps(), line]


def _operand(value: Fraction) -> str:
    return str(value) if value >= 0 and value.denominator == 1 else f"({value})"


def draw_nested(draw: Draw, size: int) -> Question:
    """Return the question for the value of an expression, with the steps to it; `size` means nothing."""
    count = int(draw.rng.integers(NODES[0], NODES[1] + 1))
    while (node := _drawn(draw.rng, count)) is None:
        pass
    text = node.text()
    answer = "\n".join([*node.steps(), f"The value is {node.value}."])
    if evaluate(text) != node.value or false_equation(answer) is not None:
        raise AssertionError(f"{text} is not {node.value}")
    return Question(slots={"expression": text}, answer=answer)


def _drawn(rng: np.random.Generator, operations: int) -> Node | None:
    """Return an expression of so many operations, None where a value on the way is unwieldy."""
    if operations == 0:
        return Node(Fraction(int(rng.integers(1, LARGEST_NUMBER + 1))))
    split = int(rng.integers(0, operations))
    left, right = _drawn(rng, split), _drawn(rng, operations - 1 - split)
    operator = str(rng.choice(list(OPERATIONS)))
    if left is None or right is None or (operator == "/" and right.value == 0):
        return None
    value = OPERATIONS[operator](left.value, right.value)
    unwieldy = abs(value) > LARGEST_VALUE or value.denominator > LARGEST_DENOMINATOR
    return None if unwieldy else Node(value, operator, left, right)
