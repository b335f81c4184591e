"""A brief LoRA fine-tune whose weights are kept: the proof's training, for another step to load."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.store import Artifact, Counts

ADAPTER = "adapter.safetensors"


def learn_adapter(
    path: Path,
    params: Mapping[str, Any],
    runtime: Mapping[str, Any],
    seed: Sequence[int],
    start: Path | None = None,
) -> Counts:
    """Tune the base model on rows and write its LoRA weights; nothing is written without a response.

    Args:
        path: of the safetensors file.
        params: `lora` and `model`, as curate.prove.finetune takes them.
        runtime: `folder` and `trust` of the model, `rows` (a table or several) and `row_ids` to learn.
        seed: of adapters and order.
        start: the adapter of an earlier fine-tune to go on from.

    Returns:
        Counts; `steps` is 0 where no row has a response within the length limit.

    Raises:
        FloatingPointError: the training diverges.
    """
    from curate.models import load_causal, load_tokenizer
    from curate.prove.finetune import read_messages, train_lora
    from curate.represent.chat import build_examples
    from curate.represent.losses import save_adapter

    folder, lora = Path(runtime["folder"]), params["lora"]
    tokenizer = load_tokenizer(folder, runtime["trust"])
    tables = [runtime["rows"]] if isinstance(runtime["rows"], str) else runtime["rows"]
    messages = read_messages([Path(table) for table in tables], runtime["row_ids"])
    judges = bool(runtime.get("judges"))
    examples = build_examples(tokenizer, messages, lora["max_length"], judges=judges)
    model = load_causal(folder, params["model"]["dtype"], runtime["trust"])
    losses = train_lora(model, examples, lora, seed, start)
    if losses:
        save_adapter(model, path, rank=lora["rank"], alpha=lora["alpha"])
    return {
        "rows_in": len(examples),
        "rows_out": len(examples),
        "tokens": sum(len(example.ids) for example in examples),
        "steps": len(losses),
        "train_loss": [round(loss, 4) for loss in losses],
    }


def load_measured(
    tuned: Artifact | None, params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Any:
    """Return the base model with a fine-tune's adapter on it, for reading and writing.

    Args:
        tuned: the fine-tune; None, or one that learned nothing, leaves the base model as it is.
        params: `model` and its dtype.
        runtime: `folder` and `trust` of the model.
    """
    from curate.models import load_causal
    from curate.represent.losses import attach_adapter

    model = load_causal(Path(runtime["folder"]), params["model"]["dtype"], runtime["trust"])
    if tuned is not None and ADAPTER in tuned.files:
        attach_adapter(model, tuned.file(ADAPTER))
    return model.eval()
