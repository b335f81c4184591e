"""Confidence on planted faults: does it find wrong answers, and what does it cost?

    python tests/benchmarks/bench_confidence.py DATA OUT [--rows N] [--only POOL] [--embedder E]

DATA holds gsm8k/train.jsonl.gz, p3/*.jsonl.gz and gpteacher/roleplay.json.gz. Pools of N (2,000) rows at
most, drawn with seed 0:

    gsm8k       train rows; the answers of a fifth of them are replaced by those of others among them
    p3          rows of all tasks; a fifth get another answer that their own template gets elsewhere
    roleplay    GPTeacher's role-play instructions, swapped like gsm8k
    bundled     data/pool without copies and leaks: clean rows, wrong answers, off-topic rows

Prints for each signal, the mean of their ranks (no labels) and the cross-fitted confidence (every
row labelled) the AUROC with its 95 % interval, and the precision of dropping the lowest fifth: the share
of wrong rows in it, beside their share in the pool. For the bundled pool also the AUROC against either
fault. Steps are stored under OUT, so a second run measures no row anew; seconds are those of the making.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import orjson
import polars as pl
from pools import (
    Row,
    bundled_truth,
    recipe,
    swapped_gsm8k,
    swapped_p3,
    swapped_roleplay,
    write_rows,
)

from curate.judge.measures import auroc
from curate.judge.signals import ORIENTATION, mean_rank, oriented
from curate.pipeline.curation import run_curation

DROPPED = 0.2
FAULTS = ("wrong_answer", "off_topic")
STEPS = ("losses", "embed", "confidence-signals", "labels", "confidence")


def planted_rows(folder: Path, count: int) -> list[Row]:
    """Return clean rows of the bundled pool and those with a fault, in the pool's shares."""
    labelled_rows = bundled_truth(folder)
    fit = labelled_rows.filter(pl.col("defect").is_null() | pl.col("defect").is_in(FAULTS))
    drawn = fit.sample(min(count, fit.height), seed=0, shuffle=True)
    return [{"messages": r["messages"], "fault": r["defect"]} for r in drawn.to_dicts()]


def swapped(rows: list[Row]) -> list[Row]:
    fields = ("prompt", "completion")
    return [{f: r[f] for f in fields} | {"fault": None if r["right"] else "swapped"} for r in rows]


def measure(name: str, rows: list[Row], out: Path, embedder: str) -> None:
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    pool, labels = folder / "pool.jsonl", folder / "labels.jsonl"
    write_rows(pool, rows, [field for field in rows[0] if field != "fault"])
    label_rows = [
        {"source": name, "position": i, "correct": r["fault"] is None}
        for i, r in enumerate(rows, 1)
    ]
    labels.write_text("".join(json.dumps(line) + "\n" for line in label_rows))
    stage = {"kind": "confidence", "labels": {"path": str(labels)}}
    config = recipe(name, str(pool), out, [stage], embedder)
    run_curation(config, folder / "run")
    print(f"\n{name}: {len(rows)} rows")
    faults = np.array([row["fault"] or "" for row in rows])
    report_scores(folder / "run", faults)
    report_cost(folder / "run", len(rows))


def report_scores(run: Path, faults: "np.ndarray") -> None:
    evidence = pl.read_parquet(run / "evidence" / "confidence.parquet")
    signals = pl.read_parquet(run / "evidence" / "confidence-signals.parquet")
    scores = oriented(signals).with_columns(
        mean_rank=mean_rank(signals), confidence=evidence["score"], fault=pl.Series(faults)
    )
    kinds = sorted(set(faults) - {""})
    heads = [f"AUROC against {kind}" for kind in kinds]
    print(f"{'score':<14} {'rows':>6} {'AUROC':>6}  95 % interval   precision  pool  {heads}")
    for name in (*ORIENTATION, "mean_rank", "confidence"):
        score_faults = scores.select(name, "fault").drop_nulls()
        values, own = score_faults[name].to_numpy(), score_faults["fault"].to_numpy()
        areas = [auroc(values[m], own[m] == "") for k in kinds for m in [(own == "") | (own == k)]]
        whole = auroc(values, own == "")
        if whole is None or whole.low is None:
            print(f"{name:<14} {len(values):>6} too few of a kind")
            continue
        lowest = np.argsort(values, kind="stable")[: math.floor(DROPPED * len(values))]
        print(
            f"{name:<14} {len(values):>6} {whole.value:6.3f}  {whole.low:.3f} to {whole.high:.3f}  "
            f"{(own[lowest] != '').mean():9.3f} {(own != '').mean():5.2f}  "
            + "  ".join("-" if a is None else f"{a.value:.3f}" for a in areas)
        )


def report_cost(run: Path, rows: int) -> None:
    quality = pl.read_parquet(run / "evidence" / "confidence-quality.parquet").row(-1, named=True)
    print(f"confidence: ECE {quality['ece']:.3f}, Brier score {quality['brier']:.3f}")
    stages = orjson.loads((run / "manifest.json").read_bytes())["stages"]
    step_costs = [stage for stage in stages if stage["stage"] in STEPS]
    for stage in step_costs:
        each = 1_000 * stage["seconds"] / rows
        print(f"{stage['stage']:<20} {each:8.2f} s per 1,000 rows")
    total = 1_000 * sum(stage["seconds"] for stage in step_costs) / rows
    peak = max(stage["peak_memory_mb"] for stage in step_costs)
    print(f"{'together':<20} {total:8.2f} s per 1,000 rows, peak {peak:.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--only", choices=["gsm8k", "p3", "roleplay", "bundled"])
    parser.add_argument("--embedder", default="static")
    given = parser.parse_args()
    data, count = given.data, given.rows
    pools = {
        "gsm8k": lambda: swapped(swapped_gsm8k(data, count)[0]),
        "p3": lambda: swapped(swapped_p3(data, count)),
        "roleplay": lambda: swapped(swapped_roleplay(data, count)),
        "bundled": lambda: planted_rows(given.out / "planted", count),
    }
    for name in [given.only] if given.only else pools:
        measure(name, pools[name](), given.out, given.embedder)


if __name__ == "__main__":
    main()
