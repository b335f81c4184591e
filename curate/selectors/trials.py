"""Trials: what a brief fine-tune on a few rows of a group does to the loss of the target examples.

The tail-patch of FLAMe (Vu et al. 2024, arXiv:2407.10817): from one partly trained model, tune a little
on each task alone, and see whether that helps. Published: the common start, one short training a task,
and the classes helpful, neutral and harmful. Ours: LoRA adapters, the target examples as the measure,
and classes by an interval (theirs are ratings).

    warm-up     SHARE times the rows of a trial, drawn from all groups: it learns what any rows teach
    effect      loss of a target example after the warm-up, less that after the trial; above 0 it helps
    interval    95 %, over examples and over seeds, which draw the rows and their order anew
                (curate.core.intervals)
    class       helpful or harmful where the interval holds no 0, else neutral; so is an effect without
                an interval, where no trial or example differs from another

Intervals are of each group alone: of twenty groups without any effect, one has a class by chance.

Cost: one fine-tune a group and seed, one for the warm-up, and a pass over the target examples for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import CachedCall, Table, cached
from curate.core.errors import UserError
from curate.core.intervals import half_interval
from curate.core.keyed import ModelSource
from curate.core.params import Params
from curate.core.run import StepRun
from curate.core.store import Artifact
from curate.core.turntext import conversations
from curate.core.wants import ONE_GPU
from curate.models.chat import build_examples
from curate.models.evaluation import evaluate
from curate.models.finetune import finetune, load_measured
from curate.models.load import load_tokenizer
from curate.models.lora_values import brief_lora
from curate.models.training import training_rows

VERSION = 1
SALT = 0x7A11
SHARE = 4
EPOCHS, LEARNING_RATE, MAX_LENGTH = 1, 5e-4, 1024
# Beyond these, a figure says which processor added it up.
DECIMALS = 6
Losses = NDArray[np.float64]


class Trial(Params):
    """Brief fine-tunes on the groups that the first measure ranks first, each on its rows alone."""

    top: int = Field(6, ge=1, description="so many groups are tried")
    rows: int = Field(48, ge=1, description="of a group that are learned, or all that it has")
    seeds: int = Field(2, ge=1, description="trials of a group, each on rows drawn anew")

    def learned_rows(self) -> int:
        """Return how many rows the warm-up and all trials learn."""
        return EPOCHS * self.rows * (SHARE + self.top * self.seeds)


@dataclass(frozen=True)
class Effect:
    """How far a group's rows lower the loss of the target examples, with a 95 % interval.

    It has no interval where no trial or example differs from another.
    """

    mean: float
    low: float | None
    high: float | None


def check_trial(trial: Trial, target: Table) -> None:
    """Fail where effects could have no interval.

    Raises:
        UserError: there is one target example, and a trial of each group.
    """
    if trial.seeds == 1 and target.height == 1:
        raise UserError(
            "select.trial: one trial of a group on one target example has no interval, so any effect "
            "may be noise; give seeds: 2 or more, or more target examples"
        )


def try_groups(
    run: StepRun, rows: Table, target: Table, groups: pl.DataFrame, trial: Trial,
    names: Sequence[str],
) -> dict[str, Effect]:  # fmt: skip
    """Return what rows of some groups do to the target examples.

    Args:
        run: trains and measures.
        rows: the pool.
        target: the target examples.
        groups: row_id and group of the rows of all groups.
        trial: how many rows and seeds.
        names: the groups to try.
    """
    warmup, tuned = train_trials(run, rows, groups, trial, names)
    gains = measure_trials(run, target, warmup, tuned).reshape(len(names), trial.seeds, -1)
    return {name: effect_of(gain) for name, gain in zip(names, gains, strict=True)}


def train_trials(
    run: StepRun, rows: Table, groups: pl.DataFrame, trial: Trial, names: Sequence[str]
) -> tuple[Artifact, list[Artifact]]:  # fmt: skip
    """Return the warm-up, and the fine-tune of each group and seed, group by group."""
    lora = brief_lora(EPOCHS, LEARNING_RATE, MAX_LENGTH)
    drawn = draw_rows(groups["row_id"], SHARE * trial.rows, [run.seed, SALT])
    start = training_rows([rows], drawn)
    warmup = run(finetune, start, lora, [run.seed, SALT], run.base)
    calls: list[CachedCall[Artifact]] = []
    for name in names:
        own = groups.filter(group=name)["row_id"]
        for number in range(trial.seeds):
            seed = [run.seed, SALT, number + 1]
            learned = training_rows([rows], draw_rows(own, trial.rows, seed))
            calls.append(finetune.call(learned, lora, seed, run.base, warmup))
    return warmup, run.results(calls)


def measure_trials(
    run: StepRun, target: Table, warmup: Artifact, tuned: Sequence[Artifact]
) -> Losses:
    """Return by how much each trial lowers the loss of each target example [trials, examples].

    It is 0 for a trial that learned nothing, and NaN for an example without a response.
    """
    learned = [one for one in tuned if one.counts["steps"]]
    tables = run.map(target_losses, [warmup, *learned], target, run.base, MAX_LENGTH)
    first, *others = (table.read()["loss"].fill_null(np.nan).to_numpy() for table in tables)
    if not np.isfinite(first).any():
        raise UserError(
            f"select.trial: no target example has a response within {MAX_LENGTH:,} tokens, so no trial "
            "can be measured; leave trial out"
        )
    after = iter(others)
    return np.array([first - (next(after) if one.counts["steps"] else first) for one in tuned])


def draw_rows(ids: pl.Series, count: int, seed: Sequence[int]) -> list[str]:
    """Return so many ids, or all, drawn from the seed whatever their order, and sorted."""
    drawn = np.random.default_rng(seed).permutation(len(ids))[:count]
    return ids.sort().gather(np.sort(drawn)).to_list()


@cached(version=VERSION, name="target-losses", wants=ONE_GPU)
def target_losses(
    tuned: Artifact, target: Table, model: ModelSource, max_length: int
) -> pl.DataFrame:
    """Return row_id and loss (nats a response token) of the target examples under a fine-tune."""
    rows = target.read()
    tokenizer = load_tokenizer(model.folder, model.trust)
    messages = conversations(rows)
    examples = build_examples(tokenizer, messages, max_length, judges=model.judges)
    losses = evaluate(load_measured(tuned, model), examples)
    return rows.select("row_id", loss=losses["loss"])


def effect_of(gains: Losses) -> Effect:
    """Return the mean of gains [seeds, examples] with its interval; NaN does not count.

    Raises:
        UserError: no gain is a number.
    """
    gains = gains[:, np.isfinite(gains).all(axis=0)]
    if not gains.size:
        raise UserError(
            "select.trial: after a trial no loss of a target example is a finite number; "
            "models.dtype: float32 may help"
        )
    mean, reach = float(gains.mean()), half_interval(gains)
    if not reach:
        return Effect(round(mean, DECIMALS), None, None)
    return Effect(*(round(value, DECIMALS) for value in (mean, mean - reach, mean + reach)))
