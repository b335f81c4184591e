"""The funnel of a run: from records to the selection, with what leaves at each step and why."""

from dataclasses import dataclass

import polars as pl

from curate.config.names import ABLATION, REHEARSAL
from curate.runs.folder import RunFolder


@dataclass(frozen=True)
class FunnelStep:
    """A step that rows can leave the run at: how many leave, by reason, and how many remain.

    `added` counts the rows that the step makes, which remain after it.
    """

    stage: str
    left: tuple[tuple[str, int], ...]
    remaining: int
    added: int = 0

    @property
    def removed(self) -> int:
        """Return how many rows leave here."""
        return sum(count for _, count in self.left)


@dataclass(frozen=True)
class Funnel:
    """The way from records to the selection; `steps` are reading, stages and selection.

    `generated` rows, those that models wrote, join those that were read before the first stage.
    """

    records: int
    steps: tuple[FunnelStep, ...]
    generated: int = 0

    @property
    def rows(self) -> int:
        """Return how many rows there are before the stages."""
        return self.steps[0].remaining

    @property
    def dropped(self) -> int:
        """Return how many rows the stages dropped."""
        return sum(step.removed for step in self.steps[1:-1])

    @property
    def replaced(self) -> int:
        """Return how many rows the stages made."""
        return sum(step.added for step in self.steps[1:-1])

    @property
    def kept(self) -> int:
        """Return how many rows the selection chose from."""
        return self.steps[-2].remaining

    @property
    def selected(self) -> int:
        """Return how many rows were selected."""
        return self.steps[-1].remaining


def gather_funnel(run: RunFolder) -> Funnel:
    """Return the way from records to the run's selection.

    Raises:
        ValueError: the run's tables contradict each other.
    """
    rejected = _count(run.table("rejects").group_by("reason").len().collect())
    fates = run.table("ledger").group_by("fate", "stage", "reason").len().collect()
    entries = {entry["stage"]: entry for entry in run.manifest["stages"]}
    stages = [stage for stage, e in entries.items() if "dropped" in e and not _is_beside(stage)]
    added = {stage: entries.get(f"joined-{stage}", {}).get("added", 0) for stage in stages}
    rows = int(fates["len"].sum()) - sum(added.values())
    steps = [FunnelStep("pool", rejected, rows)]
    for stage in stages:
        left = _count(fates.filter(fate="dropped", stage=stage))
        remaining = steps[-1].remaining - sum(n for _, n in left) + added[stage]
        steps.append(FunnelStep(stage, left, remaining, added[stage]))
    passed = _count(fates.filter(fate="not_selected"))
    steps.append(FunnelStep("select", passed, int(fates.filter(fate="selected")["len"].sum())))
    generated = entries.get("joined", {}).get("added", 0)
    funnel = Funnel(rows - generated + steps[0].removed, tuple(steps), generated)
    _check_funnel(run, funnel)
    return funnel


def _is_beside(stage: str) -> bool:
    """Return whether a stage judged no row of the pool, or judged anew for an ablation."""
    beside = stage.endswith((f"({ABLATION})", f"({REHEARSAL})"))
    return beside or stage.startswith(f"{REHEARSAL}-")


def _count(groups: pl.DataFrame) -> tuple[tuple[str, int], ...]:
    """Return the reasons of groups with their numbers of rows, `len`, frequent ones first."""
    counted = groups.group_by("reason").agg(pl.col("len").cast(pl.Int64).sum())
    return tuple(counted.sort("len", "reason", descending=[True, False]).iter_rows())


def _check_funnel(run: RunFolder, funnel: Funnel) -> None:
    """Fail if ledger, rejects and manifest count differently: the page would lie."""
    entries = {entry["stage"]: entry for entry in run.manifest["stages"]}
    first, *others = funnel.steps
    checks = [
        ("records", entries["pool"]["rows_in"], funnel.records),
        ("rows read", entries["pool"]["rows_out"], first.remaining - funnel.generated),
        ("rows to choose from", entries["select"]["rows_in"], funnel.kept),
        ("rows chosen", entries["select"]["rows_out"], funnel.selected),
        ("rows kept and not lost", funnel.kept, funnel.selected + funnel.steps[-1].removed),
        *(
            (f"rows after {s.stage}", entries[s.stage]["rows_out"], s.remaining - s.added)
            for s in others
        ),
    ]
    for what, by_manifest, by_ledger in checks:
        if by_manifest != by_ledger:
            raise ValueError(
                f"{run.path} does not add up: {by_manifest} {what} by the manifest, {by_ledger} by "
                "the ledger and the rejects; run `curate run` again to rebuild the run folder"
            )
