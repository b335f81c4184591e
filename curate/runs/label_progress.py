"""What the labels of a run say so far: how many rows are right, and how well the scores tell which."""

from dataclasses import dataclass

import polars as pl

from curate.core.numerals import counted, overlap, percent
from curate.judge.labels import FEWEST
from curate.judge.measures import Auroc, auroc, weighted_share
from curate.runs.folder import RunFolder
from curate.runs.labels import ScoredRows, labels_path, saved_labels, scored_rows


@dataclass(frozen=True)
class ShareEstimate:
    """A share of right rows with its 95 % interval, weighted so that it is that of all rows."""

    value: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """Return it in words."""
        return f"{percent(self.value)} (95 % interval {percent(self.low)} to {percent(self.high)})"


@dataclass(frozen=True)
class LabelProgress:
    """The labels of a run, and what they say of all rows that can be labelled.

    Attributes:
        right: rows labelled right.
        wrong: rows labelled wrong.
        share: of right rows.
        kept: of right rows among those at or above the threshold; None without one.
        auroc: of the scores, of right against wrong rows; None without scores or rows of a kind.
        rows: how they are drawn.
        line: what brings the labels into a recipe.
    """

    right: int
    wrong: int
    share: ShareEstimate | None
    kept: ShareEstimate | None
    auroc: Auroc | None
    rows: ScoredRows
    line: str

    @property
    def count(self) -> int:
        """Return how many rows have a label."""
        return self.right + self.wrong

    @property
    def sentences(self) -> list[str]:
        """Return what the labels say so far."""
        if self.share is None:
            return []
        lines = [f"Of all rows {self.share.words} are right."]
        if self.kept is not None:
            lines.append(
                f"Of those that the stage {self.rows.stage} keeps it is {self.kept.words}."
            )
        if self.auroc is not None and self.auroc.low is not None:
            low, high = overlap(self.auroc.low), overlap(self.auroc.high)
            area = overlap(self.auroc.value)
            lines.append(f"AUROC of its scores: {area} (95 % interval {low} to {high}).")
        return lines

    @property
    def lacking(self) -> str:
        """Return what the stage `confidence` still needs; nothing where there is enough."""
        kinds = {"right": self.right, "wrong": self.wrong}
        few = [
            f"{counted(FEWEST - n, 'more row')} labelled {kind}"
            for kind, n in kinds.items()
            if n < FEWEST
        ]
        return f"The stage confidence needs {' and '.join(few)}." if few else ""


def label_progress(run: RunFolder) -> LabelProgress:
    """Return what the labels of a run say so far.

    Raises:
        UserError: the file of labels is damaged.
    """
    rows, labels = scored_rows(run), saved_labels(run)
    weight = pl.col("weight").fill_null(1.0)
    table = labels.with_columns(weight).join(rows.table, on="row_id", how="inner")
    scored = table.drop_nulls("score")
    area = None
    if scored.height:
        parts = [scored[name].to_numpy() for name in ("score", "correct", "weight")]
        area = auroc(*parts)
    kept = None
    if rows.threshold is not None:
        kept = _share(table.filter(pl.col("score").fill_null(float("inf")) >= rows.threshold))
    right = int(labels["correct"].sum())
    return LabelProgress(
        right,
        labels.height - right,
        _share(table),
        kept,
        area,
        rows,
        f"{{method: confidence, labels: {{path: {labels_path(run)}}}}}",
    )


def _share(labelled: pl.DataFrame) -> ShareEstimate | None:
    if not labelled.height:
        return None
    right, weights = labelled["correct"].to_numpy(), labelled["weight"].to_numpy()
    return ShareEstimate(*weighted_share(right, weights))
