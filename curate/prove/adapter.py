"""A brief LoRA fine-tune whose weights are kept: the proof's training, for another step to load."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.store import Counts

ADAPTER = "adapter.safetensors"


def learn_adapter(
    path: Path, params: Mapping[str, Any], hints: Mapping[str, Any], seed: Sequence[int]
) -> Counts:
    """Tune the base model on rows and write its LoRA weights; nothing is written without a response.

    Args:
        path: of the safetensors file.
        params: `lora` and `model`, as curate.prove.finetune takes them.
        hints: `folder` and `trust` of the model, `rows` and `row_ids` to learn.
        seed: of adapters and order.

    Returns:
        Counts; `steps` is 0 where no row has a response within the length limit.

    Raises:
        FloatingPointError: the training diverges.
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
    losses = train_lora(model, examples, lora, seed)
    if losses:
        save_adapter(model, path, rank=lora["rank"], alpha=lora["alpha"])
    return {
        "rows_in": len(examples),
        "rows_out": len(examples),
        "tokens": sum(len(example.ids) for example in examples),
        "steps": len(losses),
        "train_loss": [round(loss, 4) for loss in losses],
    }
