"""Run in LLaMA-Factory's environment: print what its loader makes of an export's recipe, as JSON.

python load_llamafactory.py MODEL_FOLDER      in the folder of the export
"""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import yaml

# Text needs nothing of it, and its builds fit one build of torch each.
audio = ModuleType("torchaudio")
audio.__spec__ = ModuleSpec("torchaudio", None)
sys.modules["torchaudio"] = audio

# ruff: noqa: E402
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from transformers import AutoTokenizer

settings = yaml.safe_load(Path("recipes/llamafactory.yaml").read_text())
# bf16 needs a GPU.
settings |= {"model_name_or_path": sys.argv[1], "bf16": False, "overwrite_cache": True}
model, data, training, tuning, _ = get_train_args(settings)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
template = get_template_and_fix_tokenizer(tokenizer, data)
rows = get_dataset(template, model, data, training, stage="sft", tokenizer=tokenizer)
pairs = []
if Path("sharegpt_preference").is_dir():
    data.dataset_dir = "sharegpt_preference"
    ranked = get_dataset(template, model, data, training, stage="rm", tokenizer=tokenizer)
    pairs = [[r["chosen_labels"], r["rejected_labels"]] for r in ranked["train_dataset"]]
seen = {
    "rows": [[row["input_ids"], row["labels"]] for row in rows["train_dataset"]],
    "pairs": [
        [tokenizer.decode([t for t in labels if t >= 0]) for labels in pair] for pair in pairs
    ],
    "rank": tuning.lora_rank,
    "alpha": tuning.lora_alpha,
    "targets": tuning.lora_target,
    "epochs": training.num_train_epochs,
    "rate": training.learning_rate,
    "schedule": training.lr_scheduler_type.value,
    "batch": training.per_device_train_batch_size,
    "seed": training.seed,
}
Path("loaded.json").write_text(json.dumps(seen))
