"""The kept adapter: what peft loads is the model that was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from curate.models.load import load_causal
from curate.models.lora import add_adapters, attach_adapter, save_adapter
from curate.proof.keep import write_peft_adapter
from tests.commandline import curate

IDS = torch.arange(20).unsqueeze(0)


@pytest.fixture
def adapter(tiny: Path, tmp_path: Path) -> Path:
    model = load_causal(tiny, "float32")
    tuned = add_adapters(model, {"rank": 4, "alpha": 24}, "all-linear", [3])
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            weight.data.copy_(torch.linspace(-0.3, 0.2, weight.numel()).view_as(weight))
    path = tmp_path / "adapter.safetensors"
    save_adapter(model, path, rank=4, alpha=24)
    return path


def test_peft_loads_the_model_that_was_measured(tiny: Path, tmp_path: Path, adapter: Path) -> None:
    write_peft_adapter(adapter, tmp_path / "out")
    measured = load_causal(tiny, "float32")
    with torch.inference_mode():
        base = measured(IDS).logits
        attach_adapter(measured, adapter)
        expected = measured.eval()(IDS).logits
        loaded = PeftModel.from_pretrained(load_causal(tiny, "float32"), str(tmp_path / "out"))
        logits = loaded.eval()(IDS).logits
    assert torch.equal(logits, expected)
    assert not torch.allclose(base, expected)


def test_the_same_adapter_gives_the_same_bytes(tmp_path: Path, adapter: Path) -> None:
    for name in ("a", "b"):
        write_peft_adapter(adapter, tmp_path / name)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.system
def test_a_run_exports_the_adapter_of_its_selection(tiny: Path, tmp_path: Path) -> None:
    for name, count in (("pool", 20), ("target", 3), ("eval", 4)):
        lines = [
            json.dumps({"prompt": f"{name} {i} {'word ' * i}?", "response": f"Answer {i}."})
            for i in range(count)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(
        f"""
name: keep
pool: [{{path: pool.jsonl}}]
target: {{path: target.jsonl, eval: {{path: eval.jsonl}}}}
models: {{base: {tiny}, dtype: float32}}
select: {{method: random, budget: {{rows: 4}}}}
prove: {{draws: 2, seeds: 1, keep: true, lora: {{epochs: 1}}}}
"""
    )
    done = curate("run", "recipe.yaml", "--out", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "export" / "adapter"
    loaded = PeftModel.from_pretrained(load_causal(tiny, "float32"), str(folder))
    learned = [p for name, p in loaded.named_parameters() if "lora_B" in name]
    assert learned
    assert all(weight.abs().max() > 0 for weight in learned)
