"""The arms of the proof: the selection, and random controls of the same size.

    selected        the selection, the same rows for each of its trainings
    random_rows     a uniform draw from the kept rows, as many rows as the selection
    random_tokens   a uniform draw with about as many tokens as the selection

Rows alone would reward a method that likes long rows, so a claim has to hold against both. Tokens are
those that are trained on: of a row that is longer, `max_length`.

A draw follows from the kept rows, its size and the seed alone, so that all methods and targets share
their controls. For that the tokens of the selection are rounded up, by less than 2 %. The
control that is counted like the budget is the same for every method with that budget: it is drawn
`draws` times. The other one differs between methods: it is drawn PAIRED times, for several methods that
are judged together at the ends of their sizes (curate.proof.shared_controls). Under one seed both are
the first rows of the same shuffle, and so what a few pairs differ by carries over to all draws.

Rows in random order, up to the first that does not fit, are a fair draw, but where a few rows hold most
of the tokens, they end far below. Passing over what does not fit would fill the draw up with short rows.
So whole orders are drawn until the first rows of one have the tokens, less SLACK of them at most: for
each number of rows that is a uniform draw from all sets with that many tokens, and no row is in it for
being short. Where ORDERS of them do not do (very few rows make up the tokens), rows that do not fit are
passed over after all, in the order, random or longest first, that comes nearest.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.budget import SLACK, BudgetLimit, BudgetOutcome, spend
from curate.core.calls import Counted, Table, cached
from curate.core.keyed import KeyedRecord

VERSION = 4
ORDERS = 200
FILLED_ORDERS = 20
CONTROLS = ("random_rows", "random_tokens")
ARMS = ("selected", *CONTROLS)
PAIRED = 3
TOKEN_STEP = 1.02
TAKES_ALL = (
    "the selection takes every row, and so does every random draw, so that no difference can be "
    "shown: lower the budget"
)


def arm_runs(draws: int, seeds: int, by_tokens: bool) -> dict[str, int]:
    """Return how often each arm is trained.

    Args:
        draws: of the main control.
        seeds: fine-tunes of the selection.
        by_tokens: whether the budget is counted in tokens.
    """
    main, other = CONTROLS[::-1] if by_tokens else CONTROLS
    return {"selected": seeds, main: draws, other: min(PAIRED, draws)}


def other_control(runs: Mapping[str, int]) -> str:
    """Return the control that is drawn a few times, in pairs with the main one."""
    return next(control for control in CONTROLS if control != main_control(runs))


def main_control(runs: Mapping[str, int]) -> str:
    """Return the control that is drawn most often, whose spread the verdict rests on."""
    return max(CONTROLS, key=lambda control: runs[control])


@dataclass(frozen=True)
class Sizes(KeyedRecord):
    """How many rows the control in rows has, and how many tokens that in tokens."""

    rows: int
    tokens: int


def own_sizes(ranking: pl.DataFrame) -> Sizes:
    """Return the sizes of a selection's own controls.

    Args:
        ranking: selected, tokens.
    """
    chosen = ranking.filter("selected")
    total = round_tokens(int(chosen["tokens"].sum()))
    return Sizes(chosen.height, min(total, int(ranking["tokens"].sum())))


@cached(version=VERSION, name="arms")
def arms(
    selection: Table,
    runs: Mapping[str, int],
    seed: int,
    max_length: int,
    sizes: Sizes | None = None,
) -> Counted[pl.DataFrame]:
    """Return arm, seed, row_id, tokens (those that are trained on).

    Args:
        selection: the ranking.
        runs: how often each arm is drawn.
        seed: of the run.
        max_length: tokens of a row that are trained on.
        sizes: of the controls; the selection's own if not given.
    """
    ranking = selection.read().with_columns(pl.col("tokens").clip(upper_bound=max_length))
    drawn = pl.concat(
        draw_arms(ranking, [seed, number], sizes).filter(
            pl.col("arm").is_in([arm for arm in ARMS if number < runs[arm]])
        )
        for number in range(max(runs.values()))
    )
    return Counted(drawn, {"rows_in": ranking.height})


def draw_arms(ranking: pl.DataFrame, seed: list[int], sizes: Sizes | None = None) -> pl.DataFrame:
    """Return all arms of one seed; controls are drawn from every ranked row, chosen ones included.

    Args:
        ranking: row_id, selected, tokens.
        seed: the run's seed and the number of the draw.
        sizes: of the controls; the selection's own if not given.
    """
    chosen, sizes = ranking.filter("selected"), sizes or own_sizes(ranking)
    rng = np.random.default_rng([*seed, 0xA12A5])
    # Sorted first, so that the draw does not depend on the ranking that it is a control for.
    shuffled = ranking.sort("row_id")[rng.permutation(ranking.height)]
    matched = shuffled[draw_tokens(shuffled["tokens"].to_numpy(), sizes.tokens, rng)]
    parts = zip(ARMS, (chosen, shuffled[: sizes.rows], matched), strict=True)
    return pl.concat(
        part.select(arm=pl.lit(arm), seed=pl.lit(seed[-1]), row_id="row_id", tokens="tokens")
        for arm, part in parts
    )


def round_tokens(tokens: int) -> int:
    """Return tokens rounded up to a power of TOKEN_STEP: selections of about one size share controls.

    Up, so that what fits into the selection fits into its controls.
    """
    step = math.log(max(tokens, 1), TOKEN_STEP)
    # A power itself stays what it is, whichever way its logarithm was rounded.
    return max(math.floor(TOKEN_STEP ** math.ceil(step - 1e-9)), tokens)


def draw_tokens(
    tokens: NDArray[np.int64], total: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return row numbers, drawn at random so that their tokens come to `total`, less SLACK at most.

    Args:
        tokens: of rows in random order [N], which is the first order that is tried.
        total: of tokens.
        rng: draws the other orders.
    """
    fitting = np.flatnonzero(tokens <= total)
    order = fitting
    for _ in range(ORDERS):
        spent = np.cumsum(tokens[order])
        count = int(np.searchsorted(spent, total, side="right"))
        if count and total - spent[count - 1] <= SLACK * total:
            return order[:count]
        order = rng.permutation(fitting)
    orders = [fitting, *(rng.permutation(fitting) for _ in range(FILLED_ORDERS))]
    return _fill(tokens, total, orders)


def _fill(
    tokens: NDArray[np.int64], total: int, orders: list[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Return the rows that fit, in the order that comes nearest to the total."""
    longest_first = orders[0][np.argsort(-tokens[orders[0]], kind="stable")]
    purse = BudgetLimit(total, SLACK * total)
    drawn = [
        order[spend(tokens[order], purse) == BudgetOutcome.TAKEN]
        for order in [*orders, longest_first]
    ]
    return max(drawn, key=lambda rows: int(tokens[rows].sum()))
