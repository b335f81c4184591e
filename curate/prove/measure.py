"""The metrics of a model on the eval set, apart from its training: another eval set trains nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.prove.adapter import load_measured
from curate.store import Artifact, Counts, Step
from curate.tables import read_table

VERSION = 2


def measure_step(
    eval_rows: Artifact,
    tuned: Artifact | None,
    *,
    max_length: int,
    identity: Mapping[str, Any],
    hints: Mapping[str, Any],
) -> Step:
    """Return the step that measures a fine-tune, or the untuned base model, on the eval set."""
    inputs = {"eval": eval_rows} | ({"tuned": tuned} if tuned else {})
    params = {"max_length": max_length, "model": dict(identity)}
    return Step("measure" if tuned else "base", VERSION, measure, inputs, params, hints)


def measure(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write results.parquet: eval_id, loss (nats a response token), exact, response_tokens."""
    from curate.models import load_tokenizer
    from curate.prove.finetune import evaluate
    from curate.represent.chat import build_examples

    tokenizer = load_tokenizer(Path(hints["folder"]), hints["trust"])
    rows = read_table(inputs["eval"].file("rows.parquet"))
    messages, judges = rows["messages"].to_list(), bool(hints.get("judges"))
    examples = build_examples(tokenizer, messages, params["max_length"], judges=judges)
    model = load_measured(inputs.get("tuned"), params, hints)
    results = evaluate(model, examples).with_columns(eval_id=rows["row_id"])
    results.select("eval_id", "loss", "exact", "response_tokens").write_parquet(
        out / "results.parquet"
    )
    return {"rows_in": rows.height, "rows_out": rows.height}
