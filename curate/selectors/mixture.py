"""Mixtures: a random draw from each source, origin or other group, in given shares.

    equal          p_i the same for all: the random-balanced baseline of Ivison et al. 2025
                   (arXiv:2503.01807, table 1: 42.2 against 40.9 of a plain random draw)
    proportional   p_i ~ n_i, a stratified random draw
    temperature    p_i ~ n_i^(1/T), between the two: T = 1 is proportional, a large T nearly equal
                   (Raffel et al. 2020, arXiv:1910.10683, section 3.5.2)
    {name: weight} as given; groups that are not named come after all that are

Groups take weighted turns (see curate.selectors.turns), so that each budget has the shares to within one
row. A group that is used up leaves its turns to the others, in proportion to their weights. Rows of a
group come in a random order drawn by the seed.

`cap` is the artificial limit K of data set sizes of Raffel et al., section 3.5.2: n_i above is
min(n_i, K), so that a huge group does not crowd out the others. Theirs limits the rates; here no row is
drawn twice, so it limits the rows too: a group's further ones come after all others. `shares`, of any
selection, is a strict cap on shares of the budget.

Cost: none. Pitfall: shares are of rows; a group of long rows has a larger share of the tokens.
"""

from typing import Annotated, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curate.core.calls import Table, cached
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.selectors.groups import BY, By, group_evidence, read_groups
from curate.selectors.scored import every_row_counts
from curate.selectors.turns import interleave, weighted_round_robin

VERSION = 1
SALT = 0x3117
PLAIN = ("source", "origin")
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@method
class MixtureSelector(Selector):
    """Random rows of each source, origin or other group, in given shares."""

    title: ClassVar[str] = "a mixture"
    version: ClassVar[int] = VERSION
    evidence_keys: ClassVar[tuple[str, ...]] = ("by",)
    on_targets: ClassVar[str] = "better than random draws on 1, worse on 1, within their range on 6"
    rank_params: ClassVar[tuple[str, ...]] = ("by", "weights", "temperature", "cap")
    needs_tokens: ClassVar[bool] = False

    method: Literal["mixture"] = "mixture"
    by: By = Field("source", description=BY)
    weights: Literal["equal", "proportional", "temperature"] | dict[str, Weight] = Field(
        "equal", description="shares of the groups, or a weight for each by name"
    )
    temperature: float = Field(2.0, ge=1, description="T in n^(1/T), for weights: temperature")
    cap: int | None = Field(
        None,
        gt=0,
        description="rows that a group counts as having at most; further ones come last",
        examples=[1000],
    )

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, value: str | dict[str, float]) -> str | dict[str, float]:
        if isinstance(value, dict) and not any(value.values()):
            raise ValueError("at least one group needs a weight above 0")
        return value

    def score_rows(self, run: ScoreRun) -> Table:
        """List the kept rows with their groups; a draw scores nothing."""
        further = None if self.by in PLAIN else self.by
        return run(scores, run.rows, run.kept, further, group_evidence(run, self.by))

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers by weighted turns of the groups, in a random order within each."""
        if self.by not in scores.columns:
            raise UserError(
                f"select.by: groups by {self.by} are not stored; run the recipe with --set "
                f"select.by={self.by}"
            )
        by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
        shuffled = by_id[np.random.default_rng([seed, SALT]).permutation(len(by_id))]
        names = scores[self.by].unique().sort()
        groups = scores[self.by].rank("dense").to_numpy().astype(np.int64) - 1
        sizes = np.bincount(groups, minlength=len(names))
        limited = sizes if self.cap is None else np.minimum(sizes, self.cap)
        turns = weighted_round_robin(limited, find_weights(names.to_list(), limited, self))
        rest = weighted_round_robin(sizes - limited, np.zeros(len(sizes)))
        return interleave(
            np.concatenate([turns, rest]), shuffled[np.argsort(groups[shuffled], kind="stable")]
        )

    def unscored(self, scores: pl.DataFrame) -> pl.Series:
        """Return no reason at all: a draw needs no scores."""
        return every_row_counts(scores)


@cached(version=VERSION, name="score-mixture")
def scores(
    rows: Table, kept: Table, by: str | None = None, evidence: Table | None = None
) -> pl.DataFrame:
    """Return row_id, score and nearest_id (null), source, origin, and the group by anything else."""
    groups = [read_groups(rows, kept, name)["group"].alias(name) for name in PLAIN]
    if by is not None:
        groups.append(read_groups(rows, kept, by, evidence)["group"].alias(by))
    frame = kept.read(["row_id"]).with_columns(
        score=pl.lit(None, dtype=pl.Float32), nearest_id=pl.lit(None, dtype=pl.String)
    )
    return frame.with_columns(groups)


def find_weights(
    names: list[str], sizes: NDArray[np.int64], params: MixtureSelector
) -> NDArray[np.float64]:
    """Return the weight of each group.

    Raises:
        UserError: a weight is given for a group that is not there.
    """
    if isinstance(params.weights, dict):
        missing = sorted(set(params.weights) - set(names))
        if missing:
            group_names = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise UserError(
                f"select.weights: no kept row has the {params.by} {missing[0]!r}; "
                f"there are: {group_names}"
            )
        return np.array([params.weights.get(name, 0.0) for name in names])
    power = {"equal": 0.0, "proportional": 1.0, "temperature": 1 / params.temperature}
    return sizes.astype(np.float64) ** power[params.weights]
