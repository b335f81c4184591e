"""Cosines of plain gradients beside those of bergson, an independent implementation by EleutherAI.

    python tests/benchmarks/bench_bergson.py OUT [--rows N] [--targets Q]

bergson 2.5.1 (MIT, arXiv:2606.11660) is installed into OUT/venv, without what its own requirements would
bring beside it: torchvision, torchaudio, bitsandbytes. Where that fails the benchmark says SKIPPED, and
why. OUT/venv is used again.

A short warm-up of LESS leaves one checkpoint of SmolLM2-135M in float32. It is written as a PEFT
adapter, the ends of N (200) rows of the bundled pool and of Q (8) target examples as token ids and
labels, so that both sides differentiate the same losses. `bergson build` stores the targets' gradients,
and `bergson score` multiplies the unit gradients of the rows with them, without projection. This side
takes the exact way of curate.models.influence with `eps_mode: sgd`. Fails where a cosine differs by more
than 1e-3.

Seconds are of all cores together; a process of bergson pays its imports and its model in them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from bench_less import MAX_LENGTH, read_rows, warm_up
from numpy.typing import NDArray
from scipy.stats import spearmanr

from curate.core.calls import StoreRunner
from curate.core.keyed import ModelSource
from curate.core.store import Store
from curate.models.chat import TokenizedExample, build_example
from curate.models.gradients import has_response
from curate.models.influence import (
    adam_direction,
    each_checkpoint,
    example_batches,
    similarities,
    unit_gradients,
)
from curate.models.load import find_model, identify, load_tokenizer, prepare

BERGSON = "bergson==2.5.1"
SHARED = ("torch", "transformers", "peft", "safetensors")
LIGHT = (
    "accelerate", "datasets", "jaxtyping", "jinja2", "ml_dtypes", "natsort", "petname", "pyarrow",
    "pyyaml", "scipy", "simple-parsing", "torchopt",
)  # fmt: skip
TOLERANCE = 1e-3
WARMUP_ROWS = 24
BATCH_TOKENS = 512
# The last tokens of a row, response and all: both sides see the same, and it ends in minutes.
TAIL = 40


class Refusal(Exception):
    """Why bergson cannot be asked."""


def install(folder: Path) -> Path:
    """Return the bergson of an environment that has nothing of this project's."""
    program = folder / "bin" / "bergson"
    if program.exists():
        return program
    venv.create(folder, with_pip=True, clear=True)
    own = [f"{name}=={version(name).split('+')[0]}" for name in SHARED]
    for packages in ([*own, *LIGHT], ["--no-deps", BERGSON]):
        command = [str(folder / "bin" / "pip"), "install", "--quiet", *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refusal(done.stderr.strip().splitlines()[-1])
    return program


def write_examples(path: Path, examples: Sequence[TokenizedExample]) -> None:
    lines = (json.dumps({"input_ids": e.ids, "labels": e.labels}) for e in examples)
    path.write_text("\n".join(lines), encoding="utf-8")


def write_checkpoint(folder: Path, model: Any, source: ModelSource) -> None:
    """Write the adapters as PEFT does, on the base model's folder."""
    (adapter,) = model.peft_config.values()
    adapter.base_model_name_or_path = str(source.folder)
    model.save_pretrained(folder)
    load_tokenizer(source.folder).save_pretrained(folder)


def own_cosines(
    model: Any,
    checkpoint: Any,
    pool: Sequence[TokenizedExample],
    target: Sequence[TokenizedExample],
) -> NDArray[np.float64]:
    """Return the cosines [rows, targets] by the exact way."""
    size = sum(weight.numel() for weight in checkpoint.weight.values())
    gradients = unit_gradients(model, target, np.eye(len(target), dtype=np.float32), size)
    direction = adam_direction(checkpoint, "sgd")
    cosines = np.zeros((len(pool), len(target)))
    for batch in example_batches(pool, range(len(pool)), BATCH_TOKENS):
        cosines[batch] = similarities(model, [pool[i] for i in batch], direction, gradients)
    return cosines


def run_bergson(program: Path, out: Path, *arguments: str) -> None:
    """Run a command of bergson on one process, without the network.

    Raises:
        Refusal: it fails.
    """
    settings = ("--projection_dim", "0", "--token_batch_size", str(BATCH_TOKENS))
    command = [str(program), *arguments, *settings, "--nproc_per_node", "1", "--overwrite"]
    environment = os.environ | {"HF_HOME": str(out / "hf"), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        command, cwd=out, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refusal(
            f"bergson {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}"
        )


def read_scores(folder: Path) -> NDArray[np.float64]:
    """Return bergson's stored scores [rows, targets]."""
    info = json.loads((folder / "info.json").read_text())
    stored = np.fromfile(folder / "scores.bin", np.dtype(info["dtype"]), info["num_items"])
    assert all(stored[f"written_{q}"].all() for q in range(info["num_scores"]))
    return np.stack([stored[f"score_{q}"] for q in range(info["num_scores"])], axis=1).astype(float)


def timed(name: str, work: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result, and print and return the core seconds of this process and its children."""
    started, wall = _core_seconds(), time.perf_counter()
    result = work()
    spent = _core_seconds() - started
    print(
        f"{name:<22}{spent:8.1f} core seconds  {time.perf_counter() - wall:8.1f} s by the clock",
        flush=True,
    )
    return result, spent


def _core_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def compare(out: Path, program: Path, rows: int, targets: int) -> None:
    """Print differences and times.

    Raises:
        SystemExit: a cosine differs by more than TOLERANCE.
    """
    run = StoreRunner(Store(out / "store"))
    pool_rows, target_rows = read_rows(run, "pool"), read_rows(run, "target.jsonl").read()
    table = pool_rows.read().sample(rows + WARMUP_ROWS, seed=0)
    location = find_model("smollm2-135m")
    source = ModelSource(identify(location, "float32"), prepare(location))
    warmup = warm_up(run, pool_rows, table["row_id"][rows:].to_list(), source)
    pool, target = (
        tokenized(frame, source) for frame in (table.head(rows), target_rows.head(targets))
    )
    _, model, checkpoint = next(iter(each_checkpoint(warmup, source)))
    write_checkpoint(out / "checkpoint", model, source)
    write_examples(out / "pool.jsonl", pool)
    write_examples(out / "target.jsonl", target)
    tokens = sum(len(e.ids) for e in [*pool, *target])
    weights = sum(weight.numel() for weight in checkpoint.weight.values())
    print(f"{rows} rows x {targets} targets, {tokens:,} tokens, {weights:,} weights", flush=True)
    own, seconds = timed("curate", partial(own_cosines, model, checkpoint, pool, target))
    build = ["build", "q", "--dataset", str(out / "target.jsonl")]
    score = ["score", "s", "--dataset", str(out / "pool.jsonl"), "--query_path", "q"]
    spent = 0.0
    for arguments in (build, [*score, "--unit_normalize"]):
        work = partial(run_bergson, program, out, *arguments, "--model", str(out / "checkpoint"))
        spent += timed(f"bergson {arguments[0]}", work)[1]
    judge(own, read_scores(out / "s"), spent / seconds)


def tokenized(rows: pl.DataFrame, source: ModelSource) -> list[TokenizedExample]:
    """Return rows as token ids and labels; each has a response."""
    tokenizer = load_tokenizer(source.folder)
    examples = [build_example(tokenizer, m, MAX_LENGTH) for m in rows["messages"].to_list()]
    examples = [TokenizedExample(e.ids[-TAIL:], e.labels[-TAIL:]) for e in examples]
    assert all(has_response(example) for example in examples)
    return examples


def judge(own: NDArray[np.float64], theirs: NDArray[np.float64], ratio: float) -> None:
    """Print how far the cosines agree.

    Raises:
        SystemExit: not to TOLERANCE.
    """
    largest = float(np.abs(own - theirs).max())
    ranks = min(spearmanr(a, b).statistic for a, b in zip(own.T, theirs.T, strict=True))
    print(
        f"largest difference of a cosine {largest:.1e} (they span {own.min():.2f} to "
        f"{own.max():.2f}); lowest Spearman of a target {ranks:.6f}; bergson takes x{ratio:.1f}"
    )
    if largest > TOLERANCE:
        sys.exit(f"cosines differ by more than {TOLERANCE}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--targets", type=int, default=8)
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    try:
        compare(out, install(out / "venv"), args.rows, args.targets)
    except Refusal as reason:
        print(f"SKIPPED: {reason}")


if __name__ == "__main__":
    main()
