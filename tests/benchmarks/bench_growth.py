"""How time and memory grow with the rows of a pool: exponents from ten to a hundred thousand and on.

    python tests/benchmarks/bench_growth.py OUT [--rows 10000,100000] [--parts exact,fuzzy]

Pools of synthetic rows (synthetic_rows.py) are ingested once; then each part (a stage, a selector, or
`curate plan`'s query) runs on each pool in a process of its own with a store of its own, after it ran on
a small pool: imports and loading a model are in no figure. Seconds are those of all cores together,
which a busy machine changes least; memory is the largest resident set of the process. The exponent b
between two sizes is that of seconds = rows^b. growth.json and growth.md are written to OUT; the bar is
an exponent of at most 1.1. Semantic compares all pairs up to a million rows, which is quadratic;
semantic-near-cells does so up to 5,000 rows.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from resident import peak_resident_mb
from synthetic_rows import write_pool

from curate.config.recipe import Config
from curate.core.store import Store
from curate.pipeline import curation
from curate.pipeline.run import Run
from curate.runs.folder import open_run
from curate.runs.plan import plan_selection

SIZES = (10_000, 100_000)
STAGES: dict[str, dict[str, Any]] = {
    "exact": {"kind": "exact"},
    "fuzzy": {"kind": "fuzzy"},
    "semantic": {"kind": "semantic"},
    "semantic-near-cells": {"kind": "semantic", "exact_rows": 5_000},
    "leaks": {"kind": "leaks"},
    "rules": {"kind": "rules"},
}
SELECTORS = ("bm25", "embed", "dsir")
PARTS = (*STAGES, *SELECTORS, "plan")
BAR = 1.1
EXAMPLES, EVAL_ROWS = 20, 200
WARM_ROWS = 500
# Thousands far beyond those of any pool.
TARGET_SEED, EVAL_SEED = 10_000_000, 20_000_000

Line = dict[str, Any]


def recipe(folder: Path, part: str) -> Config:
    """Return the recipe of a part; its store is a folder of its own."""
    stages = [STAGES[part]] if part in STAGES else []
    method = part if part in SELECTORS else "embed" if part == "plan" else "random"
    return Config.model_validate(
        {
            "name": part,
            "pool": [{"path": str(folder / "pool.jsonl"), "source": "made"}],
            "target": {"path": str(folder / "target.jsonl"), "eval": str(folder / "eval.jsonl")},
            "stages": stages,
            "select": {"method": method, "budget": {"rows": 400}},
            "store": str(folder / part),
        }
    )


def make_pool(folder: Path, rows: int) -> None:
    """Write pool, target and eval set, and ingest them."""
    folder.mkdir()
    write_pool(folder / "pool.jsonl", rows)
    write_pool(folder / "target.jsonl", EXAMPLES, TARGET_SEED)
    write_pool(folder / "eval.jsonl", EVAL_ROWS, EVAL_SEED)
    curation.read_inputs(_run(recipe(folder, "ingested")))


def _run(config: Config) -> Run:
    store = Store(Path(config.store))
    return Run(config, store, lambda steps: [store.ensure(step) for step in steps])


def measure(folder: Path, part: str) -> Line:
    """Run a part on the pool of a folder; seconds of all cores, of the clock, and peak memory."""
    config = recipe(folder, part)
    shutil.copytree(folder / "ingested", config.store, copy_function=os.link)
    if part == "plan":
        curation.run_curation(config, folder / "run")
    run = _run(config)
    curation.read_inputs(run)
    cores, clock = time.process_time(), time.perf_counter()
    if part == "plan":
        plan_selection(open_run(folder / "run"), "rows=300")
    else:
        curation.run_stages(run)
    if part in SELECTORS:
        run.own_select.rank(run.own_select.score_rows(run).read(), 0)
    return {
        "cpu_seconds": time.process_time() - cores,
        "seconds": time.perf_counter() - clock,
        "memory_mb": peak_resident_mb(),
    }


def measure_sizes(sizes: Sequence[int], parts: Sequence[str], scratch: Path) -> list[Line]:
    """Return a line for each part and size; every one is measured in a process of its own."""
    lines: list[Line] = []
    _job("_pool", str(scratch / "warm"), str(WARM_ROWS))
    for rows in sizes:
        folder = scratch / str(rows)
        _job("_pool", str(folder), str(rows))
        for part in parts:
            figures = _job("_measure", str(scratch / "warm"), str(folder), part)
            shutil.rmtree(scratch / "warm" / part)
            lines.append({"part": part, "rows": rows, **json.loads(figures)})
            print(lines[-1], flush=True)
            shutil.rmtree(folder / part)
        shutil.rmtree(folder)
    return lines


def _job(*arguments: str) -> str:
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def exponents(lines: Sequence[Line]) -> list[Line]:
    """Return a line for each part and step from a size to the next: the exponents of time and memory."""
    steps: list[Line] = []
    for part in dict.fromkeys(line["part"] for line in lines):
        own = [line for line in lines if line["part"] == part]
        for small, large in pairwise(own):
            grown = math.log(large["rows"] / small["rows"])
            time_exponent = math.log(large["cpu_seconds"] / small["cpu_seconds"]) / grown
            steps.append(
                {
                    "part": part,
                    "from": small["rows"],
                    "to": large["rows"],
                    "exponent": round(time_exponent, 2),
                    "rows_a_cpu_second": round(large["rows"] / large["cpu_seconds"]),
                    "memory_mb": [round(small["memory_mb"]), round(large["memory_mb"])],
                    "reaches_bar": time_exponent <= BAR,
                }
            )
    return steps


def table(steps: Sequence[Line]) -> str:
    """Return the steps as a Markdown table."""
    head = "| part | rows | exponent of time | rows a core second | memory, MB |"
    return f"{head}\n|---|---|---|---|---|\n" + "".join(
        f"| {s['part']} | {s['from']:,} to {s['to']:,} | {s['exponent']:.2f} | "
        f"{s['rows_a_cpu_second']:,} | {s['memory_mb'][0]:,} to {s['memory_mb'][1]:,} |\n"
        for s in steps
    )


def main(
    out: str | Path, sizes: Sequence[int] = SIZES, parts: Sequence[str] = PARTS
) -> dict[str, Any]:
    """Measure, write growth.json and growth.md to a folder, and return what the former holds."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        lines = measure_sizes(sizes, parts, Path(scratch))
    result: dict[str, Any] = {"bar": BAR, "measured": lines, "steps": exponents(lines)}
    (folder / "growth.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "growth.md").write_text(table(result["steps"]))
    print(table(result["steps"]))
    return result


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out")
    parser.add_argument("--rows", default=",".join(map(str, SIZES)))
    parser.add_argument("--parts", default=",".join(PARTS))
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["_pool"]:
        make_pool(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["_measure"]:
        warm, pool, part = sys.argv[2:]
        measure(Path(warm), part)
        print(json.dumps(measure(Path(pool), part)))
    else:
        given = _parse()
        main(given.out, [int(n) for n in given.rows.split(",")], given.parts.split(","))
