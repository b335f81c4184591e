"""A brief LoRA fine-tune and the losses of the tuned model on the eval set.

LoRA: Hu et al. 2021, arXiv:2106.09685, on all linear layers, AdamW, linear decay after a warm-up of
5 % of the steps, no dropout, loss on the responses only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.core.calls import cached_files
from curate.core.keyed import ModelSource
from curate.core.store import Artifact, Counts
from curate.core.wants import ONE_GPU
from curate.models.chat import build_examples
from curate.models.load import load_tokenizer
from curate.models.lora import attach_adapter, save_adapter
from curate.models.lora_values import LoraValues
from curate.models.training import TrainingRows, train_lora
from curate.models.weights import adaptable_model

VERSION = 5
ADAPTER = "adapter.safetensors"


@cached_files(version=VERSION, name="finetune", wants=ONE_GPU)
def finetune(
    out: Path,
    texts: TrainingRows,
    lora: LoraValues,
    seed: Sequence[int],
    model: ModelSource,
    start: Artifact | None = None,
) -> Counts:
    """Write adapter.safetensors: the LoRA weights; none without a response to learn from.

    Neither target nor eval set is known to it. `start` is a fine-tune to go on from.
    """
    adapter = start.file(ADAPTER) if start and ADAPTER in start.files else None
    return learn_adapter(out / ADAPTER, texts, model, lora, seed, adapter)


def learn_adapter(
    path: Path,
    rows: TrainingRows,
    model: ModelSource,
    lora: LoraValues,
    seed: Sequence[int],
    start: Path | None = None,
) -> Counts:
    """Tune a model on rows and write its LoRA weights; nothing is written without a response.

    Args:
        path: of the safetensors file.
        rows: to learn.
        model: to tune.
        lora: the settings.
        seed: of adapters and order.
        start: the adapter of an earlier fine-tune to go on from.

    Returns:
        Counts; `steps` is 0 where no row has a response within the length limit.

    Raises:
        FloatingPointError: the training diverges.
    """
    tokenizer = load_tokenizer(model.folder, model.trust)
    examples = build_examples(tokenizer, rows.messages(), lora["max_length"], judges=model.judges)
    tuned = adaptable_model(model.folder, model.dtype, model.trust)
    losses = train_lora(tuned, examples, lora, seed, start)
    if losses:
        save_adapter(tuned, path, rank=lora["rank"], alpha=lora["alpha"])
    return {
        "rows_in": len(examples),
        "rows_out": len(examples),
        "tokens": sum(len(example.ids) for example in examples),
        "steps": len(losses),
        "train_loss": [round(loss, 4) for loss in losses],
    }


def load_measured(tuned: Artifact | None, model: ModelSource) -> Any:
    """Return a model with a fine-tune's adapter on it, for reading and writing.

    Args:
        tuned: the fine-tune; None, or one that learned nothing, leaves the model as it is.
        model: that was tuned.
    """
    loaded = adaptable_model(model.folder, model.dtype, model.trust)
    if tuned is not None and ADAPTER in tuned.files:
        attach_adapter(loaded, tuned.file(ADAPTER))
    return loaded.eval()
