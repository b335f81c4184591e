"""RDS+ beside the authors' own scripts, unchanged, on the same token ids: cosines, and the order.

    python tests/benchmarks/bench_rds_authors.py CHECKOUT OUT [--rows N] [--targets Q]

CHECKOUT is a clone of github.com/hamishivi/automated-instruction-selection. It names no licence, so
nothing of it is here: its compute_influence_cosinesim.py and get_top_influences.py (`max`, which is
round robin) run where they lie, each in a process of its own. They import two modules to make token
ids of messages; in their place are ones that hand over the ids of this side, with its chat template.
Their processes want datasets, accelerate and tqdm; where one fails it says SKIPPED, and why.

N (200) rows and Q (20) target examples of the bundled pool, SmolLM2-135M. Their weighted mean in float32
and in bfloat16, their default, is held against `encode` in float32. Fails where a cosine in float32
differs by more than 1e-4.
"""

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bench_rds import cosines, read_rows
from numpy.typing import NDArray

from curate.models.chat import tokenise
from curate.models.lm import encode
from curate.models.load import find_model, load_tokenizer, prepare
from curate.models.weights import load_trunk
from curate.selectors.rounds import best_first, round_robin

MAX_LENGTH = 2048
TOLERANCE = 1e-4
# Runs a script of theirs; the tokenizer that they load plays no part.
START = """
import runpy, sys
from transformers import AutoTokenizer
AutoTokenizer.from_pretrained = lambda *names, **settings: None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
UTILS = """
import torch
def encode_with_messages_format(example, *settings):
    ids = torch.tensor(example["ids"])
    return {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}
"""
DATA = """
from datasets import load_dataset
from minimal_multitask.utils import encode_with_messages_format
DATASETS = {}
class FileDataset:
    def __init__(self, path, tokenizer):
        self.rows = load_dataset("json", data_files=path)["train"]
    def get_all_test_prompts(self, **settings):
        rows = self.rows.map(encode_with_messages_format)
        rows.set_format(type="torch", columns=["input_ids", "attention_mask", "labels"])
        return rows
"""


class Refusal(Exception):
    """Why a script of theirs did not run."""


class Scripts:
    """The authors' scripts, run with token ids that are given."""

    def __init__(self, checkout: Path, out: Path) -> None:
        self.folder, self.out = checkout / "minimal_multitask", out
        package = out / "given" / "minimal_multitask"
        package.mkdir(parents=True, exist_ok=True)
        for name, text in (("__init__", ""), ("utils", UTILS), ("data", DATA)):
            (package / f"{name}.py").write_text(text)
        (out / "start.py").write_text(START)

    def cosines(self, model: Path, pool: Path, target: Path, dtype: str) -> NDArray[np.float64]:
        """Return their cosines [rows, targets]."""
        folder = self.out / dtype
        # They take up an index that lies there, of whatever rows it is.
        shutil.rmtree(folder, ignore_errors=True)
        self._run(
            "compute_influence_cosinesim.py", "--model_name", model, "--train_dataset", pool,
            "--eval_dataset", target, "--save_dir", folder, "--index_path", folder / "index.pt",
            "--dtype", dtype, "--pooling", "weighted_mean", "--batch_size", 1,
        )  # fmt: skip
        stored = pickle.loads((folder / f"{target.name}_cossim.pkl").read_bytes())
        return np.array([list(by_row.values()) for by_row in stored.values()]).T

    def order(self, pool: Path, target: Path, dtype: str, size: int) -> list[int]:
        """Return the rows that their round robin takes, in its order."""
        path = self.out / dtype / "order.json"
        self._run(
            "get_top_influences.py", "--input_files", self.out / dtype / f"{target.name}_cossim.pkl",
            "--output_file", path, "--selection_method", "max", "--output_size", size,
            "--train_datasets", pool,
        )  # fmt: skip
        order: list[int] = json.loads(path.read_text())
        return order

    def _run(self, script: str, *arguments: Any) -> None:
        command = [sys.executable, self.out / "start.py", self.folder / script, *arguments]
        offline = {"HF_HOME": str(self.out / "hf"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            list(map(str, command)), cwd=self.out, capture_output=True, text=True, check=False,
            env=os.environ | offline | {"PYTHONPATH": str(self.out / "given")},
        )  # fmt: skip
        if done.returncode:
            raise Refusal(f"{script}: {done.stderr.strip().splitlines()[-1]}")


def write_ids(path: Path, rows: list[list[int]]) -> Path:
    path.write_text("\n".join(json.dumps({"ids": ids}) for ids in rows), encoding="utf-8")
    return path


def compare(scripts: Scripts, count: int, targets: int) -> None:
    """Print how far cosines and orders agree.

    Raises:
        SystemExit: a cosine in float32 differs by more than TOLERANCE.
    """
    folder = prepare(find_model("smollm2-135m"))
    ids = tokenise(load_tokenizer(folder), read_rows(count + targets, []), MAX_LENGTH)
    target, pool = (
        write_ids(scripts.out / name, rows)
        for name, rows in (("target.jsonl", ids[:targets]), ("pool.jsonl", ids[targets:]))
    )
    own = cosines(encode(load_trunk(folder, "float32"), ids), targets)[targets:]
    order = round_robin(map(best_first, own.T), count)[: count // 2].tolist()
    print(f"{count} rows x {targets} targets, {sum(map(len, ids)):,} tokens", flush=True)
    for dtype in ("fp32", "bf16"):
        theirs = scripts.cosines(folder, pool, target, dtype)
        largest = float(np.abs(own - theirs).max())
        taken = scripts.order(pool, target, dtype, len(order))
        places = sum(a == b for a, b in zip(order, taken, strict=True))
        print(
            f"{dtype}: largest difference of a cosine {largest:.1e}; of the first {len(order)} by "
            f"round robin {len(set(order) & set(taken))} are the same, {places} at the same place",
            flush=True,
        )
        if dtype == "fp32" and largest > TOLERANCE:
            sys.exit(f"cosines differ by more than {TOLERANCE}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--targets", type=int, default=20)
    args = parser.parse_args()
    out = args.out.resolve()
    try:
        compare(Scripts(args.checkout.resolve(), out), args.rows, args.targets)
    except Refusal as reason:
        print(f"SKIPPED: {reason}")


if __name__ == "__main__":
    main()
