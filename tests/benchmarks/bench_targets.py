"""Methods on eight real targets: what share of a 5 % selection is of the wanted kind, and the proof.

    python tests/benchmarks/bench_targets.py DATA OUT [--methods A,B] [--rows N] [--prove | --prove-rows]

DATA holds p3/*.jsonl.gz, gsm8k/train.jsonl.gz and bbh/*.json. The pool has N (5,000) rows of at most 420
characters: 5 % of grade-school math (gsm8k), 5 % of each of four P3 families (answers to questions,
paraphrase or not, headlines, sentences from words), 3 % of each of three BBH tasks (which have 250 rows
in all), 9 % of three other BBH tasks, the rest from the other P3 families. For each target 20 examples
are given, and the proof measures on 80 others; the leak check takes out of the pool what they share with
it. Everything is drawn with seed 0.

Stored steps are found again under OUT, so methods can be added later. Prints for each target and
method precision (share of the selected rows that are of the target's family), recall (share of the
family's rows that are selected), the seconds that its scores took, and with --prove the verdict and
what it rests on. A proof takes 15 fine-tunes, 9 of which all methods share. --prove-rows compares with
as many random rows alone: three fine-tunes a line beside the shared ones.
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from pools import Row, read_lines, tuned_losses

from curate.clean.leaks import find_leaks
from curate.config import Config, Prove
from curate.prove.arms import draw_arms
from curate.prove.statistics import ALPHA, compare
from curate.prove.training import FIXED_SEED
from curate.run import run_curation

LONGEST = 420
SELECTED = 0.05
TARGET, EVAL = 20, 80
TARGETS = {
    "gsm8k": 0.05,
    "qasc": 0.05,
    "paws": 0.05,
    "gigaword": 0.05,
    "common_gen": 0.05,
    "object_counting": 0.03,
    "boolean_expressions": 0.03,
    "multistep_arithmetic_two": 0.03,
}
TASKS = ("object_counting", "boolean_expressions", "multistep_arithmetic_two")
OTHERS_SHARE = 0.03
OTHER_TASKS = ("disambiguation_qa", "reasoning_about_colored_objects", "dyck_languages")
SETTINGS: dict[str, dict[str, Any]] = {"less": {"way": "datastore"}}
PROVE = {"lora": {"epochs": 1}}


def turns(prompt: str, response: str, origin: str) -> Row:
    told = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return {"messages": told, "origin": origin}


def families(data: Path) -> dict[str, list[Row]]:
    """Return short rows by family, shuffled."""
    found: dict[str, list[Row]] = {}
    for path in sorted((data / "p3").glob("*.jsonl.gz")):
        name = path.name.split(".")[0]
        found[name] = [
            turns(r["prompt"], r["completion"].removesuffix("<|endoftext|>"), name)
            for r in read_lines(path)
        ]
    found["gsm8k"] = [
        turns(r["question"], r["answer"], "gsm8k")
        for r in read_lines(data / "gsm8k" / "train.jsonl.gz")
    ]
    for name in (*TASKS, *OTHER_TASKS):
        told = json.loads((data / "bbh" / f"{name}.json").read_text())["examples"]
        found[name] = [turns(r["input"], r["target"], name) for r in told]
    rng = random.Random(0)
    for name, rows in found.items():
        short = [
            r
            for r in rows
            if all(m["content"].strip() for m in r["messages"])
            and sum(len(m["content"]) for m in r["messages"]) <= LONGEST
        ]
        found[name] = rng.sample(short, len(short))
    return found


def write(path: Path, rows: list[Row]) -> None:
    path.write_bytes(b"\n".join(orjson.dumps(r) for r in rows))


def apart(rows: list[Row], held_out: list[Row]) -> list[Row]:
    """Return the rows that hold no prompt of the held-out ones."""
    suspects, others = (
        pl.DataFrame([{"row_id": str(i), **r} for i, r in enumerate(part)])
        for part in (rows, held_out)
    )
    leaking = set(find_leaks(suspects.lazy(), others)["row_id"])
    return [r for i, r in enumerate(rows) if str(i) not in leaking]


def make_files(data: Path, out: Path, size: int) -> None:
    """Write pool.jsonl, and TARGET.jsonl and TARGET-eval.jsonl for each target."""
    found = families(data)
    pool: list[Row] = []
    for name, share in TARGETS.items():
        held_out, rest = found[name][:EVAL], found[name][EVAL:]
        wanted = apart(rest, held_out)[:TARGET]
        write(out / f"{name}.jsonl", wanted)
        write(out / f"{name}-eval.jsonl", held_out)
        pool += [r for r in rest if r not in wanted][: round(share * size)]
    for name in OTHER_TASKS:
        pool += found[name][: round(OTHERS_SHARE * size)]
    others = [
        r for name, rows in found.items() if name not in (*TARGETS, *OTHER_TASKS) for r in rows
    ]
    rng = random.Random(1)
    pool += rng.sample(others, size - len(pool))
    write(out / "pool.jsonl", rng.sample(pool, len(pool)))


def recipe(out: Path, target: str, method: str, count: int, prove: bool) -> Config:
    settings = SETTINGS.get(method, {})
    return Config.model_validate(
        {
            "name": f"{target}-{method}",
            "pool": [{"path": str(out / "pool.jsonl"), "source": "pool"}],
            "target": {
                "path": str(out / f"{target}.jsonl"),
                "eval": str(out / f"{target}-eval.jsonl"),
            },
            # The same for all targets, so that they share all that is not theirs.
            "protected": [
                {"path": str(out / f"{name}-eval.jsonl"), "source": f"{name}-test"}
                for name in TARGETS
            ],
            "stages": [{"kind": "exact"}, {"kind": "leaks"}],
            "select": {"method": method, "budget": {"rows": count}, **settings},
            "prove": PROVE if prove else None,
            "store": str(out / "store"),
        }
    )


def prove_rows(config: Config, folder: Path) -> str:
    """Return the difference to as many random rows, by the very fine-tunes that a proof would make."""
    prove = Prove.model_validate(PROVE).model_dump(mode="json")
    ranking = pl.read_parquet(folder / "evidence" / "select.parquet")
    runs = {"selected": prove["seeds"], "random_rows": prove["draws"]}
    gains = {}
    for arm, count in runs.items():
        own = [FIXED_SEED] if arm == "selected" else []
        drawn = [draw_arms(ranking, [config.seed, n]).filter(arm=arm) for n in range(count)]
        losses = [
            tuned_losses(config, rows["row_id"].to_list(), prove["lora"], [n, *own])
            for n, rows in enumerate(drawn)
        ]
        gains[arm] = -np.array(losses)
    result = compare(gains["selected"], gains["random_rows"], alpha=ALPHA)
    return (
        f"  {result.difference:+.4f} (a random draw within ±{result.half:.4f}) random_rows"
        f"  {result.verdict}"
    )


def measure(out: Path, target: str, method: str, count: int, prove: bool, rows: bool) -> str:
    """Run a recipe, and return its line of the table."""
    started = time.perf_counter()
    folder = out / "runs" / f"{target}-{method}"
    config = recipe(out, target, method, count, prove)
    result = run_curation(config, folder)
    ledger = pl.read_parquet(result.folder / "ledger.parquet")
    mine = pl.col("origin") == target
    kept = ledger.filter(pl.col("fate") != "dropped")
    hits = ledger.filter(mine & (pl.col("fate") == "selected")).height
    precision, recall = hits / count, hits / kept.filter(mine).height
    stages = {s["stage"]: s for s in result.manifest["stages"]}
    apart = {
        "finetune",
        "measure",
        "base",
        "proof",
        "proof-leaks",
        "arms",
        "spread",
        "ingest",
        "exact",
        "leaks",
        "tokens",
    }
    cost = sum(s["seconds"] for name, s in stages.items() if name not in apart)
    line = f"{target:<16}{method:<18}{precision:>7.3f}{recall:>8.3f}{cost:>9.1f} s"
    if result.proof:
        for told in result.proof["comparisons"][:2]:
            line += (
                f"  {told['mean_difference']:+.4f} (a random draw within ±{told['half']:.4f})"
                f" {told['control']}"
            )
        line += f"  {result.proof['verdict']}"
    if rows:
        line += prove_rows(config, folder)
    return f"{line}  ({time.perf_counter() - started:.0f} s now)"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", default="random,bm25,embed,dsir,got,bsr,rds")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--prove-rows", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    make_files(args.data, args.out, args.rows)
    print(f"{'target':<16}{'method':<18}{'precision':>9}{'recall':>8}{'scores':>8}", flush=True)
    for method in args.methods.split(","):
        for target in args.targets.split(","):
            count = round(SELECTED * args.rows)
            print(measure(args.out, target, method, count, args.prove, args.prove_rows), flush=True)


if __name__ == "__main__":
    main()
