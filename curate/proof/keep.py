"""A LoRA adapter in the form of peft: adapter_model.safetensors and adapter_config.json.

The store keeps the adapter of a fine-tune as `model.layers.0.self_attn.q_proj.lora_A.default.weight`,
with rank and alpha in the file's header; peft and vLLM read
`base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` and a file of settings beside it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from curate.core.lazy import lazy_module
from curate.core.store import write_json
from curate.models.lora import read_adapter

if TYPE_CHECKING:
    import peft
    import safetensors.torch as safetensors_torch
else:
    peft = lazy_module("peft")
    safetensors_torch = lazy_module("safetensors.torch")

ADAPTER_FOLDER = "adapter"


def write_peft_adapter(adapter: Path, folder: Path) -> None:
    """Write a stored adapter as a folder that `peft.PeftModel.from_pretrained` loads.

    Args:
        adapter: what curate.models.lora.save_adapter has written.
        folder: made anew.
    """
    settings, weights = read_adapter(adapter)
    layers = sorted({name.split(".lora_")[0].rsplit(".", 1)[-1] for name in weights})
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=0.0,
        target_modules=layers,
        inference_mode=True,
    )
    folder.mkdir()
    renamed = {
        f"base_model.model.{name.replace('.default.', '.')}": weight
        for name, weight in weights.items()
    }
    safetensors_torch.save_file(renamed, folder / "adapter_model.safetensors", {"format": "pt"})
    # A set in the settings, whose order would change from run to run.
    write_json(folder / "adapter_config.json", config.to_dict() | {"target_modules": layers})
