"""What a recipe is said to need on a GPU."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM, Qwen2Config

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.estimate.gpu import gpu_sentences
from curate.estimate.lines import EstimateLine
from curate.models.footprint import model_shape

# Qwen2.5-7B.
SEVEN = Qwen2Config(
    vocab_size=152_064,
    hidden_size=3_584,
    intermediate_size=18_944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
    tie_word_embeddings=False,
)


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    """A folder with the configuration of a model of 7 billion, and no weights in its file of weights."""
    folder = tmp_path / "seven"
    SEVEN.save_pretrained(folder)
    (folder / "model.safetensors").touch()
    return folder


def recipe(model: Path, **settings: Any) -> Config:
    base = {"name": "x", "pool": "p.jsonl", "models": {"base": str(model)}}
    select = {"method": "random", "budget": {"rows": 8}}
    return Config.model_validate({**base, "select": select, **settings})


PROVED = {"target": {"path": "t.jsonl", "eval": "e.jsonl"}, "prove": {}}


def sizes(sentence: str) -> list[float]:
    return [float(number) for number in re.findall(r"([\d.]+) GB", sentence)]


def test_a_fine_tune_of_seven_billion_fits_80_gb(seven: Path) -> None:
    """Weights 15.2 GB; 40.4 million numbers of adapters, with gradients and optimizer 0.8 GB."""
    [sentence] = gpu_sentences(recipe(seven, **PROVED), [])
    assert "computed and not measured" in sentence
    least, most, weights, adapters = sizes(sentence)
    assert (weights, adapters) == (15.2, 0.8)
    assert weights + adapters < least < 24
    assert least < 80 < most
    [long] = gpu_sentences(recipe(seven, **PROVED | {"prove": {"lora": {"max_length": 8_192}}}), [])
    assert least < sizes(long)[0] < 80


def test_float32_takes_twice_the_weights(seven: Path) -> None:
    models = {"base": str(seven), "dtype": "float32"}
    [sentence] = gpu_sentences(recipe(seven, **PROVED | {"models": models}), [])
    assert "weights 30.5 GB" in sentence


def test_reading_and_gradients_of_rows_are_told_apart(seven: Path) -> None:
    target = {"target": {"path": "t.jsonl"}}
    reads = {"method": "rds", "budget": {"rows": 8}}
    [rds] = gpu_sentences(recipe(seven, select=reads, **target), [])
    [less] = gpu_sentences(recipe(seven, select={**reads, "method": "less"}, **target), [])
    assert "fine-tune" not in rds
    assert sizes(less)[0] == sizes(rds)[0] < sizes(less)[1]
    assert "for gradients of single rows" in less


def test_a_recipe_without_a_language_model_needs_no_gpu(seven: Path) -> None:
    assert gpu_sentences(recipe(seven), []) == []


def test_vllm_takes_weights_and_a_cache_by_the_token(seven: Path) -> None:
    stage = {"kind": "rubric", "engine": {"kind": "vllm"}}
    [sentence] = gpu_sentences(recipe(seven, stages=[stage]), [])
    # Keys and values of 28 layers, 4 heads of 128 numbers in bfloat16.
    assert "vLLM 15.2 GB of weights and 57 kB a token" in sentence


def test_a_judge_on_vllm_counts_too(seven: Path) -> None:
    stage = {"kind": "knowledge", "rehearse": True, "judge": {"kind": "vllm"}}
    [sentence] = gpu_sentences(recipe(seven, stages=[stage]), [])
    assert "vLLM 15.2 GB of weights" in sentence


def test_an_engine_that_no_generator_asks_is_not_counted(seven: Path) -> None:
    vllm, server = {"kind": "vllm"}, {"kind": "openai", "model": "m"}
    methods = [{"method": "answer", "engines": [server | {"endpoints": [{"url": "http://x/v1"}]}]}]
    generate = {"engine": vllm, "methods": methods}
    assert gpu_sentences(recipe(seven, prompts="q.jsonl", generate=generate), []) == []
    methods.append({"method": "magpie"})
    [sentence] = gpu_sentences(recipe(seven, prompts="q.jsonl", generate=generate), [])
    assert "vLLM 15.2 GB of weights" in sentence


def test_hours_are_those_of_the_passes_over_all_tokens(seven: Path) -> None:
    lines = [
        EstimateLine("select", 9, "rds", 1_000_000_000),
        EstimateLine("proof: tune", 9, "tunes", 200_000_000),
        # What a model is asked to write is not known beforehand.
        EstimateLine("generate", 9, "aide", 10**12, up_to=True),
        EstimateLine("rubric", 9, "asks", 10**12, asks=True),
    ]
    [sentence] = gpu_sentences(recipe(seven, **PROVED), lines)
    # 2 x 7.6e9 x (1e9 + 5 x 2e8) operations, at 300e12 and at 50e12 a second.
    assert sentence.endswith("28.2 to 169.2 hours at 50 to 300 TFLOP/s")
    [few] = gpu_sentences(recipe(seven, **PROVED), [EstimateLine("select", 9, "rds", 10)])
    assert "below 0.1 hours" in few


def test_a_shape_is_that_of_the_model_with_its_adapters(tiny: Path) -> None:
    model = LlamaForCausalLM.from_pretrained(tiny)
    assert isinstance(model.config, LlamaConfig)
    shape = model_shape(tiny, 4)
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    tuned = get_peft_model(model, LoraConfig(r=3, target_modules="all-linear"))
    trained = sum(w.numel() for w in tuned.parameters() if w.requires_grad)
    assert trained == 3 * shape.adapted
    cache = model.base_model(torch.arange(5)[None], use_cache=True).past_key_values
    stored = sum(part.numel() * 4 for layer in cache.layers for part in (layer.keys, layer.values))
    assert stored == 5 * shape.cache


def test_a_model_with_other_products_is_adapted_as_well(tmp_path: Path) -> None:
    GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=99).save_pretrained(tmp_path)
    # Query, key and value in one; output; and the two of the inner layer.
    assert model_shape(tmp_path, 4).adapted == (32 + 96) + (32 + 32) + 2 * (32 + 128)


def test_a_configuration_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "none"}')
    with pytest.raises(UserError, match="cannot be loaded"):
        model_shape(tmp_path, 4)
