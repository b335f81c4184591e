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
from curate.models.preferences import (
    PAIR,
    Preference,
    build_pairs,
    preferences_of,
    read_preferences,
)
from curate.models.training import read_messages
from curate.proof.arms import ARMS
from curate.proof.values import ProofValues, learns_pairs

VERSION = 2
ARM_NAMES = {
    "selected": "the selection",
    "random_rows": "the control in rows",
    "random_tokens": "the control in tokens",
}
# A larger share of rows or examples without a label is worth a warning.
MANY = 0.05


def count_labels(
    run: StepRun,
    arms: Table,
    rows: Table,
    eval_rows: Table,
    model: ModelSource,
    prove: ProofValues,
) -> Table:
    """Return how many rows and eval examples have no label for a model.

    Args:
        run: makes what is stored.
        arms: row ids of the arms.
        rows: that these are of.
        eval_rows: the eval set, as the model reads it.
        model: that is tuned.
        prove: the recipe's settings.
    """
    limit, source = prove["lora"]["max_length"], template_source(model)
    return run(labels, rows, arms, eval_rows.artifact, source, limit, learns_pairs(prove))


@cached(version=VERSION, name="proof-labels")
def labels(
    rows: Table,
    arms: Table,
    eval: Artifact,
    model: ModelSource,
    max_length: int,
    pairs: bool | None = None,
) -> Counted[pl.DataFrame]:
    """Return name (an arm, or "eval"), seed, rows, unlabelled.

    Where pairs are trained on, a row needs labels of two answers that differ, and eval examples that are
    no pairs are not among them.
    """
    drawn = arms.read(["arm", "seed", "row_id"])
    ids = drawn["row_id"].unique(maintain_order=True).to_list()
    flags_of = _labelled_pairs if pairs else _labelled_responses
    flags, examples = flags_of(rows, ids, Table(eval, "rows"), model, max_length)
    table = pl.DataFrame({"row_id": ids, "labelled": flags})
    of_arms = drawn.join(table, on="row_id", how="left").select(
        pl.col("arm").alias("name"), pl.col("seed").cast(pl.Int64), "labelled"
    )
    held_out = pl.DataFrame({"labelled": examples}).select(
        name=pl.lit("eval"), seed=pl.lit(0, dtype=pl.Int64), labelled="labelled"
    )
    counted = (
        pl.concat([of_arms, held_out])
        .group_by("name", "seed", maintain_order=True)
        .agg(rows=pl.len().cast(pl.Int64), unlabelled=(~pl.col("labelled")).sum().cast(pl.Int64))
    )
    return Counted(counted, {"rows_in": len(ids), "rows_out": sum(flags)})


def _labelled_responses(
    rows: Table, row_ids: Sequence[str], eval_rows: Table, model: ModelSource, max_length: int
) -> tuple[list[bool], list[bool]]:
    """Return which rows, and which eval examples, have a response with a label."""
    tokenizer = load_tokenizer(model.folder, model.trust)

    def labelled(rows: Sequence[Any]) -> list[bool]:
        examples = build_examples(tokenizer, rows, max_length, judges=model.judges)
        # Nothing predicts the first token of a row.
        return [any(label != IGNORED for label in e.labels[1:]) for e in examples]

    held_out = conversations(eval_rows.read(CONVERSATION))
    return labelled(read_messages([rows], row_ids)), labelled(held_out)


def _labelled_pairs(
    rows: Table, row_ids: Sequence[str], eval_rows: Table, model: ModelSource, max_length: int
) -> tuple[list[bool], list[bool]]:
    """Return which rows, and which held-out pairs, have a label in both answers."""
    tokenizer = load_tokenizer(model.folder, model.trust)

    def labelled(pairs: Sequence[Preference | None]) -> list[bool]:
        built = build_pairs(tokenizer, pairs, max_length, judges=model.judges)
        return [pair.labelled for pair in built]

    held_out = [pair for pair in preferences_of(eval_rows.read(PAIR)) if pair is not None]
    return labelled(read_preferences([rows], row_ids)), labelled(held_out)


def learned_part(prove: ProofValues) -> str:
    """Return what of a row fine-tunes learn."""
    return "two answers that differ" if "beta" in prove else "a response"


def label_faults(labels: pl.DataFrame, prove: ProofValues) -> list[str]:
    """Return why the proof cannot measure anything: an arm without a step, no example to score."""
    why = f"{learned_part(prove)} within {prove['lora']['max_length']:,} tokens (prove.lora.max_length)"
    empty = labels.filter(pl.col("rows") == pl.col("unlabelled"))
    faults = [
        f"none of the {rows:,} rows of {ARM_NAMES[arm]} has {why}, so nothing would be trained"
        for arm, rows in empty.select("name", "rows").iter_rows()
        if arm in ARMS
    ]
    faults += [
        f"none of the {rows:,} eval examples has {why}"
        for rows in empty.filter(name="eval")["rows"]
    ]
    return list(dict.fromkeys(faults))


def label_sentences(labels: pl.DataFrame, prove: ProofValues) -> list[tuple[str, bool]]:
    """Return what is to be told of rows and examples without a label, and whether these are many."""
    max_length, sentences = prove["lora"]["max_length"], []
    lacking = "no two answers that differ" if "beta" in prove else "no response token"
    for name in (*ARMS, "eval"):
        rows, lost = labels.filter(name=name).select("rows", "unlabelled").sum().row(0)
        if lost:
            what = "eval examples have" if name == "eval" else f"rows of {ARM_NAMES[name]} have"
            sentence = (
                f"{lost:,} of {rows:,} {what} {lacking} within {max_length:,} tokens "
                "(prove.lora.max_length) and count for nothing"
            )
            sentences.append((sentence, lost > MANY * rows))
    return sentences
