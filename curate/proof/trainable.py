"""Which rows of the proof can be learned from and which eval examples scored, before any fine-tune.

Behind the length limit, or where the chat template rewrites it, a response has no label: a row is then
read and teaches nothing, an eval example has no loss.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from curate.core.calls import Counted, Table, cached
from curate.core.keyed import ModelSource
from curate.core.run import StepRun
from curate.core.store import Artifact
from curate.core.turntext import CONVERSATION, conversations
from curate.models.chat import IGNORED, build_examples
from curate.models.load import load_tokenizer, template_source
from curate.models.training import read_messages
from curate.proof.arms import ARMS

VERSION = 1
ARM_NAMES = {
    "selected": "the selection",
    "random_rows": "the control in rows",
    "random_tokens": "the control in tokens",
}
# A larger share of rows or examples without a label is worth a warning.
MANY = 0.05


def count_labels(
    run: StepRun, arms: Table, rows: Table, eval_rows: Table, model: ModelSource, max_length: int
) -> Table:
    """Return how many rows and eval examples have no label for a model.

    Args:
        run: makes what is stored.
        arms: row ids of the arms.
        rows: that these are of.
        eval_rows: the eval set, as the model reads it.
        model: that is tuned.
        max_length: tokens of a row that are trained on.
    """
    return run(labels, rows, arms, eval_rows.artifact, template_source(model), max_length)


@cached(version=VERSION, name="proof-labels")
def labels(
    rows: Table, arms: Table, eval: Artifact, model: ModelSource, max_length: int
) -> Counted[pl.DataFrame]:
    """Return name (an arm, or "eval"), seed, rows, unlabelled."""
    tokenizer = load_tokenizer(model.folder, model.trust)

    def labelled(rows: Sequence[Any]) -> list[bool]:
        examples = build_examples(tokenizer, rows, max_length, judges=model.judges)
        # Nothing predicts the first token of a row.
        return [any(label != IGNORED for label in e.labels[1:]) for e in examples]

    drawn = arms.read(["arm", "seed", "row_id"])
    ids = drawn["row_id"].unique(maintain_order=True).to_list()
    flags = labelled(read_messages([rows], ids))
    table = pl.DataFrame({"row_id": ids, "labelled": flags})
    of_arms = drawn.join(table, on="row_id", how="left").select(
        pl.col("arm").alias("name"), pl.col("seed").cast(pl.Int64), "labelled"
    )
    examples = labelled(conversations(Table(eval, "rows").read(CONVERSATION)))
    held_out = pl.DataFrame({"labelled": examples}).select(
        name=pl.lit("eval"), seed=pl.lit(0, dtype=pl.Int64), labelled="labelled"
    )
    counted = (
        pl.concat([of_arms, held_out])
        .group_by("name", "seed", maintain_order=True)
        .agg(rows=pl.len().cast(pl.Int64), unlabelled=(~pl.col("labelled")).sum().cast(pl.Int64))
    )
    return Counted(counted, {"rows_in": len(ids), "rows_out": sum(flags)})


def label_faults(labels: pl.DataFrame, max_length: int) -> list[str]:
    """Return why the proof cannot measure anything: an arm without a step, no example to score."""
    why = f"within {max_length:,} tokens (prove.lora.max_length)"
    empty = labels.filter(pl.col("rows") == pl.col("unlabelled"))
    faults = [
        f"none of the {rows:,} rows of {ARM_NAMES[arm]} has a response {why}, so nothing "
        "would be trained"
        for arm, rows in empty.select("name", "rows").iter_rows()
        if arm in ARMS
    ]
    faults += [
        f"none of the {rows:,} eval examples has a response {why}"
        for rows in empty.filter(name="eval")["rows"]
    ]
    return list(dict.fromkeys(faults))


def label_sentences(labels: pl.DataFrame, max_length: int) -> list[tuple[str, bool]]:
    """Return what is to be told of rows and examples without a label, and whether these are many."""
    sentences = []
    for name in (*ARMS, "eval"):
        rows, lost = labels.filter(name=name).select("rows", "unlabelled").sum().row(0)
        if lost:
            what = "eval examples have" if name == "eval" else f"rows of {ARM_NAMES[name]} have"
            sentence = (
                f"{lost:,} of {rows:,} {what} no response token within {max_length:,} tokens "
                "(prove.lora.max_length) and count for nothing"
            )
            sentences.append((sentence, lost > MANY * rows))
    return sentences
