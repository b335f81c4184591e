"""LoRA adapters of a model: added to it, initialised from a seed, saved, and put back."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from curate.core.lazy import lazy_module
from curate.models.lora_values import AdapterSettings, AdapterValues

if TYPE_CHECKING:
    import peft
    import safetensors.torch as safetensors_torch
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel
else:
    peft = lazy_module("peft")
    safetensors_torch = lazy_module("safetensors.torch")
    torch = lazy_module("torch")


def save_adapter(model: Any, path: Path, *, rank: int, alpha: int) -> None:
    """Write the LoRA weights of a model that `train_lora` has tuned in place."""
    weights = {name: w.detach().cpu() for name, w in model.named_parameters() if "lora_" in name}
    save_weights(weights, path, {"rank": rank, "alpha": alpha})


def save_weights(
    weights: "Mapping[str, torch.Tensor]", path: Path, adapter: AdapterSettings
) -> None:
    """Write LoRA weights by name, and the settings of the adapter."""
    # One entry: several are written in another order by every process.
    safetensors_torch.save_file(dict(weights), path, {"lora": json.dumps(adapter)})


def read_adapter(path: Path) -> tuple[AdapterSettings, dict[str, Any]]:
    """Return the settings and the weights by name of a saved adapter."""
    with safe_open(path, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["lora"]), weights


def attach_adapter(model: Any, path: Path) -> Any:
    """Put saved LoRA weights on a fresh base model; return the model of peft around it.

    They stay beside the weights of the model: added into bfloat16 ones, most of a brief tuning would
    be rounded away.
    """
    lora, weights = read_adapter(path)
    tuned = add_adapters(model, lora, lora.get("targets", "all-linear"), seed=[0])
    set_adapters(model, weights)
    return tuned


def add_adapters(
    model: "PreTrainedModel",
    lora: AdapterValues,
    targets: str | Sequence[str],
    seed: Sequence[int],
) -> "PeftModel":
    """Return the model with fresh LoRA adapters, put into it in place; only they are trainable.

    Args:
        model: a language model without adapters.
        lora: `rank` and `alpha`.
        targets: names of the adapted layers, as peft takes them.
        seed: of the A matrices.
    """
    names = targets if isinstance(targets, str) else list(targets)
    config = peft.LoraConfig(
        r=lora["rank"], lora_alpha=lora["alpha"], target_modules=names, lora_dropout=0.0
    )
    tuned = peft.get_peft_model(model, config)
    initialise_adapters(tuned, seed)
    return tuned


def initialise_adapters(model: Any, seed: Sequence[int], adapter: str = "default") -> None:
    """Draw an adapter's A matrices from the seed (B stays zero), whatever the global generator holds."""
    state = np.random.SeedSequence([*seed, 0x10AA]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    for name, weight in sorted(model.named_parameters()):
        if f"lora_A.{adapter}" in name:
            bound = 1 / math.sqrt(weight.shape[1])
            fresh = torch.empty(weight.shape).uniform_(-bound, bound, generator=generator)
            weight.data.copy_(fresh)


def set_adapters(tuned: Any, weights: "Mapping[str, torch.Tensor]") -> None:
    """Give the adapters the weights of a checkpoint, by name.

    Raises:
        ValueError: names or shapes differ.
    """
    own = {name: weight for name, weight in tuned.named_parameters() if "lora_" in name}
    if own.keys() != weights.keys():
        raise ValueError(f"adapters differ: {sorted(own.keys() ^ weights.keys())[:4]}")
    for name, weight in own.items():
        if weight.shape != weights[name].shape:
            raise ValueError(f"{name}: {tuple(weights[name].shape)} is not {tuple(weight.shape)}")
        weight.data.copy_(weights[name])
