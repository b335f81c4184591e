"""Mixtures: a random draw from each source, origin or other group, in given shares.

    equal          p_i the same for all: the random-balanced baseline of Ivison et al. 2025
                   (arXiv:2503.01807, table 1: 42.2 against 40.9 of a plain random draw)
    proportional   p_i ~ n_i, a stratified random draw
    temperature    p_i ~ n_i^(1/T), between the two: T = 1 is proportional, a large T nearly equal
                   (Raffel et al. 2020, arXiv:1910.10683, section 3.5.2)
    sources        p_i ~ the effect of group i on the loss of the target examples, by a trial
    {name: weight} as given; groups that are not named come after all that are

Groups take weighted turns (see curate.selectors.turns), so that each budget has the shares to within one
row. A group that is used up leaves its turns to the others, in proportion to their weights. Rows of a
group come in a random order drawn by the seed.

`cap` is the artificial limit K of data set sizes of Raffel et al., section 3.5.2: n_i above is
min(n_i, K), so that a huge group does not crowd out the others. Theirs limits the rates; here no row is
drawn twice, so it limits the rows too: a group's further ones come after all others. `shares`, of any
selection, is a strict cap on shares of the budget.

`sources` tries the groups that are nearest to the target, as `{method: sources, trial: ...}` does
(curate.selectors.trials). Vu et al. 2024 (arXiv:2407.10817) mix tasks by such trials, in classes; ours
is the share by the effect itself. An effect below 0 counts as 0, and rows of harmful groups and of those
that were not tried have no score.

Cost: none but that of the trials. Pitfalls: shares are of rows; a group of long rows has a larger share
of the tokens. What a group does alone says little of what it adds to others.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curate.core.calls import Table, cached, cached_files
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.runrecord import SelectionRecord
from curate.core.section import Section
from curate.core.selector import Selector
from curate.core.selectparams import Budget
from curate.core.store import Counts
from curate.selectors.groups import BY, By, group_evidence, read_groups
from curate.selectors.scored import every_row_counts
from curate.selectors.source_choice import HARMFUL
from curate.selectors.sources import SourcesSelector
from curate.selectors.sources_section import sources_section
from curate.selectors.trials import Trial
from curate.selectors.turns import interleave, weighted_round_robin

VERSION = 2
SALT = 0x3117
PLAIN = ("source", "origin")
EFFECTS = "sources"
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
    weights: Literal["equal", "proportional", "temperature", "sources"] | dict[str, Weight] = Field(
        "equal",
        description="shares of the groups, or a weight for each by name; sources: by what a trial of "
        "each does to the target examples",
    )
    temperature: float = Field(2.0, ge=1, description="T in n^(1/T), for weights: temperature")
    cap: int | None = Field(
        None,
        gt=0,
        description="rows that a group counts as having at most; further ones come last",
        examples=[1000],
    )
    trial: Trial = Field(Trial(), description="fine-tunes on groups, for weights: sources")

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, value: str | dict[str, float]) -> str | dict[str, float]:
        if isinstance(value, dict) and not any(value.values()):
            raise ValueError("at least one group needs a weight above 0")
        return value

    @property
    def trials(self) -> SourcesSelector | None:
        """Return the choice of groups whose effects are the weights; None where these are no effects."""
        if self.weights != EFFECTS:
            return None
        top = self.trial.top
        return SourcesSelector(
            by=self.by, measure=["embedding"], trial=self.trial, keep=top, budget=Budget(rows=1)
        )

    def members(self) -> Sequence[tuple[Selector, float]]:
        """Return itself, and the choice of groups where their effects are the weights."""
        return [(one, 1.0) for one in (self, self.trials) if one is not None]

    def score_rows(self, run: ScoreRun) -> Table:
        """List the kept rows with their groups; a draw scores nothing, a trial weighs the groups."""
        further = None if self.by in PLAIN else self.by
        listed = run(scores, run.rows, run.kept, further, group_evidence(run, self.by))
        if (trials := self.trials) is None:
            return listed
        _, choice = trials.choose(run)
        return Table(run(weighted_scores, listed, choice, self.by), "scores")

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
        weights = self._weights(scores, names.to_list(), limited)
        turns = weighted_round_robin(limited, weights)
        rest = weighted_round_robin(sizes - limited, np.zeros(len(sizes)))
        return interleave(
            np.concatenate([turns, rest]), shuffled[np.argsort(groups[shuffled], kind="stable")]
        )

    def _weights(
        self, scores: pl.DataFrame, names: list[str], sizes: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        if self.weights != EFFECTS:
            return find_weights(names, sizes, self)
        weight = self._stored_weight(scores)
        effects = scores.group_by(self.by).agg(pl.col(weight).first()).sort(self.by)
        return effects[weight].to_numpy().astype(np.float64)

    def _stored_weight(self, scores: pl.DataFrame) -> str:
        """Return the column with the effects of the groups.

        Raises:
            UserError: there are none, or those of other groups.
        """
        if (column := weight_column(self.by)) not in scores.columns:
            raise UserError(
                f"select.weights: effects of groups by {self.by} are not stored; run the recipe with "
                f"--set select.weights={EFFECTS} --set select.by={self.by}"
            )
        return column

    def unscored(self, scores: pl.DataFrame) -> pl.Series:
        """Return why a row's group has no weight by a trial; else a draw needs no scores."""
        if self.weights != EFFECTS:
            return every_row_counts(scores)
        self._stored_weight(scores)
        return scores["reason"]

    def section(self, record: SelectionRecord) -> Section | None:
        """Return the groups with their trials, where there are some, and the scores."""
        return sources_section(record)


def weight_column(by: str) -> str:
    """Return the column of the effects of these groups; others may be asked for in a plan."""
    return f"weight_by_{by}"


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


@cached_files(version=VERSION, name="score-mixture-effects")
def weighted_scores(out: Path, listed: Table, choice: Table, by: str) -> Counts:
    """Write scores.parquet, the listed rows with weight and reason, and groups.parquet.

    weight_by_... is the effect of a row's group, 0 where that is below 0; reason says why it has none.

    Raises:
        UserError: no group helps the target examples.
    """
    groups, column = choice.read(), weight_column(by)
    weight = pl.when(pl.col("reason").is_null()).then(pl.col("effect").clip(lower_bound=0))
    weights = groups.select(pl.col("group").alias(by), "reason", weight.fill_null(0).alias(column))
    if not (weights[column] > 0).any():
        raise UserError(
            f"select.weights: {groups['effect'].count()} groups were tried, and none of them lowers the "
            "loss of the target examples; try more of them (select.trial.top), or give other weights"
        )
    frame = listed.read().join(weights, on=by, how="left", maintain_order="left")
    frame.write_parquet(out / "scores.parquet")
    groups.drop("nearest").write_parquet(out / "groups.parquet")
    harmful = groups.filter(pl.col("kind") == HARMFUL).height
    return {
        "rows_in": frame.height,
        "rows_out": frame.height,
        "groups": groups.height,
        "harmful": harmful,
    }


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
    assert params.weights != EFFECTS
    power = {"equal": 0.0, "proportional": 1.0, "temperature": 1 / params.temperature}
    return sizes.astype(np.float64) ** power[params.weights]
