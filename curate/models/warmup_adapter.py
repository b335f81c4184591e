"""The adapter that LESS's warm-up ends with, in the form in which the base model takes one on.

    adapter.safetensors    NAME: a matrix of LoRA, as curate.models.lora reads it

So what a brief tuning on a random share of the rows has taught can be measured without another tuning.
"""

from pathlib import Path

from curate.core.calls import cached_files
from curate.core.store import Artifact, Counts
from curate.models.finetune import ADAPTER
from curate.models.lora import save_weights
from curate.models.lora_values import AdapterSettings, WarmupTuning
from curate.models.warmup import read_checkpoint, read_warmup

VERSION = 1
# What peft puts before the names of a model's own weights.
PREFIX = "base_model.model."


@cached_files(version=VERSION, name="less-adapter")
def write_last_adapter(out: Path, warmup: Artifact) -> Counts:
    """Write adapter.safetensors: the weights of the warm-up's last checkpoint."""
    summary = read_warmup(warmup)
    last = read_checkpoint(warmup, len(summary["checkpoints"]) - 1)
    weights = {name.removeprefix(PREFIX): weight for name, weight in last.weight.items()}
    lora: WarmupTuning = summary["lora"]
    adapter = AdapterSettings(rank=lora["rank"], alpha=lora["alpha"], targets=lora["targets"])
    save_weights(weights, out / ADAPTER, adapter)
    return {"steps": last.steps}
