"""Run in MLX's environment: print what mlx_lm makes of an export's recipe, as JSON.

python load_mlx.py MODEL_FOLDER      in the folder of the export
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import mlx.optimizers as optimizers
import yaml
from mlx_lm.lora import CONFIG_DEFAULTS
from mlx_lm.tuner.datasets import load_dataset
from mlx_lm.tuner.utils import build_schedule
from transformers import AutoTokenizer

settings = yaml.safe_load(Path("recipes/mlx.yaml").read_text())
assert settings.keys() <= CONFIG_DEFAULTS.keys() | {"hf_dataset"}
config = SimpleNamespace(**CONFIG_DEFAULTS | settings)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
train, valid, _ = load_dataset(config, tokenizer)
schedule = build_schedule(config.lr_schedule)
optimizers.AdamW(learning_rate=schedule, **config.optimizer_config["adamw"])
seen = {
    "rows": [train.process(train[i]) for i in range(len(train))],
    "valid": len(valid),
    "rates": [float(schedule(step)) for step in range(config.iters + 1)],
}
Path("loaded.json").write_text(json.dumps(seen))
