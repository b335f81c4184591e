"""Successive halving: how many candidates of a race are left after each round, and what it costs."""

import math


def survivors(candidates: int, number: int, rounds: int) -> int:
    """Return how many candidates are left after a round, counted from 1; one after the last."""
    left: float = float(candidates) ** (1 - number / rounds)
    # A power that is whole by the book may come out a hair above.
    return math.ceil(round(left, 9))


def trainings_in(number: int) -> int:
    """Return how often a candidate has been trained by the end of a round, counted from 1."""
    return 1 << (number - 1)


def most_finetunes(candidates: int, rounds: int) -> int:
    """Return how many fine-tunes a race takes: fewer where candidates select the same rows."""
    entering = [candidates, *(survivors(candidates, n, rounds) for n in range(1, rounds))]
    total = [trainings_in(number) for number in range(1, rounds + 1)]
    new = [n - before for n, before in zip(total, [0, *total], strict=False)]
    return sum(count * trainings for count, trainings in zip(entering, new, strict=True))
