"""Does a stage that drops wrong rows recover what they cost? Tuned with it, without it, on clean rows.

    python tests/benchmarks/bench_recovery.py DATA OUT [--stage YAML] [--rows N] [--arm K] [--seeds S...]

DATA holds gsm8k/train.jsonl.gz. The pool has N (400) of its rows; 20 % of them got the answer of another
one (seed 0). The stage is given as in a recipe, e.g. '{kind: confidence, drop: 0.2}'. Each seed draws an
order of the rows and takes the first K (80) of all of them, of those that the stage keeps, and of those
whose answers are right, so that the arms have most rows in common. It tunes on each as the proof does,
and measures the loss on 80 other problems. Differences are paired by seed and example, and their 95 %
intervals are those of a mean over seeds (t); positive is better. Stored steps are found again under OUT,
so seeds may be run apart and then told together.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from pools import recipe, swapped_gsm8k, tuned_losses, write_rows
from scipy.stats import ttest_1samp

from curate.config.recipe import Config
from curate.models.lora_values import LoraValues
from curate.pipeline.curation import run_curation

EVAL = 80
LORA: LoraValues = {
    "rank": 16, "alpha": 32, "epochs": 1, "learning_rate": 5e-4, "batch_rows": 8, "max_length": 512,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stage", default="{kind: confidence, drop: 0.2}")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--arm", type=int, default=80)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    rows, held_out = swapped_gsm8k(args.data, args.rows, EVAL)
    for name, part in (("pool", rows), ("eval", held_out)):
        write_rows(args.out / f"{name}.jsonl", part, ("prompt", "completion"))
    stage = yaml.safe_load(args.stage)
    started = time.perf_counter()
    config = recipe("pool", str(args.out / "pool.jsonl"), args.out, [stage])
    evals = {"path": str(args.out / "eval.jsonl")}
    config = Config.model_validate(config.model_dump() | {"target": evals | {"eval": evals}})
    run = run_curation(config, args.out / "run")
    right = pl.Series([row["right"] for row in rows])
    ledger = pl.read_parquet(run.folder / "ledger.parquet").with_columns(right=right)
    kept = ledger.filter(pl.col("fate") != "dropped")
    print(f"{stage}: {ledger.height - kept.height} rows dropped, "
          f"{ledger.filter(fate='dropped', right=False).height} of them wrong; "
          f"{time.perf_counter() - started:.0f} s", flush=True)  # fmt: skip
    arms = {
        "unfiltered": pl.lit(value=True),
        "filtered": pl.col("fate") != "dropped",
        "clean": pl.col("right"),
    }
    losses: dict[str, list[Any]] = {name: [] for name in arms}
    for seed in args.seeds:
        drawn = ledger[np.random.default_rng([seed, 0x4EC]).permutation(ledger.height)]
        for name, fit in arms.items():
            chosen = drawn.filter(fit).head(args.arm)
            started = time.perf_counter()
            loss = tuned_losses(config, chosen["row_id"].to_list(), LORA, [seed])
            losses[name].append(loss)
            print(f"seed {seed} {name:<11}{chosen.filter(~pl.col('right')).height:>4} wrong of "
                  f"{chosen.height}  loss {loss.mean():.4f}  {time.perf_counter() - started:.0f} s",
                  flush=True)  # fmt: skip
    for name in ("filtered", "clean"):
        gain = np.array(losses["unfiltered"]) - np.array(losses[name])
        interval = ttest_1samp(gain.mean(axis=1), 0).confidence_interval()
        print(f"{name} against unfiltered: {gain.mean():+.4f} [{interval.low:+.4f}, "
              f"{interval.high:+.4f}] nats a response token")  # fmt: skip


if __name__ == "__main__":
    main()
