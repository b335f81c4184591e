"""A brief LoRA fine-tune on preference pairs, by direct preference optimisation (curate.models.dpo).

Adapters, optimizer, schedule and batches are those of a fine-tune on responses (curate.models.finetune);
a batch has `batch_rows` pairs. The reference is the model without adapters, read once before the first
step.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from curate.core.calls import cached_files
from curate.core.keyed import ModelSource
from curate.core.store import Counts
from curate.core.wants import ONE_GPU
from curate.models.dpo import ReferencedPair, accumulate_preferences, answer_likelihoods
from curate.models.finetune import ADAPTER
from curate.models.load import load_tokenizer
from curate.models.lora import add_adapters, save_adapter
from curate.models.lora_values import LoraValues
from curate.models.preferences import PairRows, build_pairs
from curate.models.training import tune_by
from curate.models.weights import adaptable_model

VERSION = 2


@cached_files(version=VERSION, name="finetune-pairs", wants=ONE_GPU)
def finetune_pairs(
    out: Path,
    pairs: PairRows,
    lora: LoraValues,
    beta: float,
    seed: Sequence[int],
    model: ModelSource,
) -> Counts:
    """Write adapter.safetensors: the LoRA weights; none without a pair to learn from.

    Args:
        out: the folder.
        pairs: to learn; a row without a rejected answer, or none within the limit, teaches nothing.
        lora: the settings.
        beta: of the loss.
        seed: of adapters and order.
        model: to tune, which is the reference too.

    Raises:
        FloatingPointError: the training diverges.
    """
    tokenizer = load_tokenizer(model.folder, model.trust)
    built = build_pairs(tokenizer, pairs.preferences(), lora["max_length"], judges=model.judges)
    tuned = adaptable_model(model.folder, model.dtype, model.trust)
    likelihoods = answer_likelihoods(tuned, built)
    rows = list(map(ReferencedPair, built, (likelihoods[:, 0] - likelihoods[:, 1]).tolist()))
    adapted = add_adapters(tuned, lora, "all-linear", seed)
    losses = tune_by(adapted, rows, lora, seed, partial(accumulate_preferences, beta=beta))
    if losses:
        save_adapter(tuned, out / ADAPTER, rank=lora["rank"], alpha=lora["alpha"])
    tokens = [len(p.chosen.ids) + len(p.rejected.ids) for p in built if p.labelled]
    return {
        "rows_in": len(built),
        "rows_out": len(tokens),
        "tokens": sum(tokens),
        "steps": len(losses),
        "train_loss": [round(loss, 4) for loss in losses],
    }
