"""A brief LoRA fine-tune of the base model on rows that a stage trusts; its weights alone are kept.

The proof's settings (curate.prove.finetune). Cost: `epochs` training passes over the rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from curate.errors import UserError
from curate.registry import Params, StepRun
from curate.store import Artifact, Counts, Step, digest_of

VERSION = 1
ADAPTER = "adapter.safetensors"
LORA = {"rank": 16, "alpha": 32, "batch_rows": 8}


class TuneParams(Params):
    """A brief LoRA fine-tune."""

    epochs: int = Field(2, gt=0)
    learning_rate: float = Field(5e-4, gt=0)
    max_length: int = Field(1024, gt=0, description="tokens; longer rows are cut at the end")


def tune_step(
    run: StepRun, name: str, rows: Artifact, ids: Sequence[str], params: TuneParams
) -> Step:
    """Return the step that tunes the base model on these rows of an artifact; it writes ADAPTER."""
    from curate.prove import finetune

    path = rows.file("rows.parquet")
    told = {
        "texts": digest_of(finetune.read_messages(path, ids)),
        "model": run.model_identity(),
        "lora": LORA | params.model_dump(),
        "seed": run.seed,
        "finetune": finetune.VERSION,
    }
    hints = {**run.model_hints(), "rows": str(path), "row_ids": list(ids)}
    return Step(name, VERSION, tune_rows, params=told, hints=hints)


def tune_rows(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write adapter.safetensors.

    Raises:
        UserError: there is nothing to learn, or the training diverges.
    """
    from curate.models import load_causal, load_tokenizer
    from curate.prove.finetune import read_messages, train_lora
    from curate.represent.chat import build_example
    from curate.represent.losses import save_adapter

    folder, lora = Path(hints["folder"]), params["lora"]
    tokenizer = load_tokenizer(folder, hints["trust"])
    messages = read_messages(Path(hints["rows"]), hints["row_ids"])
    examples = [build_example(tokenizer, turns, lora["max_length"]) for turns in messages]
    model = load_causal(folder, params["model"]["dtype"], hints["trust"])
    try:
        losses = train_lora(model, examples, lora, [params["seed"]])
    except FloatingPointError as error:
        raise UserError(
            f"the fine-tune diverged; lower tune.learning_rate (now {lora['learning_rate']:g})"
        ) from error
    if not losses:
        raise UserError(
            f"no row has a response within {lora['max_length']} tokens; raise tune.max_length"
        )
    save_adapter(model, out / ADAPTER, rank=lora["rank"], alpha=lora["alpha"])
    return {
        "rows_in": len(examples),
        "rows_out": len(examples),
        "tokens": sum(len(example.ids) for example in examples),
        "train_loss": [round(loss, 4) for loss in losses],
    }
