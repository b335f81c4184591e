"""The memory that a model is said to take, against what a process takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import GPT2Config, LlamaConfig

from curate.models.footprint import ModelSizes, sizes_of

# What a process holds at most, beyond what it held before, in passes over a row of two lengths. Five
# layers tell what one keeps from what the whole keeps, for a third of the time.
PEAKS = """
import gc, json, sys
from pathlib import Path
from curate.models import activations
from curate.models.chat import IGNORED, TokenizedExample
from curate.models.footprint import sizes_of
from curate.models.head import split_model
from curate.models.lm import encode
from curate.models.load import load_causal
from curate.models.lora import add_adapters
from curate.models.training import accumulate_gradients

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

def peak(step, length):
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    step(length)
    return memory("VmHWM") - before

def a_token(step, short, long):
    # Pages of libraries that a first pass reads count as the process's own.
    step(short), step(long)
    return (peak(step, long) - peak(step, short)) / (long - short)

def train(length):
    # One label, so that the logits take nothing.
    labels = [*[IGNORED] * (length - 1), 5]
    accumulate_gradients(split, [TokenizedExample(list(range(length)), labels)])

model = load_causal(Path(sys.argv[1]), sys.argv[2])
model.config.num_hidden_layers = 5
del model.base_model.layers[5:]
forward = lambda length: encode(model.base_model, [list(range(length))], length)
measured = {"held_forward": a_token(forward, 256, 512)}
lora = {"rank": 16, "alpha": 32}
split = split_model(add_adapters(model, lora, "all-linear", [0]).train())
for name, limit, free in (
    ("kept_whole", 1e12, 1e12), ("kept_products", 0, 1e12), ("kept_inputs", 0, 0)
):
    activations.LIMIT, activations.free_bytes = limit, lambda: free
    measured[name] = a_token(train, 64, 192)
sizes = sizes_of(model.config, model.dtype.itemsize)
print(json.dumps([[name, bytes, getattr(sizes, name)] for name, bytes in measured.items()]))
"""


@pytest.mark.model
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are told by Linux")
def test_a_pass_takes_what_is_computed_within_a_third(smollm: Path) -> None:
    """Blocks come from the system one by one here: the C library would keep the holes of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, str(smollm), "float32"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"},
    )
    for name, measured, computed in json.loads(done.stdout):
        assert 0.75 < measured / computed < 1.33, (name, measured, computed)


def test_sizes_come_from_the_configuration() -> None:
    llama = LlamaConfig(hidden_size=64, intermediate_size=96, num_hidden_layers=3)
    assert sizes_of(llama, 2) == ModelSizes(64, 96, 3, 2)
    assert sizes_of(GPT2Config(n_embd=32, n_layer=2), 4) == ModelSizes(32, 128, 2, 4)
