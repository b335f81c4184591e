"""A scoring checkpoint adapted to a user's labels, and what that did to rows held out."""

from pathlib import Path

import polars as pl
from pydantic import Field

from curate.core.calls import Table, cached
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.numerals import counted, significant
from curate.core.params import Params
from curate.core.run import StepRun
from curate.core.stageinputs import StageInputs
from curate.judge.calibration import deal_folds
from curate.judge.labels import label_survivors
from curate.judge.measures import auroc
from curate.models.adapting import adapt
from curate.models.load import find_model
from curate.models.modelsource import model_source
from curate.models.ratings import RatingParams, find_output
from curate.models.training import training_rows

VERSION = 1
# Of five folds, dealt by the rows' ids, one is held out.
HELD_OUT = 0
CHECK = "check"
SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "rows": pl.Int64(),
        "wrong": pl.Int64(),
        "auroc": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
    }
)


class AdaptParams(Params):
    """How a scoring checkpoint is tuned on labelled rows."""

    epochs: int = Field(3, gt=0, description="passes over the labelled rows")
    learning_rate: float = Field(2e-5, gt=0, description="the highest; it falls to zero by a line")


def adapt_to_labels(
    run: StepRun, data: StageInputs, labels: Path, rating: RatingParams, params: AdaptParams
) -> tuple[ModelSource, Table]:
    """Return the checkpoint tuned on four fifths of the labelled rows, and all labels.

    Raises:
        UserError: the labels or the checkpoint are at fault, or none of a kind is to be learned from.
    """
    table = label_survivors(run, data, labels)
    model = model_source(find_model(rating.model), "float32")
    output = find_output(model.folder, rating.model, rating.label, "scorer")
    labelled = table.read()
    learned = labelled.filter(~held_out(labelled["row_id"]))
    if learned["correct"].n_unique() < 2:
        raise UserError(f"{labels}: the rows to be tuned on are all right or all wrong; label more")
    texts = training_rows([data.rows], learned["row_id"].to_list())
    tuned = run(
        adapt,
        texts,
        learned["correct"].to_list(),
        model,
        output,
        rating.max_length,
        params.epochs,
        params.learning_rate,
        run.seed,
    )
    return ModelSource(
        {**model.identity, "adapted": tuned.digest}, tuned.path, reads=(tuned,)
    ), table


def held_out(ids: pl.Series) -> pl.Series:
    """Return which labelled rows are kept for the check."""
    return pl.Series(deal_folds(ids.to_list()) == HELD_OUT)


@cached(version=VERSION, name="adapted-check")
def check_held_out(labels: Table, before: Table, after: Table) -> pl.DataFrame:
    """Return how well the scores tell right held-out rows from wrong ones, before and after.

    Args:
        labels: row_id, correct, and weight where rows were not drawn alike.
        before: row_id and score by the checkpoint as it was.
        after: row_id and score by the tuned one.
    """
    table = labels.read()
    rest = table.filter(held_out(table["row_id"]))
    lines = []
    for name, scores in (("before", before), ("after", after)):
        scored = rest.join(scores.read(), on="row_id", how="left", maintain_order="left")
        right = scored["correct"].to_numpy()
        weights = scored["weight"].to_numpy() if "weight" in scored.columns else None
        area = auroc(scored["score"].cast(pl.Float64).to_numpy(), right, weights)
        line = {"model": name, "rows": len(right), "wrong": int((~right).sum())}
        lines.append(line | (vars(area) | {"auroc": area.value} if area else {}))
    return pl.DataFrame(lines, schema=SCHEMA)


def check_sentence(check: pl.DataFrame) -> str:
    """Return what tuning did to the held-out rows, in a sentence."""
    before, after = check.iter_rows(named=True)
    if after["auroc"] is None:
        rows = f"{counted(after['rows'], 'labelled row')} aside from that, {after['wrong']} wrong"
        return f" It was tuned on labels. {rows}: too few of a kind to say what the tuning did."
    rows = f"{after['rows']} labelled rows that it was not tuned on, {after['wrong']} of them wrong"
    interval = (
        ""
        if after["low"] is None
        else (f" [{significant(after['low'])}, {significant(after['high'])}]")
    )
    return (
        f" It was tuned on labels. AUROC of the {rows}: {significant(after['auroc'])}{interval}, before "
        f"the tuning {significant(before['auroc'])}."
    )
