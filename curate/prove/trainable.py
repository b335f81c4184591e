"""Which rows of the proof can be learned from and which eval examples scored, before any fine-tune.

Behind the length limit, or where the chat template rewrites it, a response has no label: a row is then
read and teaches nothing, an eval example has no loss.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table
from curate.models.chat import IGNORED, build_examples
from curate.models.load import load_tokenizer, template_of
from curate.models.training import read_messages
from curate.prove.arms import ARMS

VERSION = 1
ARM_NAMES = {
    "selected": "the selection",
    "random_rows": "the control in rows",
    "random_tokens": "the control in tokens",
}
# A larger share of rows or examples without a label is worth a warning.
MANY = 0.05


def trainable_step(
    rows: Artifact,
    arms: Artifact,
    eval_rows: Artifact,
    max_length: int,
    identity: Mapping[str, Any],
    runtime: Mapping[str, Any],
) -> Step:
    """Return the step that counts rows and eval examples without a label."""
    return Step(
        "proof-labels",
        VERSION,
        write_labels,
        {"rows": rows, "arms": arms, "eval": eval_rows},
        {"model": template_of(identity), "max_length": max_length},
        runtime,
    )


def write_labels(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write labels.parquet: name (an arm, or "eval"), seed, rows, unlabelled."""
    tokenizer = load_tokenizer(Path(runtime["folder"]), runtime["trust"])

    def labelled(rows: Sequence[Any]) -> list[bool]:
        judges = bool(runtime.get("judges"))
        examples = build_examples(tokenizer, rows, params["max_length"], judges=judges)
        # Nothing predicts the first token of a row.
        return [any(label != IGNORED for label in e.labels[1:]) for e in examples]

    drawn = read_table(inputs["arms"].file("arms.parquet")).select("arm", "seed", "row_id")
    ids = drawn["row_id"].unique(maintain_order=True).to_list()
    flags = labelled(read_messages(inputs["rows"].file("rows.parquet"), ids))
    table = pl.DataFrame({"row_id": ids, "labelled": flags})
    arms = drawn.join(table, on="row_id", how="left").select(
        pl.col("arm").alias("name"), pl.col("seed").cast(pl.Int64), "labelled"
    )
    examples = labelled(read_table(inputs["eval"].file("rows.parquet"))["messages"].to_list())
    held_out = pl.DataFrame({"labelled": examples}).select(
        name=pl.lit("eval"), seed=pl.lit(0, dtype=pl.Int64), labelled="labelled"
    )
    counted = (
        pl.concat([arms, held_out])
        .group_by("name", "seed", maintain_order=True)
        .agg(rows=pl.len().cast(pl.Int64), unlabelled=(~pl.col("labelled")).sum().cast(pl.Int64))
    )
    counted.write_parquet(out / "labels.parquet")
    return {"rows_in": len(ids), "rows_out": sum(flags)}


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
