"""Confidence on planted faults: does it find wrong answers, and what does it cost?

    python tests/benchmarks/bench_confidence.py DATA OUT [--rows N] [--only gsm8k|bundled] [--embedder E]

DATA holds gsm8k/train.jsonl.gz. Two pools of N (2,000) rows at most, drawn with seed 0:

    gsm8k       train rows; the answers of a fifth of them are replaced by those of others among them
    bundled     data/pool without copies and leaks: clean rows, wrong answers, off-topic rows

Prints for each signal, the mean of their ranks (no labels) and the cross-fitted confidence (every
row labelled) the AUROC with its 95 % interval, and the precision of dropping the lowest fifth: the share
of wrong rows in it, beside their share in the pool. For the bundled pool also the AUROC against either
fault. Steps are stored under OUT, so a second run measures no row anew; seconds are those of the making.
"""

import argparse
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from curate.config import Config
from curate.judge.measures import auroc
from curate.judge.signals import ORIENTATION, mean_rank, oriented
from curate.run import run_curation

REPO = Path(__file__).parents[2]
DROPPED = 0.2
WRONG = 0.2
FAULTS = ("wrong_answer", "off_topic")
STEPS = ("losses", "embed", "confidence-signals", "labels", "confidence")
Row = dict[str, Any]


def swapped_gsm8k(data: Path, count: int) -> list[Row]:
    """Return rows, a fifth of them with the answer of another row of that fifth."""
    with gzip.open(data / "gsm8k" / "train.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    rng = np.random.default_rng(0)
    rows = [lines[i] for i in rng.permutation(len(lines))[:count]]
    wrong = rng.permutation(len(rows))[: round(WRONG * len(rows))]
    answers = {int(i): rows[j]["answer"] for i, j in zip(wrong, np.roll(wrong, 1), strict=True)}
    return [
        {"prompt": r["question"], "completion": answers.get(i, r["answer"]),
         "fault": "swapped" if i in answers else None}
        for i, r in enumerate(rows)
    ]  # fmt: skip


def planted_rows(folder: Path, count: int) -> list[Row]:
    """Return clean rows of the bundled pool and those with a fault, in the pool's shares."""
    config = recipe("bundled", str(REPO / "data" / "pool" / "*"), folder, [])
    run_curation(config, folder / "reading")
    manifest = orjson.loads((folder / "reading" / "manifest.json").read_bytes())
    pool = Path(manifest["store"]) / manifest["artifacts"]["pool"] / "rows.parquet"
    truth = pl.read_ndjson(REPO / "data" / "truth.jsonl").select("row_id", "defect")
    told = pl.read_parquet(pool, columns=["row_id", "messages"]).join(
        truth, on="row_id", maintain_order="left"
    )
    fit = told.filter(pl.col("defect").is_null() | pl.col("defect").is_in(FAULTS))
    drawn = fit.sample(min(count, fit.height), seed=0, shuffle=True)
    return [{"messages": m, "fault": fault} for _, m, fault in drawn.iter_rows()]


def recipe(
    name: str, pool: str, out: Path, stages: list[dict[str, Any]], embedder: str = "static"
) -> Config:
    return Config.model_validate(
        {
            "name": name,
            "pool": [{"path": pool, "source": name}],
            "models": {"embedder": embedder},
            "stages": stages,
            "select": {"method": "random", "budget": {"rows": 1}},
            "store": str(out / "store"),
        }
    )


def measure(name: str, rows: list[Row], out: Path, embedder: str) -> None:
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    pool, labels = folder / "pool.jsonl", folder / "labels.jsonl"
    fields = [{k: v for k, v in row.items() if k != "fault"} for row in rows]
    pool.write_text("".join(json.dumps(row) + "\n" for row in fields))
    told = [
        {"source": name, "position": i, "correct": r["fault"] is None}
        for i, r in enumerate(rows, 1)
    ]
    labels.write_text("".join(json.dumps(line) + "\n" for line in told))
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
        told = scores.select(name, "fault").drop_nulls()
        values, own = told[name].to_numpy(), told["fault"].to_numpy()
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
    told = [stage for stage in stages if stage["stage"] in STEPS]
    for stage in told:
        each = 1_000 * stage["seconds"] / rows
        print(f"{stage['stage']:<20} {each:8.2f} s per 1,000 rows")
    total = 1_000 * sum(stage["seconds"] for stage in told) / rows
    peak = max(stage["peak_memory_mb"] for stage in told)
    print(f"{'together':<20} {total:8.2f} s per 1,000 rows, peak {peak:.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--only", choices=["gsm8k", "bundled"])
    parser.add_argument("--embedder", default="static")
    given = parser.parse_args()
    if given.only != "bundled":
        rows = swapped_gsm8k(given.data, given.rows)
        measure("gsm8k", rows, given.out, given.embedder)
    if given.only != "gsm8k":
        rows = planted_rows(given.out / "planted", given.rows)
        measure("bundled", rows, given.out, given.embedder)


if __name__ == "__main__":
    main()
