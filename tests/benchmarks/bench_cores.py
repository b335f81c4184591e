"""The fuzzy stage on one core and on all: seconds in turn, their ratio, peak memory of each.

    python tests/benchmarks/bench_cores.py OUT [--rows 50000] [--times 2]

The pool is that of bench_growth.py, ingested once; each run has a process and a store of its own, bound
to its cores by taskset before it starts. The ratio is that of the fastest of each; on a machine with
other work to do it says little. cores.json and cores.md are written to OUT.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench_growth

from curate.core.threads import usable_cores

PART = "fuzzy"
# What would hold a process to fewer threads than it has cores.
LIMITS = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "RAYON_NUM_THREADS")


def measure(scratch: Path, cores: int) -> dict[str, float]:
    """Run the stage on so many cores; seconds by the clock and peak memory."""
    bound = sorted(os.sched_getaffinity(0))[:cores]
    job = [bench_growth.__file__, "_measure", str(scratch / "warm"), str(scratch / "pool"), PART]
    command = ["taskset", "--cpu-list", ",".join(map(str, bound)), sys.executable, *job]
    env = {name: value for name, value in os.environ.items() if name not in LIMITS}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    for folder in ("warm", "pool"):
        shutil.rmtree(scratch / folder / PART)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main(out: str | Path, rows: int = 50_000, times: int = 2) -> dict[str, Any]:
    """Measure, write cores.json and cores.md to a folder, and return what the former holds."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    runs: dict[int, list[dict[str, float]]] = {1: [], usable_cores(): []}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        bench_growth.make_pool(scratch / "warm", bench_growth.WARM_ROWS)
        bench_growth.make_pool(scratch / "pool", rows)
        for _ in range(times):
            for cores, own in runs.items():
                own.append(measure(scratch, cores))
    fastest = {n: min(own, key=lambda one: one["seconds"]) for n, own in runs.items()}
    ratio = fastest[1]["seconds"] / fastest[max(fastest)]["seconds"]
    result = {"part": PART, "rows": rows, "fastest_by_cores": fastest, "ratio": round(ratio, 2)}
    (folder / "cores.json").write_text(json.dumps(result, indent=1) + "\n")
    lines = "".join(
        f"| {n} | {one['seconds']:.1f} | {one['memory_mb']:,.0f} |\n" for n, one in fastest.items()
    )
    head = f"{PART}, {rows:,} rows\n\n| cores | seconds | peak memory, MB |\n|---|---|---|\n"
    text = f"{head}{lines}\nOn all cores {ratio:.2f} times as fast.\n"
    (folder / "cores.md").write_text(text)
    print(text)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--times", type=int, default=2)
    given = parser.parse_args()
    main(given.out, given.rows, given.times)
