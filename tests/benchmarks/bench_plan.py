"""`curate plan` on a large run: seconds from the command line to the answer, from stored evidence.

    python tests/benchmarks/bench_plan.py [ROWS]

ROWS (1,000,000) synthetic rows of 12 words in 40 sources, 20 target examples, ranked once by `embed`.
Then the command as a user types it, one process each: another budget, a filter, caps by source, another
way to combine. Prints seconds and peak memory of each; the run itself is timed for comparison.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation

SOURCES, TARGETS, WORDS = 40, 20, 12
QUESTIONS = {
    "another budget": ["--budget", "rows=50000"],
    "tokens": ["--budget", "tokens=1000000"],
    "a filter": ["--set", "filter=score > 0.3 AND tokens < 60"],
    "caps by origin": ["--set", "shares=[{by: origin, most: 0.05}]"],
    "other combination": ["--set", "combine=global_max"],
}


def write_rows(path: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vocabulary = np.array([f"w{i}" for i in range(30_000)])
    with path.open("w") as file:
        for start in range(0, count, 10_000):
            words = vocabulary[rng.zipf(1.3, size=(min(10_000, count - start), WORDS)) % 30_000]
            origins = rng.integers(0, SOURCES, len(words))
            for line, origin in zip(words, origins, strict=True):
                turns = [("user", line[:8]), ("assistant", line[8:])]
                messages = [{"role": role, "content": " ".join(part)} for role, part in turns]
                file.write(json.dumps({"messages": messages, "origin": f"o{origin}"}) + "\n")


def make_run(folder: Path, count: int) -> None:
    write_rows(folder / "pool.jsonl", count, 0)
    write_rows(folder / "target.jsonl", TARGETS, 1)
    config = Config.model_validate(
        {
            "name": "bench",
            "pool": [{"path": str(folder / "pool.jsonl"), "source": "made"}],
            "target": {"path": str(folder / "target.jsonl")},
            "select": {"method": "embed", "budget": {"rows": 10_000}},
            "store": str(folder / "store"),
        }
    )
    started = time.perf_counter()
    run_curation(config, folder / "run")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"run of {count:,} rows: {time.perf_counter() - started:.0f} s, peak {peak:,.0f} MiB")


def main() -> None:
    if sys.argv[1:2] == ["_run"]:
        make_run(Path(sys.argv[2]), int(sys.argv[3]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        # In a process of its own: a child's peak starts from that of the process that forks it.
        subprocess.run([sys.executable, __file__, "_run", name, str(count)], check=True)
        curate = [str(Path(sys.executable).with_name("curate")), "plan", f"{name}/run"]
        for label, question in {"help": ["--help"], **QUESTIONS}.items():
            started = time.perf_counter()
            done = subprocess.run([*curate, *question], capture_output=True, text=True)
            seconds = time.perf_counter() - started
            print(f"{label:<20}{seconds:6.2f} s", flush=True)
            if done.returncode:
                print(done.stderr)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"largest peak of a command: {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
