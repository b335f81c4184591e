"""Weights in memory: read once by a process, whatever its recipe does with them, and never changed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import curate
from curate.config.recipe import Config
from curate.models.load import load_causal
from curate.models.lora import add_adapters
from curate.models.weights import LOADS, adaptable_model, load_trunk, shared_model
from tests.conftest import write_tiny_model

IDS = torch.arange(2, 40).unsqueeze(0)
LENGTH = {"max_length": 128}
METHODS: list[dict[str, Any]] = [
    {"method": "perplexity", **LENGTH},
    {"method": "ifd", **LENGTH},
    {"method": "perplexity_ratio", **LENGTH, "epochs": 1},
    {"method": "less", **LENGTH, "warmup": {"epochs": 1}},
]


def recipe(folder: Path, model: Path, on: str) -> Config:
    rows = [
        {"prompt": f"What is {i} and {i}?", "response": f"It is {2 * i}. " * (i % 4 + 1)}
        for i in range(24)
    ]
    for name, part in (("pool", rows), ("target", rows[:3]), ("eval", rows[-4:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return Config.model_validate(
        {
            "name": "loads",
            "store": str(folder / "store"),
            "pool": [{"path": str(folder / "pool.jsonl")}],
            "target": {"path": str(folder / "target.jsonl"), "eval": str(folder / "eval.jsonl")},
            "models": {"base": str(model), "dtype": "float32", "embedder": "static"},
            "stages": [{"kind": "confidence", **LENGTH}],
            "select": {"method": "rds", "budget": {"rows": 4}, **LENGTH},
            "compare": METHODS,
            "prove": {
                "draws": 2,
                "seeds": 1,
                "lora": {"epochs": 1, "rank": 2, "alpha": 4},
                "allow_leaks": True,
            },
            "run": {"on": on, **({"workers": 2} if on != "inline" else {})},
        }
    )


@pytest.mark.system
@pytest.mark.parametrize("on", ["inline", "threads"])
def test_a_process_reads_the_weights_of_a_recipe_once(tmp_path: Path, on: str) -> None:
    """For its stage, all methods, the warm-up, the adapters and the fine-tunes of the proof together."""
    model = write_tiny_model(tmp_path / "model")
    curate.run(recipe(tmp_path, model, on), out=tmp_path / "out")
    assert LOADS[model] == 1


def test_what_puts_adapters_on_a_model_leaves_the_shared_one_alone(tiny: Path) -> None:
    shared = shared_model(tiny, "float32")
    with torch.inference_mode():
        before = shared(input_ids=IDS).logits
    tuned = add_adapters(
        adaptable_model(tiny, "float32"), {"rank": 2, "alpha": 4}, "all-linear", [0]
    )
    for name, weight in tuned.named_parameters():
        if "lora_" in name:
            weight.data.fill_(0.5)
    with torch.inference_mode():
        assert not torch.equal(tuned(input_ids=IDS).logits, before)
        assert torch.equal(shared(input_ids=IDS).logits, before)
    assert not any("lora_" in name for name, _ in shared.named_parameters())


def test_the_weights_are_those_of_the_files_and_lie_in_memory_once(tiny: Path) -> None:
    fresh, shared = load_causal(tiny, "float32").eval(), shared_model(tiny, "float32")
    adaptable = adaptable_model(tiny, "float32")
    places = {weight.data_ptr() for weight in shared.parameters()}
    assert {weight.data_ptr() for weight in adaptable.parameters()} == places
    assert {weight.data_ptr() for weight in load_trunk(tiny, "float32").parameters()} < places
    with torch.inference_mode():
        expected = fresh(input_ids=IDS).logits
        assert torch.equal(shared(input_ids=IDS).logits, expected)
        assert torch.equal(adaptable(input_ids=IDS).logits, expected)


def test_other_weights_in_the_same_folder_are_read_anew(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "model")
    with torch.inference_mode():
        before = shared_model(folder, "float32")(input_ids=IDS).logits
        write_tiny_model(folder, seed=1)
        assert not torch.equal(shared_model(folder, "float32")(input_ids=IDS).logits, before)
    assert LOADS[folder] == 2
