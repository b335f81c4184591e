"""Activation checkpointing: the same gradient to the bit, from fewer numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import FalconConfig, FalconForCausalLM, GPT2Config, GPT2LMHeadModel

from curate.models import activations
from curate.models.activations import checkpointed
from curate.models.chat import IGNORED, TokenizedExample
from curate.models.footprint import sizes_of
from curate.models.head import split_model
from curate.models.load import load_causal
from curate.models.lora import add_adapters
from curate.models.lora_values import AdapterValues
from curate.models.training import accumulate_gradients

LORA: AdapterValues = {"rank": 4, "alpha": 8}
ROWS = [TokenizedExample(list(range(n)), [*[IGNORED] * 3, *range(3, n)]) for n in (40, 25)]


def falcon() -> Any:
    """A model that adds to the output of a product in place."""
    return FalconForCausalLM(
        FalconConfig(vocab_size=256, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    )


def gpt2() -> Any:
    return GPT2LMHeadModel(GPT2Config(vocab_size=256, n_embd=32, n_layer=2, n_head=4))


def gradients(model: Any) -> tuple[float | None, dict[str, torch.Tensor]]:
    tuned = add_adapters(model, LORA, "all-linear", [0])
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            weight.data.copy_(torch.linspace(-0.1, 0.1, weight.numel()).view_as(weight))
    tuned.train()
    loss = accumulate_gradients(split_model(tuned), ROWS)
    return loss, {n: p.grad for n, p in tuned.named_parameters() if p.grad is not None}


# What peft says of GPT-2's transposed layers, and then does.
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
@pytest.mark.parametrize(("thin", "free"), [(2, 1e12), (129, 1e12), (129, 0)])
@pytest.mark.parametrize("make", ["llama", falcon, gpt2])
def test_checkpointing_changes_no_bit_of_a_gradient(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, make: Any, thin: int, free: float
) -> None:
    def build() -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = load_causal(tiny, "float32") if make == "llama" else make()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return model

    plain, expected = gradients(build())
    monkeypatch.setattr(activations, "LIMIT", 0)
    monkeypatch.setattr(activations, "THIN", thin)
    monkeypatch.setattr(activations, "free_bytes", lambda: free)
    loss, gradients_by_name = gradients(build())
    assert loss == plain
    assert expected.keys() == gradients_by_name.keys()
    assert all(torch.equal(gradients_by_name[name], grad) for name, grad in expected.items())


@pytest.mark.parametrize(
    ("device", "limit", "free", "active"),
    [
        ("cpu", 10, 1_000, [False, True]),
        ("cpu", 1_000, 20, [False, True]),
        ("cuda", 0, 20, [False, True]),
        ("cuda", 0, 30, [False, False]),
    ],
)
def test_only_a_part_that_keeps_too_much_is_checkpointed(
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    limit: int,
    free: int,
    active: list[bool],
) -> None:
    """Limit and free memory are in tokens; half of what is free may be kept."""
    model = load_causal(tiny, "float32").train()
    token = sizes_of(model.config, 4).kept_whole
    monkeypatch.setattr(activations, "LIMIT", limit * token)
    monkeypatch.setattr(activations, "free_bytes", lambda: free * token)
    monkeypatch.setattr(activations, "device", lambda: device)
    for tokens, checkpoints in zip((10, 11), active, strict=True):
        with checkpointed(model, tokens):
            assert model.is_gradient_checkpointing is checkpoints
        assert not model.is_gradient_checkpointing


def test_a_checkpointed_layer_keeps_fewer_numbers(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(limit: float) -> int:
        monkeypatch.setattr(activations, "LIMIT", limit)
        tuned = add_adapters(load_causal(tiny, "float32"), LORA, "all-linear", [0]).train()
        numbers = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal numbers
            numbers += tensor.numel()
            return tensor

        model = tuned.get_base_model()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t), checkpointed(model, 40):
            model.base_model(input_ids=torch.arange(40).unsqueeze(0), use_cache=False)
        return numbers

    assert kept(0) < kept(float("inf")) / 2
