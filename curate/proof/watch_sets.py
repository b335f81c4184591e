"""Watch sets as models are measured on them: which rows are read together, and by what.

Sets judged by what one pass over the reference gives (the loss, exact match) share a measurement; one
that takes more of a model (options, written answers) has its own.

rows.parquet    the rows of some of the sets
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.proof.metrics import METRICS, REFUSALS, deciding_metric
from curate.proof.questions import (
    check_measurable,
    count_questions,
    find_questions,
    questions,
)
from curate.proof.training import Training
from curate.proof.values import MetricSetting, WatchSetValues

VERSION = 1
# One example has no variance.
FEWEST = 2


@dataclass(frozen=True)
class WatchInputs:
    """The watch sets of a proof.

    rows: of all sets, as they were given, which must not leak.
    rendered: the rows as the model reads them, where system turns are merged.
    sets: source, margin and metric of each.
    """

    rows: Table
    rendered: Table | None
    sets: Sequence[WatchSetValues]


def watch_trainings(training: Training, watch: WatchInputs) -> list[Training]:
    """Return a proof's training with each group of watch sets in place of the eval set."""
    examples = watch.rendered or watch.rows
    trainings = []
    for group in _groups(watch.sets):
        number, watched = group[0]
        sources = [w["source"] for _, w in group]
        whole = len(group) == len(watch.sets)
        part = examples if whole else training.run(rows, examples, sources)
        setting = written_setting(watched["metric"], part.height)
        options = deciding_metric(setting).needs == "options"
        trainings.append(
            replace(
                training,
                eval_rows=part,
                # Options and tasks are those of the eval set.
                questions=training.run(questions, part) if options else None,
                tasks=(),
                # They are no pairs.
                beta=None,
                metric=setting if isinstance(setting, Mapping) else "loss",
                key=metric_key(number),
            )
        )
    return trainings


def written_setting(setting: MetricSetting, examples: int) -> MetricSetting:
    """Return a set's metric as a proof has it: refusals are looked for in answers to all examples."""
    return {"refusal": True, "examples": examples} if setting == REFUSALS.name else setting


def check_set(number: int, watched: WatchSetValues, rows: pl.DataFrame) -> None:
    """Check that a watch set can be judged by its metric.

    Args:
        number: its place in the recipe.
        watched: its source and metric.
        rows: of the set.

    Raises:
        UserError: it has too few examples, or none that the metric can be measured on.
    """
    if rows.height < FEWEST:
        raise UserError(
            f"prove.watch.{number}: the set {watched['source']!r} has {rows.height} example"
            f"{'' if rows.height == 1 else 's'}; a verdict takes {FEWEST} or more"
        )
    metric = deciding_metric(watched["metric"])
    if metric.needs is not None:
        counts = count_questions(find_questions(rows, None))
        check_measurable(metric, counts, metric_key(number), f"the watch set {watched['source']!r}")


def metric_key(number: int) -> str:
    """Return the recipe's key of a watch set's metric."""
    return f"prove.watch.{number}.metric"


def _groups(
    sets: Sequence[WatchSetValues],
) -> Iterator[list[tuple[int, WatchSetValues]]]:
    """Yield the sets that are measured together, each with its place in the recipe."""
    shared = [pair for pair in enumerate(sets) if _is_shared(pair[1]["metric"])]
    yield from [shared] if shared else []
    yield from ([pair] for pair in enumerate(sets) if not _is_shared(pair[1]["metric"]))


def _is_shared(setting: MetricSetting) -> bool:
    if isinstance(setting, Mapping) or setting == REFUSALS.name:
        return False
    return METRICS[setting].needs != "options"


@cached(version=VERSION, name="watch-part")
def rows(watch: Table, sources: Sequence[str]) -> Counted[pl.DataFrame]:
    """Return the rows of some sources."""
    examples = watch.read()
    part = examples.filter(pl.col("source").is_in(sources))
    return Counted(part, {"rows_in": examples.height})
