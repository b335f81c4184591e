"""A brief LoRA fine-tune and the losses of the tuned model on the eval set.

LoRA: Hu et al. 2021, arXiv:2106.09685, on all linear layers, AdamW, linear decay after a warm-up of
5 % of the steps, no dropout, loss on the responses only.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.core.store import Artifact, Counts, Step
from curate.models.chat import build_examples
from curate.models.load import load_causal, load_tokenizer
from curate.models.lora import attach_adapter, save_adapter
from curate.models.training import read_messages, train_lora

VERSION = 5


def finetune_step(
    row_ids: Sequence[str],
    texts: str,
    *,
    lora: Mapping[str, Any],
    seed: Sequence[int],
    identity: Mapping[str, Any],
    runtime: Mapping[str, Any],
    start: Artifact | None = None,
) -> Step:
    """Return the step that tunes on these rows; its key knows neither target nor eval set.

    `texts` is a digest of the rows' exact texts in order. `start` is a fine-tune to go on from.
    """
    return Step(
        "finetune",
        VERSION,
        finetune,
        {"start": start} if start else {},
        {"texts": texts, "lora": dict(lora), "seed": list(seed), "model": dict(identity)},
        {**runtime, "row_ids": list(row_ids)},
    )


def finetune(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write adapter.safetensors: the LoRA weights; none without a response to learn from."""
    pass

    first = inputs.get("start")
    start = first.file(ADAPTER) if first and ADAPTER in first.files else None
    return learn_adapter(out / ADAPTER, params, runtime, params["seed"], start)


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
        params: `lora` and `model`, as curate.models.finetune takes them.
        runtime: `folder` and `trust` of the model, `rows` (a table or several) and `row_ids` to learn.
        seed: of adapters and order.
        start: the adapter of an earlier fine-tune to go on from.

    Returns:
        Counts; `steps` is 0 where no row has a response within the length limit.

    Raises:
        FloatingPointError: the training diverges.
    """
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
    model = load_causal(Path(runtime["folder"]), params["model"]["dtype"], runtime["trust"])
    if tuned is not None and ADAPTER in tuned.files:
        attach_adapter(model, tuned.file(ADAPTER))
    return model.eval()
