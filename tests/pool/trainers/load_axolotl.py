"""Run in Axolotl's environment: print what it makes of an export's recipe, as JSON.

python load_axolotl.py MODEL_FOLDER      in the folder of the export
"""

import json
import sys
from pathlib import Path

import yaml
from axolotl.prompt_strategies import load as load_strategy
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from datasets import load_dataset
from transformers import AutoTokenizer

settings = yaml.safe_load(Path("recipes/axolotl.yaml").read_text())
settings["base_model"] = sys.argv[1]
config = AxolotlInputConfig.model_validate(settings).model_dump(exclude_none=True)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
[source] = config["datasets"]
strategy = load_strategy(source["type"], tokenizer, DictDefault(config), DictDefault(source))
lines = load_dataset(source["ds_type"], data_files=source["path"], split="train")
rows = [strategy.tokenize_prompt(line) for line in lines]
seen = {"rows": [[row["input_ids"], row["labels"]] for row in rows], "config": config}
Path("loaded.json").write_text(json.dumps(seen, default=str))
