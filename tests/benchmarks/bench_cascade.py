"""A cascade against its last method on all rows: the time of scoring, and what both select.

    python tests/benchmarks/bench_cascade.py OUT [--rows 900] [--keep 0.2] [--selected 48]

The bundled pool, target and SmolLM2-135M. `cascade: [{embed, keep}, {rds}]` and `rds` score the same
rows, each with a store of its own, after a pass that loads both models and is not timed. The ratio of
their times is what counts. The overlap is the share of the selection by `rds` that the cascade selects
as well. cascade.json is written to OUT.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from figurefile import write_figures

from curate.config.recipe import Config
from curate.core.memory import peak_memory
from curate.core.store import Store
from curate.pipeline import curation
from curate.pipeline.run import Run

REPO = Path(__file__).parents[2]
WARM_ROWS = 20


def recipe(store: Path, rows: int, select: dict[str, Any]) -> Config:
    return Config.model_validate(
        {
            "name": "cascade",
            "pool": [{"path": str(REPO / "data" / "pool" / "*"), "sample": rows}],
            "ingest": {"max_rejected": 1.0},
            "target": {"path": str(REPO / "data" / "target.jsonl")},
            "stages": [{"kind": "exact"}, {"kind": "fuzzy"}],
            "select": {**select, "budget": {"rows": 1}},
            "store": str(store),
        }
    )


def score(store: Path, rows: int, select: dict[str, Any], selected: int) -> dict[str, Any]:
    """Score the rows by a method; return the best rows, seconds and peak memory."""
    kept = Store(store)
    run = Run(recipe(store, rows, select), kept, lambda steps: [kept.ensure(s) for s in steps])
    curation.read_inputs(run)
    curation.run_stages(run)
    with peak_memory() as peak:
        clock, cores = time.perf_counter(), time.process_time()
        scores = run.own_select.score_rows(run).read()
        order = run.own_select.rank(scores, run.seed)
        seconds, cpu = time.perf_counter() - clock, time.process_time() - cores
    best = scores["row_id"].gather(order[:selected]).to_list()
    return {"best": best, "rows": scores.height, "seconds": seconds, "cpu_seconds": cpu,
            "peak_mb": peak[0]}  # fmt: skip


def main(out: Path, rows: int = 900, keep: float = 0.2, selected: int = 48) -> dict[str, Any]:
    """Measure, write cascade.json to a folder, and return what it holds."""
    rds = {"method": "rds"}
    cascade = {"method": "cascade", "parts": [{"method": "embed", "keep": keep}, rds]}
    with tempfile.TemporaryDirectory() as name:
        score(Path(name) / "warm", WARM_ROWS, cascade, 1)
        whole = score(Path(name) / "rds", rows, rds, selected)
        fast = score(Path(name) / "cascade", rows, cascade, selected)
    figures = {
        "rows": whole["rows"], "keep": keep, "selected": selected,
        "rds_cpu_seconds": round(whole["cpu_seconds"], 2),
        "cascade_cpu_seconds": round(fast["cpu_seconds"], 2),
        "time_ratio": round(fast["cpu_seconds"] / whole["cpu_seconds"], 3),
        "overlap": len(set(whole["best"]) & set(fast["best"])) / selected,
        "peak_mb": round(max(whole["peak_mb"], fast["peak_mb"])),
    }  # fmt: skip
    write_figures(out, "cascade", figures)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=900)
    parser.add_argument("--keep", type=float, default=0.2)
    parser.add_argument("--selected", type=int, default=48)
    given = parser.parse_args()
    main(given.out, given.rows, given.keep, given.selected)
