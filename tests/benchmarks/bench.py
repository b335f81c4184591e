"""Every bar of speed and memory in one table: what is measured, whether it is reached, peak memory.

    python tests/benchmarks/bench.py OUT [--quick] [--only NAMES]       (make bench)

Each benchmark has a process of its own. Ratios are within one run on one machine, and so hold on a busy
one as well; seconds hold for an idle one. --quick takes small sizes, a few minutes in all; a bar of a
size that was not run is not judged. Modules are imported by the process that needs them: what one
holds when it starts another counts as peak memory of the other. bench.json and bench.md are written to
OUT after each benchmark.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from curate.core.threads import usable_cores
from curate.core.versions import installed_versions

MILLION = 1_000_000
# Methods whose exponent has a bar, without those that the quick run leaves out.
QUICK_PARTS = ("exact", "fuzzy", "bm25", "embed")


@dataclass(frozen=True)
class Line:
    """A bar: what was measured against it; `reached` is None where the size was another."""

    what: str
    bar: str
    figure: str
    reached: bool | None
    peak_mb: float | None


def startup(out: Path, quick: bool) -> list[Line]:
    import bench_startup

    figures = bench_startup.main(out, 2 if quick else 5)
    bars = {
        "`curate --help`": ("help", 0.3),
        "a clean-only run of 10 rows, command line": ("run", 5.0),
        "the same in Python, after import": ("python", 1.0),
    }
    return [
        Line(
            what,
            f"under {bar:g} s",
            f"{figures[key]['cpu_seconds']:.2f} s of cores",
            figures[key]["cpu_seconds"] < bar,
            figures[key]["peak_mb"],
        )
        for what, (key, bar) in bars.items()
    ]


def growth(out: Path, quick: bool) -> list[Line]:
    import bench_growth

    sizes = (1_000, 10_000) if quick else (10_000, 100_000, MILLION)
    parts = QUICK_PARTS if quick else bench_growth.PARTS
    result = bench_growth.main(out, sizes, parts)
    return [
        Line(
            f"growth of {step['part']}, {step['from']:,} to {step['to']:,} rows",
            f"exponent at most {bench_growth.BAR}",
            f"{step['exponent']:.2f}; {step['rows_a_cpu_second']:,} rows a core second",
            None if quick else step["reaches_bar"],
            step["memory_mb"][1],
        )
        for step in result["steps"]
    ]


def pool(out: Path, quick: bool) -> list[Line]:
    import bench_pool

    rows = 10_000 if quick else MILLION
    figures = bench_pool.main(out, rows)
    minutes, peak = figures["seconds"] / 60, figures["peak_mb"]
    return [
        Line(
            f"{rows:,} rows without a language model",
            "1,000,000 rows in 10 minutes, 3,000 MB",
            f"{minutes:.1f} minutes, {figures['cpu_seconds']:.0f} s of cores",
            None if quick else minutes < 10 and peak < 3_000,
            peak,
        )
    ]


def large_pool(out: Path, quick: bool) -> list[Line]:
    import bench_pool

    rows = 10_000 if quick else 10 * MILLION
    figures = bench_pool.main(out, rows)
    return [
        Line(
            f"{rows:,} rows to the end, without the pages of files",
            "10,000,000 rows in 8,000 MB",
            f"{figures['seconds'] / 60:.1f} minutes, {figures['cpu_seconds']:.0f} s of cores",
            None if quick else figures["memory_mb"] < 8_000,
            figures["memory_mb"],
        )
    ]


def cores(out: Path, quick: bool) -> list[Line]:
    import bench_cores

    figures = bench_cores.main(out, 10_000 if quick else 50_000, 1 if quick else 2)
    by_cores = figures["fastest_by_cores"]
    most = max(by_cores)
    return [
        Line(
            f"fuzzy on {most} cores against one, {figures['rows']:,} rows",
            "1.6 times as fast on 2 idle cores",
            f"{figures['ratio']:.2f} times as fast by the clock",
            None if quick or most != 2 else figures["ratio"] >= 1.6,
            by_cores[most]["memory_mb"],
        )
    ]


def ingest(out: Path, quick: bool) -> list[Line]:
    import bench_ingest

    megabytes = 20 if quick else 1_000
    file = out / "ingest.jsonl"
    bench_ingest.write_file(file, "messages", megabytes * bench_ingest.MB)
    polars = bench_ingest.measure(bench_ingest.POLARS, file, out / "result")
    rows = bench_ingest.measure(bench_ingest.INGEST, file, out / "result")
    file.unlink()
    ratio = polars[1] / rows[1]
    return [
        Line(
            f"ingest against polars' scan and sink, {megabytes:,} MB",
            "half its speed, 500 MB",
            f"{ratio:.2f} of its speed by seconds of cores",
            None if quick else ratio >= 0.5 and rows[2] < 500,
            rows[2],
        )
    ]


def rds(out: Path, quick: bool) -> list[Line]:
    import bench_rds

    figures = bench_rds.measure(24 if quick else 200, [])
    (out / "rds.json").write_text(json.dumps(figures, indent=1) + "\n")
    difference = figures["difference"]["batched, float32"]
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in figures["ratio"].items())
    return [
        Line(
            f"RDS+ against the authors' loop, {figures['rows']:,} rows",
            "at least as fast in float32, with scores equal to 1e-4",
            f"times as fast: {ratios}; difference {difference:.0e}",
            difference <= 1e-4 and figures["ratio"]["batched, float32"] >= 1,
            figures["peak_mb"],
        )
    ]


def cascade(out: Path, quick: bool) -> list[Line]:
    import bench_cascade

    figures = bench_cascade.main(out, *((120, 0.2, 12) if quick else (900, 0.2, 48)))
    return [
        Line(
            f"cascade of embed (keeps 0.2) and rds against rds, {figures['rows']:,} rows",
            "none",
            f"{figures['time_ratio']:.2f} of the time, overlap {figures['overlap']:.2f}",
            None,
            figures["peak_mb"],
        )
    ]


def same_bytes(out: Path, quick: bool) -> list[Line]:
    import bench_bytes

    variants = [name for name in bench_bytes.VARIANTS if not quick or "inline" in name]
    figures = bench_bytes.main(out, variants)
    differing = sorted({file for files in figures["differing"].values() for file in files})
    return [
        Line(
            f"the same bytes: {', '.join(figures['variants'])}",
            "all artifacts",
            f"{figures['files'] - len(differing)} of {figures['files']} files",
            not differing,
            None,
        )
    ]


def steps(out: Path, quick: bool) -> list[Line]:
    import bench_steps

    figures = bench_steps.main(out, *((200, 0.02) if quick else (1_000, 0.25)))
    return [
        Line(
            f"{figures['steps']:,} steps of {figures['step_seconds']:g} s on {engine}",
            "5 % of their time beside them",
            f"{figures[engine]['share']:.1%}, {1000 * figures[engine]['overhead']:.1f} ms a step",
            None if quick else figures[engine]["share"] < 0.05,
            None,
        )
        for engine in bench_steps.ENGINES
    ]


def kills(out: Path, quick: bool) -> list[Line]:
    import bench_kills

    figures = bench_kills.main(out, 3 if quick else 50)
    return [
        Line(
            f"{figures['kills']} seeded SIGKILLs of driver and workers",
            "the bytes of an undisturbed run, no process left",
            f"{figures['complete']} complete runs, all the same",
            True,
            None,
        )
    ]


def view(out: Path, quick: bool) -> list[Line]:
    import bench_view

    figures = bench_view.main(out, 10_000 if quick else MILLION)
    pages = figures["pages"]
    slowest = max(bench_view.PAGES, key=lambda name: pages[name]["cold"]["cpu_seconds"])
    return [
        Line(
            f"curate view of {figures['rows']:,} rows, {name}",
            "under 1 s",
            f"{pages[name]['cold']['cpu_seconds']:.2f} s of cores",
            None if quick else pages[name]["cold"]["cpu_seconds"] < 1,
            figures["peak_mb"],
        )
        for name in dict.fromkeys(["first page", "filter by fate", slowest])
    ]


BENCHMARKS: dict[str, Callable[[Path, bool], list[Line]]] = {
    "startup": startup,
    "bytes": same_bytes,
    "ingest": ingest,
    "growth": growth,
    "cores": cores,
    "pool": pool,
    "rds": rds,
    "cascade": cascade,
    "large_pool": large_pool,
    "steps": steps,
    "kills": kills,
    "view": view,
}


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    one, _, _ = os.getloadavg()
    return {
        "cores": usable_cores(),
        "processor": platform.processor() or platform.machine(),
        "memory_mb": round(psutil.virtual_memory().total / 2**20),
        "load_before": round(one, 1),
        "versions": installed_versions(),
    }


def table(lines: list[dict[str, Any]], machine_words: str) -> str:
    """Return the lines as a Markdown table."""
    words = {True: "yes", False: "no", None: "-"}
    head = "| what | bar | measured | reached | peak memory, MB |\n|---|---|---|---|---|\n"
    return f"{machine_words}\n\n{head}" + "".join(
        f"| {line['what']} | {line['bar']} | {line['figure']} | {words[line['reached']]} | "
        f"{'-' if line['peak_mb'] is None else format(line['peak_mb'], ',.0f')} |\n"
        for line in lines
    )


def main(out: Path, names: list[str], quick: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"quick": quick, "machine": machine(), "lines": []}
    described = "{cores} cores, {memory_mb:,} MB, load {load_before}".format(**result["machine"])
    for name in names:
        job = [sys.executable, __file__, "_one", name, str(out), *(["--quick"] if quick else [])]
        started = time.perf_counter()
        done = subprocess.run(job)
        if done.returncode:
            lines = [asdict(Line(name, "", "failed: see above", False, None))]
        else:
            lines = json.loads((out / "line.json").read_text())
        result["lines"] += [{"seconds": round(time.perf_counter() - started), **n} for n in lines]
        (out / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
        (out / "bench.md").write_text(table(result["lines"], described))
    (out / "line.json").unlink(missing_ok=True)
    print((out / "bench.md").read_text())


def _one(name: str, out: Path, quick: bool) -> None:
    lines = BENCHMARKS[name](out, quick)
    (out / "line.json").write_text(json.dumps([asdict(line) for line in lines]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["_one"]:
        _one(sys.argv[2], Path(sys.argv[3]), "--quick" in sys.argv)
        sys.exit()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(BENCHMARKS))
    given = parser.parse_args()
    main(given.out, given.only.split(","), given.quick)
