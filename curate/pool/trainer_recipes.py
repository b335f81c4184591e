"""Recipes of trainers beside the data: scripts and settings with which they train as the proof does.

recipes/sft_trl.py            TRL; its labels are those of the proof, token by token
recipes/axolotl.yaml          Axolotl, on `messages`
recipes/mlx.yaml              MLX, on `messages`
recipes/llamafactory.yaml     LLaMA-Factory, on `sharegpt` or `alpaca`
recipes/chat_template.jinja   the template that the proof renders rows with
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TypedDict

import yaml
from jinja2 import Environment, PackageLoader

from curate.core.jsontypes import JSON
from curate.pool.datafiles import pattern_of
from curate.pool.llamafactory import DATASET
from curate.pool.splits import VALIDATION

FOLDER = "recipes"
TEMPLATE = f"{FOLDER}/chat_template.jinja"
FilesByFormat = Mapping[str, list[Path]]


class TrainerParams(TypedDict):
    """How a proof trains; what a trainer's recipe tells.

    base: the model's name on the hub, or its folder.
    warmup: the share of the steps in which the learning rate rises.
    template: the chat template that rows are rendered with; None if no model was read.
    proved: whether a proof trained with these settings; else they are its defaults.
    phased: whether rows are trained on in their order, for a curriculum; a proof shuffles them.
    """

    base: str
    dtype: str
    trust_remote_code: bool
    template: str | None
    proved: bool
    phased: bool
    seed: int
    rank: int
    alpha: int
    epochs: int
    learning_rate: float
    warmup: float
    batch_rows: int
    max_length: int


def write_trainer_recipes(
    out: Path, files: FilesByFormat, sizes: Mapping[str, int], params: TrainerParams
) -> list[Path]:
    """Write the recipes for the formats that were exported; return their files.

    Args:
        out: the export's folder.
        files: the files of each format, lines first.
        sizes: how many rows each split has.
        params: how the proof trains.
    """
    texts: dict[str, str] = {}
    for name in ("prompt_completion", "messages"):
        if files.get(name):
            table = pattern_of(_place(out, files[name][1]))
            texts["sft_trl.py"] = _trl_script(table, params)
    if messages := files.get("messages"):
        data = _place(out, messages[0])
        texts["axolotl.yaml"] = _settings(AXOLOTL, _axolotl(data, params), params)
        mlx = _mlx(_tables(out, messages), sizes, params)
        texts["mlx.yaml"] = _settings(MLX, mlx, params)
    for name in ("alpaca", "sharegpt"):
        if files.get(name):
            texts["llamafactory.yaml"] = _settings(
                LLAMA_FACTORY, _llamafactory(name, params), params
            )
    if texts and params["template"]:
        texts["chat_template.jinja"] = params["template"]
    return [_write(out / FOLDER / name, text) for name, text in texts.items()]


TRL = "sft_trl.py.jinja"
AXOLOTL = """\
axolotl train recipes/axolotl.yaml     in the folder of the export
Answers of weight other than 0 are trained on up to their end marks, as in the proof."""
MLX = """\
mlx_lm.lora --config recipes/mlx.yaml  in the folder of the export; needs mlx-lm and datasets
The last answer of a row is trained on, with the white space behind its end mark; the proof trains on
all answers. Without a validation split, the rows of the validation loss are rows that it trains on.
Rows are shuffled, phases of a curriculum as well."""
LLAMA_FACTORY = """\
llamafactory-cli train recipes/llamafactory.yaml     in the folder of the export
All answers are trained on, also those of weight 0, with the white space behind their end marks. Turns
are encoded one by one, which gives other tokens where an answer opens with white space. Rows longer
than cutoff_len are cut in prompt and answer, where the proof cuts them at the end. The chat template is
what LLaMA-Factory reads out of the tokenizer's: look at the row that it prints before a long run. bf16
needs a device that computes in it."""


def _purpose(params: TrainerParams) -> str:
    settings = (
        "with the settings of the proof"
        if params["proved"]
        else "with the settings of a proof; none was run"
    )
    return settings + ("; phase by phase, where a proof shuffles" if params["phased"] else "")


def _trl_script(data: str, params: TrainerParams) -> str:
    environment = Environment(
        loader=PackageLoader("curate.pool", "trainer_templates"),
        autoescape=False,
        keep_trailing_newline=True,
    )
    environment.filters["pyrepr"] = repr
    values = {**params, "template": TEMPLATE, "data": data, "purpose": _purpose(params)}
    return environment.get_template(TRL).render(values)


def _settings(head: str, settings: Mapping[str, JSON], params: TrainerParams) -> str:
    """Return a settings file; its head says how to run it and what holds."""
    lines = [f"# Fine-tune the base model on these rows, {_purpose(params)}.", *head.splitlines()]
    comment = "\n".join(line if line.startswith("#") else f"# {line}" for line in lines)
    return f"{comment}\n{yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)}"


def _axolotl(data: str, params: TrainerParams) -> dict[str, JSON]:
    template = {"chat_template": "tokenizer_default"}
    if params["template"]:
        template = {"chat_template": "jinja", "chat_template_jinja": params["template"]}
    return {
        "base_model": params["base"],
        "trust_remote_code": params["trust_remote_code"],
        "datasets": [
            {
                "path": data,
                "ds_type": "json",
                "type": "chat_template",
                "field_messages": "messages",
                "message_field_training": "weight",
                "roles_to_train": ["assistant"],
                "train_on_eos": "turn",
            }
        ],
        **template,
        "adapter": "lora",
        "lora_r": params["rank"],
        "lora_alpha": params["alpha"],
        "lora_dropout": 0.0,
        "lora_target_linear": True,
        "sequence_len": params["max_length"],
        "sample_packing": False,
        "micro_batch_size": params["batch_rows"],
        "gradient_accumulation_steps": 1,
        "num_epochs": params["epochs"],
        "optimizer": "adamw_torch",
        "learning_rate": params["learning_rate"],
        "lr_scheduler": "linear",
        "warmup_ratio": params["warmup"],
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "train_on_inputs": False,
        "val_set_size": 0.0,
        **({"curriculum_sampling": True} if params["phased"] else {}),
        "seed": params["seed"],
        "bf16": {"bfloat16": True, "float32": False}.get(params["dtype"], "auto"),
        "output_dir": "tuned",
    }


def _llamafactory(format_name: str, params: TrainerParams) -> dict[str, JSON]:
    return {
        "model_name_or_path": params["base"],
        "trust_remote_code": params["trust_remote_code"],
        "stage": "sft",
        "do_train": True,
        "dataset_dir": format_name,
        "dataset": DATASET,
        "cutoff_len": params["max_length"],
        "train_on_prompt": False,
        **({"disable_shuffling": True} if params["phased"] else {}),
        "mask_history": False,
        "packing": False,
        "finetuning_type": "lora",
        "lora_rank": params["rank"],
        "lora_alpha": params["alpha"],
        "lora_dropout": 0.0,
        "lora_target": "all",
        "per_device_train_batch_size": params["batch_rows"],
        "gradient_accumulation_steps": 1,
        "num_train_epochs": float(params["epochs"]),
        "learning_rate": params["learning_rate"],
        "lr_scheduler_type": "linear",
        "warmup_ratio": params["warmup"],
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch",
        "seed": params["seed"],
        "bf16": params["dtype"] != "float32",
        "report_to": "none",
        "output_dir": "tuned",
    }


def _mlx(data: JSON, sizes: Mapping[str, int], params: TrainerParams) -> dict[str, JSON]:
    rows, some = sizes["train"], f"train[:{min(sizes['train'], params['batch_rows'])}]"
    steps = params["epochs"] * ceil(rows / params["batch_rows"])
    warmup = max(1, round(params["warmup"] * steps))
    falling = [params["learning_rate"], 0.0, max(steps - warmup, 1)]
    return {
        "model": params["base"],
        "trust_remote_code": params["trust_remote_code"],
        "train": True,
        "fine_tune_type": "lora",
        "hf_dataset": {
            "path": "parquet",
            "config": {"data_files": data},
            "train_split": "train",
            "valid_split": VALIDATION if VALIDATION in sizes else some,
            "chat_feature": "messages",
        },
        "mask_prompt": True,
        "num_layers": -1,
        "lora_parameters": {
            "rank": params["rank"],
            "dropout": 0.0,
            "scale": params["alpha"] / params["rank"],
        },
        "optimizer": "adamw",
        "optimizer_config": {"adamw": {"weight_decay": 0.0}},
        "learning_rate": params["learning_rate"],
        "lr_schedule": {"name": "linear_schedule", "warmup": warmup, "arguments": falling},
        "batch_size": params["batch_rows"],
        "iters": steps,
        "max_seq_length": params["max_length"],
        "seed": params["seed"],
        "adapter_path": "tuned",
    }


def _tables(out: Path, files: Sequence[Path]) -> dict[str, JSON]:
    """Return the pattern of each split's Parquet files."""
    tables = [pattern_of(_place(out, path)) for path in files if path.suffix == ".parquet"]
    return {Path(pattern).name.partition("-")[0]: pattern for pattern in tables}


def _place(out: Path, path: Path) -> str:
    return path.relative_to(out).as_posix()


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
