"""Does a stage that drops wrong rows recover what they cost? Tuned with it, without it, on clean rows.

    python tests/benchmarks/bench_recovery.py DATA OUT [--stage YAML] [--rows N] [--arm K] [--seeds S]

DATA holds gsm8k/train.jsonl.gz. The pool has N (400) of its rows; 20 % of them got the answer of another
one (seed 0). The stage is given as in a recipe, e.g. '{kind: confidence, drop: 0.2}'. Each seed draws
K (80) rows from the corrupted pool, from what the stage keeps, and from the rows whose answers are
right, tunes on each as the proof does, and measures the loss on 80 other problems. Differences are
paired by seed and example and have the proof's intervals; positive is better. Stored steps are found
again under OUT.
"""

import argparse
import gzip
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import yaml
from numpy.typing import NDArray

from curate.config import Config
from curate.models import choose_dtype, find_model, identify, prepare
from curate.pool.ingest import input_steps
from curate.prove.finetune import finetune_step, read_messages
from curate.prove.statistics import compare
from curate.run import run_curation
from curate.store import Store, digest_of

EVAL = 80
LORA = {
    "rank": 16, "alpha": 32, "epochs": 1, "learning_rate": 5e-4, "batch_rows": 8, "max_length": 512,
}  # fmt: skip


def turns(prompt: str, response: str) -> dict[str, Any]:
    told = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return {"messages": told}


def make_files(data: Path, out: Path, count: int) -> list[bool]:
    """Write pool.jsonl and eval.jsonl; return which rows of the pool have their own answer."""
    with gzip.open(data / "gsm8k" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    rng = random.Random(0)
    drawn = rng.sample(rows, count + EVAL)
    pool, held_out = drawn[:count], drawn[count:]
    swapped = rng.sample(range(count), count // 5)
    answers = [r["answer"] for r in pool]
    # Each takes the answer of the next of them, so none keeps its own.
    for place, other in zip(swapped, swapped[1:] + swapped[:1], strict=True):
        answers[place] = pool[other]["answer"]
    told = [turns(r["question"], a) for r, a in zip(pool, answers, strict=True)]
    (out / "pool.jsonl").write_bytes(b"\n".join(map(orjson.dumps, told)))
    evals = [turns(r["question"], r["answer"]) for r in held_out]
    (out / "eval.jsonl").write_bytes(b"\n".join(map(orjson.dumps, evals)))
    return [a == r["answer"] for r, a in zip(pool, answers, strict=True)]


def recipe(out: Path, stage: dict[str, Any]) -> Config:
    return Config.model_validate(
        {
            "name": f"recovery-{stage['kind']}",
            "pool": [{"path": str(out / "pool.jsonl"), "source": "pool"}],
            "target": {"path": str(out / "eval.jsonl"), "eval": str(out / "eval.jsonl")},
            "stages": [stage],
            "select": {"method": "random", "budget": {"fraction": 1.0}},
            "store": str(out / "store"),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stage", default="{kind: confidence, drop: 0.2}")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--arm", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    right = make_files(args.data, args.out, args.rows)
    stage = yaml.safe_load(args.stage)
    started = time.perf_counter()
    config = recipe(args.out, stage)
    run = run_curation(config, args.out / "run")
    ledger = pl.read_parquet(run.folder / "ledger.parquet").with_columns(right=pl.Series(right))
    kept = ledger.filter(pl.col("fate") != "dropped")
    print(f"{stage}: {ledger.height - kept.height} rows dropped, "
          f"{ledger.filter(fate='dropped', right=False).height} of them wrong; "
          f"{time.perf_counter() - started:.0f} s", flush=True)  # fmt: skip
    arms = {
        "unfiltered": ledger,
        "filtered": kept,
        "clean": ledger.filter("right"),
    }
    losses: dict[str, list[Any]] = {name: [] for name in arms}
    for seed in range(args.seeds):
        for name, table in arms.items():
            rng = np.random.default_rng([seed, 0x4EC])
            chosen = table[np.sort(rng.permutation(table.height)[: args.arm])]
            started = time.perf_counter()
            loss = tune(config, chosen["row_id"].to_list(), seed)
            losses[name].append(loss)
            print(f"seed {seed} {name:<11}{chosen.filter(~pl.col('right')).height:>4} wrong of "
                  f"{chosen.height}  loss {loss.mean():.4f}  {time.perf_counter() - started:.0f} s",
                  flush=True)  # fmt: skip
    for name in ("filtered", "clean"):
        gain = np.array(losses["unfiltered"]) - np.array(losses[name])
        told = compare(gain, resamples=10_000, rng=np.random.default_rng(0))
        print(f"{name} against unfiltered: {told.mean:+.4f} [{told.low:+.4f}, {told.high:+.4f}] "
              f"nats a response token: {told.verdict}")  # fmt: skip


def tune(config: Config, ids: list[str], seed: int) -> NDArray[np.float64]:
    """Return the losses on the eval set after tuning on these rows."""
    store = Store(Path(config.store))
    inputs = {name: store.ensure(step) for name, step in input_steps(config).items()}
    rows = inputs["pool"].file("rows.parquet")
    found = find_model(config.models.base)
    step = finetune_step(
        "finetune",
        ids,
        digest_of(read_messages(rows, ids)),
        eval_rows=inputs["eval"],
        lora=LORA,
        seed=[0, seed],
        identity=identify(found, choose_dtype(config.models.dtype)),
        hints={"folder": str(prepare(found)), "trust": False, "rows": str(rows)},
    )
    results = pl.read_parquet(store.ensure(step).file("results.parquet")).sort("eval_id")
    return results["loss"].to_numpy()


if __name__ == "__main__":
    main()
