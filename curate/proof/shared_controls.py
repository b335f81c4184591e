"""Controls that several selections share: the other control is drawn at the ends of their sizes.

Selections of one budget of rows have their row control in common, and each another number of tokens.
Instead of some draws of every such number, the control in tokens is drawn at those ends of the numbers
that lie furthest from the row control, above it and below it, and a selection between is told what the
draws differ by at its own number by interpolation:

    row control 1,000 tokens    selections of 1,300, 2,000 and 4,000 tokens: drawn at 4,000
    share of 2,000 tokens       log(2,000 / 1,000) / log(4,000 / 1,000) = 0.5 of what pairs differ by

What more tokens change is taken to go with the logarithm of their number. An end is compared with draws
of its own size. So k selections cost their own fine-tunes, the draws, and the few pairs of two ends at
most, however many they are. With a budget of tokens rows and tokens change places.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.core.calls import Table
from curate.core.selectparams import Budget
from curate.proof.arms import TOKEN_STEP, Sizes, own_sizes


@dataclass(frozen=True)
class SharedControls:
    """The sizes at which the controls of a selection are drawn.

    weight: the share that its own size has of what the pairs of the other control differ by.
    own: how many rows or tokens the other control would have had for this selection alone.
    """

    sizes: Sizes
    weight: float
    own: int

    def describe(self, other: str) -> dict[str, Any]:
        """Return what proof.json says of an interpolated control."""
        drawn = self.sizes.tokens if other == "random_tokens" else self.sizes.rows
        unit = "tokens" if other == "random_tokens" else "rows"
        sentence = (
            f"The control with about as many {unit} was drawn with {drawn:,} {unit}, for all methods of "
            f"this size; what its pairs differ by counts with a share of {self.weight:.2f} for the "
            f"{self.own:,} {unit} of this selection."
        )
        return {"drawn": drawn, "own": self.own, "weight": self.weight, "sentence": sentence}


def share_controls(
    selections: Mapping[str, tuple[Table, Budget]], max_length: int
) -> dict[str, SharedControls]:
    """Return the controls of selections that are judged together, by the names of these.

    Args:
        selections: rankings and budgets.
        max_length: tokens of a row that are trained on.
    """
    shared: dict[str, SharedControls] = {}
    for by_tokens in (False, True):
        rankings = {
            name: _read(ranking, max_length)
            for name, (ranking, budget) in selections.items()
            if (budget.tokens is not None) == by_tokens
        }
        sizes = {name: own_sizes(ranking) for name, ranking in rankings.items()}
        for main, group in group_sizes(sizes, by_tokens=by_tokens).items():
            mean = float(rankings[next(iter(group))]["tokens"].to_numpy().mean())
            middle = main / mean if by_tokens else main * mean
            for name, (drawn, weight) in interpolate(group, middle).items():
                controls = Sizes(drawn, main) if by_tokens else Sizes(main, drawn)
                shared[name] = SharedControls(controls, weight, group[name])
    return shared


def _read(ranking: Table, max_length: int) -> pl.DataFrame:
    table = ranking.read(["row_id", "selected", "tokens"])
    return table.with_columns(pl.col("tokens").clip(upper_bound=max_length))


def group_sizes(sizes: Mapping[str, Sizes], *, by_tokens: bool) -> dict[int, dict[str, int]]:
    """Return the size of the other control of each selection, by the size of the main one.

    Numbers of tokens one rounding step apart are one size, the larger one.

    Args:
        sizes: of each selection's own controls.
        by_tokens: whether the main control is counted in tokens.
    """
    pairs = {n: (s.tokens, s.rows) if by_tokens else (s.rows, s.tokens) for n, s in sizes.items()}
    step = TOKEN_STEP * 1.001 if by_tokens else 1.0
    groups: dict[int, dict[str, int]] = {}
    for name, (main, other) in sorted(pairs.items(), key=lambda pair: -pair[1][0]):
        size = next((size for size in groups if size <= main * step), main)
        groups.setdefault(size, {})[name] = other
    return groups


def interpolate(sizes: Mapping[str, int], middle: float) -> dict[str, tuple[int, float]]:
    """Return for each size the one at its end, and its share of the way there from the middle.

    Args:
        sizes: of the other control of each selection.
        middle: how many rows or tokens of this kind the main control has.
    """
    ends = min(sizes.values()), max(sizes.values())
    shared = {}
    for name, size in sizes.items():
        end = ends[size >= middle]
        weight = 1.0 if size == end else math.log(size / middle) / math.log(end / middle)
        shared[name] = (end, weight)
    return shared
