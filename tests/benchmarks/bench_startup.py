"""How long the smallest things take: help, a run of ten rows from the command line and from Python.

    python tests/benchmarks/bench_startup.py OUT [--times 5]

Each is a process of its own, in turn, so many times; told are the fewest seconds of all cores (user and
system) that one took, which a busy machine changes least, and of the clock. The run has one stage and
no model, and a new store each time; `python` counts the run alone, after `import curate` and the
look-up of `curate.run`, `reused` the same run once more in that process. startup.json is written to OUT.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from figurefile import write_figures

ROWS = 10
RECIPE = "name: ten\npool: pool.jsonl\nstages: [exact]\n"
PROGRAM = """
import json, time
import curate
curate.run
def measure(number):
    clock, cores = time.perf_counter(), time.process_time()
    curate.run("recipe.yaml", out=f"run-{number}", overwrite=True)
    return {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - cores}
print(json.dumps([measure(0), measure(1)]))
"""


def write_inputs(folder: Path) -> None:
    rows = [{"prompt": f"{n} + 1 = ?", "completion": str(n + 1)} for n in range(ROWS)]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text(RECIPE)


def measure(arguments: list[str]) -> tuple[dict[str, float], str]:
    """Run a program in a new folder; return its seconds, peak memory and what it prints."""
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name))
        started = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *arguments], cwd=name, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert child.stdout is not None
        printed = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        assert status == 0, arguments
    figures = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }
    return figures, printed


def main(out: Path, times: int = 5) -> dict[str, Any]:
    """Measure, write startup.json to a folder, and return what it holds."""
    runs: dict[str, list[dict[str, float]]] = {"help": [], "run": [], "python": [], "reused": []}
    for _ in range(times):
        runs["help"].append(measure(["-m", "curate", "--help"])[0])
        runs["run"].append(measure(["-m", "curate", "run", "recipe.yaml"])[0])
        whole, printed = measure(["-c", PROGRAM])
        for name, own in zip(("python", "reused"), json.loads(printed), strict=True):
            runs[name].append({**own, "peak_mb": whole["peak_mb"]})
    figures = {
        name: {key: round(min(one[key] for one in own), 3) for key in own[0]}
        for name, own in runs.items()
    }
    write_figures(out, "startup", figures)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    main(given.out, given.times)
