"""What a language model says of rows when asked: does it find wrong ones, and what does it cost?

    python tests/benchmarks/bench_judges.py DATA OUT [--rows N] [--only gsm8k|bundled] [--stages YAML]

DATA holds gsm8k/train.jsonl.gz. Two pools of N (100) rows at most, drawn with seed 0: gsm8k train rows,
a fifth with the answer of another of them, and clean rows of data/pool beside a fifth with a planted
wrong answer. Each stage (rubric and knowledge, as in a recipe) runs by itself over each pool.

Prints AUROC with its 95 % interval (DeLong) of the score against rows being right, the share of wrong
rows in the lowest fifth, rows without a score; for 1,000 rows seconds, calls and tokens; peak memory.
Answers are stored under OUT, so a second run asks nothing anew; seconds are those of the making.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import yaml
from pools import Row, planted_answers, recipe, swapped_gsm8k, with_truth, write_planted

from curate.judge.measures import auroc
from curate.pipeline.curation import run_curation

STAGES = "[{kind: rubric}, {kind: knowledge}]"
DROPPED = 0.2


def measure(name: str, rows: list[Row], stage: dict[str, Any], out: Path) -> None:
    pool = out / f"{name}.jsonl"
    write_planted(pool, rows)
    run = out / f"{name}-{stage['kind']}"
    run_curation(recipe(name, str(pool), out, [stage]), run)
    evidence = pl.read_parquet(run / "evidence" / f"{stage['kind']}.parquet")
    judged_rows = with_truth(evidence, pool, name, rows)
    print(f"{name:<9}{stage['kind']:<11}{quality(judged_rows)}{cost(run, len(rows))}", flush=True)


def quality(judged_rows: pl.DataFrame) -> str:
    scored_rows = judged_rows.drop_nulls("score").sort("score", "row_id")
    right = scored_rows["right"].to_numpy()
    area = auroc(scored_rows["score"].to_numpy(), right)
    unscored = f"{judged_rows.height - scored_rows.height} of {judged_rows.height} without a score"
    if area is None or area.low is None:
        return f"{unscored}; too few of a kind  "
    lowest = right[: math.floor(DROPPED * len(right))]
    return (
        f"AUROC {area.value:.3f} [{area.low:.3f}, {area.high:.3f}]  wrong in the lowest fifth "
        f"{1 - np.mean(lowest):.3f}, in the pool {1 - right.mean():.3f}  "
        f"{unscored}  "
    )


def cost(run: Path, rows: int) -> str:
    entries = orjson.loads((run / "manifest.json").read_bytes())["stages"]
    model_stages = [entry for entry in entries if entry["llm"].get("calls")]
    sums = [sum(e["llm"][n] for e in model_stages) / rows * 1000 for n in ("calls", "tokens")]
    seconds = sum(e["seconds"] for e in model_stages) / rows * 1000
    peak = max((e["peak_memory_mb"] for e in model_stages), default=0)
    return (
        f"{seconds:.0f} s, {sums[0]:.0f} calls, {sums[1]:.0f} tokens per 1,000 rows, {peak:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--only", choices=["gsm8k", "bundled"])
    parser.add_argument("--stages", default=STAGES)
    args = parser.parse_args()
    pools = {
        "gsm8k": lambda: swapped_gsm8k(args.data, args.rows)[0],
        "bundled": lambda: planted_answers(args.out, args.rows),
    }
    for name in [args.only] if args.only else pools:
        rows = pools[name]()
        for stage in yaml.safe_load(args.stages):
            measure(name, rows, stage, args.out)


if __name__ == "__main__":
    main()
