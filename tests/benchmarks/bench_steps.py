"""What an engine costs a step: a list of steps on threads, Ray and Dask, in seconds of cores.

    python tests/benchmarks/bench_steps.py OUT [--steps 1000] [--seconds 0.25] [--engines ray,dask]

Each step computes for so many seconds of a core and stores a table of one row; an engine has two
workers. `overhead` is what the driver, the workers and the cluster compute beside the steps themselves,
for each step, from the first submission to the last artifact; `share` is its share of the seconds of the
steps. Starting a cluster and importing curate in its workers is told apart (`start`). `inline` is what
the store costs without an engine. Each engine has a process of its own. steps.json is written to OUT.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from figurefile import write_figures

from curate.config.running import INLINE, RunSettings
from curate.core.store import Store
from curate.orchestration.engines import open_engine
from tests.orchestration import hazards
from tests.orchestration.workplace import REPO

ENGINES = (INLINE, "threads", "ray", "dask")
WORKERS = 2


def cpu_seconds() -> float:
    """Return the seconds of cores of this process and of all that it has started and that are alive."""
    me = psutil.Process()
    return sum(sum(one.cpu_times()[:2]) for one in (me, *me.children(recursive=True)))


def measure(engine: str, steps: int, seconds: float) -> dict[str, float]:
    """Return what the steps cost on an engine."""
    workers = {} if engine == INLINE else {"workers": WORKERS}
    settings = RunSettings.model_validate({"on": engine, **workers})
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        open_engine(settings, Store(Path(folder))) as submit,
    ):
        for wait in submit([hazards.busy.call(-number, 1.0) for number in range(1, 5)]):
            wait()
        start, clock, cores = time.perf_counter() - started, time.perf_counter(), cpu_seconds()
        waits = submit([hazards.busy.call(number, seconds) for number in range(steps)])
        own = sum(wait().counts["cpu"] for wait in waits)
        overhead = (cpu_seconds() - cores - own) / steps
    return {
        "start": start,
        "seconds": time.perf_counter() - clock,
        "overhead": overhead,
        "share": overhead / (own / steps),
    }


def main(
    out: Path, steps: int = 1000, seconds: float = 0.25, engines: Sequence[str] = ENGINES
) -> dict[str, Any]:
    """Measure, write steps.json to a folder, and return what it holds."""
    figures: dict[str, Any] = {"steps": steps, "step_seconds": seconds, "workers": WORKERS}
    for engine in engines:
        job = [sys.executable, __file__, "_measure", engine, str(steps), str(seconds)]
        env = {**os.environ, "PYTHONPATH": str(REPO)}
        done = subprocess.run(job, check=True, stdout=subprocess.PIPE, text=True, env=env)
        figures[engine] = json.loads(done.stdout)
    write_figures(out, "steps", figures)
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["_measure"]:
        result = measure(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
        print(json.dumps({name: round(value, 5) for name, value in result.items()}))
        sys.exit()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--engines", default=",".join(ENGINES))
    given = parser.parse_args()
    main(given.out, given.steps, given.seconds, given.engines.split(","))
