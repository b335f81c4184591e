"""A large pool through everything that needs no language model: seconds and peak memory of one process.

    python tests/benchmarks/bench_pool.py OUT [--rows 1000000] [--part whole|clean]

Synthetic rows (synthetic_rows.py). `whole` is a recipe with exact, fuzzy, leaks, rules, a selection by
embed and the report; `clean` is ingest, exact and fuzzy alone. peak_mb is the largest resident set of
the process that runs it, memory_mb that of all processes together without the pages of files, which the
system takes back (stepmemory.py). pool-PART.json is written to OUT, and as the run goes on the peaks of
its steps to pool-PART-steps.jsonl. Ten million rows take hours, and 25 GB of disk.
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from figurefile import write_figures
from resident import peak_resident_mb
from stepmemory import labelled, watch
from synthetic_rows import write_pool

from curate.config.recipe import Config
from curate.core.bucket import open_store
from curate.core.threads import usable_cores
from curate.pipeline.curation import run_curation

EXAMPLES, EVAL_ROWS = 20, 200
STEP = "step"
# Thousands far beyond those of any pool.
TARGET_SEED, EVAL_SEED = 10_000_000, 20_000_000


def recipe(folder: Path, part: str) -> Config:
    """Return the recipe of a part."""
    settings: dict[str, Any] = {
        "name": part,
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "made"}],
        "stages": ["exact", "fuzzy"],
        "store": str(folder / "store"),
    }
    if part == "whole":
        settings |= {
            "target": {"path": str(folder / "target.jsonl"), "eval": str(folder / "eval.jsonl")},
            "stages": ["exact", "fuzzy", "leaks", "rules"],
            "select": {"method": "embed", "budget": {"rows": 400}},
        }
    return Config.model_validate(settings)


def measure(folder: Path, part: str) -> dict[str, float]:
    """Run a part on the pool of a folder, in this process."""
    clock, cores = time.perf_counter(), time.process_time()
    children = _children_seconds()
    config = recipe(folder, part)
    execute_all = labelled(folder / STEP, open_store(config.store).ensure)
    run_curation(config, folder / "run", execute_all)
    return {
        "seconds": time.perf_counter() - clock,
        "cpu_seconds": time.process_time() - cores + _children_seconds() - children,
        "peak_mb": peak_resident_mb(),
    }


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(out: Path, rows: int = 1_000_000, part: str = "whole") -> dict[str, Any]:
    """Measure, write pool-PART.json to a folder, and return what it holds."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as name:
        folder = Path(name)
        write_pool(folder / "pool.jsonl", rows)
        write_pool(folder / "target.jsonl", EXAMPLES, TARGET_SEED)
        write_pool(folder / "eval.jsonl", EVAL_ROWS, EVAL_SEED)
        size = (folder / "pool.jsonl").stat().st_size
        command = [sys.executable, __file__, "_measure", name, part]
        printed, peaks = watch(command, folder / STEP, out / f"pool-{part}-steps.jsonl")
        stored = sum(p.stat().st_size for p in (folder / "store").rglob("*") if p.is_file())
        shutil.rmtree(folder / "store")
    measured = {key: round(value, 1) for key, value in json.loads(printed).items()}
    measured["memory_mb"] = round(max(peak.memory_mb for peak in peaks), 1)
    figures = {"part": part, "rows": rows, "cores": usable_cores(), "pool_mb": round(size / 1e6, 1),
               "store_mb": round(stored / 1e6, 1), **measured}  # fmt: skip
    write_figures(out, f"pool-{part}", figures)
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["_measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), sys.argv[3])))
        sys.exit()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--part", choices=["whole", "clean"], default="whole")
    given = parser.parse_args()
    main(given.out, given.rows, given.part)
