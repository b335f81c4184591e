"""How fast JSON Lines are read into rows, and in how much memory, against polars on the same file.

    python tests/benchmarks/bench_ingest.py MEGABYTES OUT [--layouts messages,alpaca] [--times 3]

A file of so many MB is written to the folder OUT for each layout, of varied English rows, a tenth of
them with other letters. Then, in turn and each in a process of its own:

    polars   polars.scan_ndjson(FILE).sink_parquet(...), which parses and writes
    ingest   the ingest of a pool: parsed, turns read, fields checked, hashed, written, bytes digested

Told are MB of the file a second by the fastest of the times, seconds of all cores together (on a busy
machine the safer figure), the peak memory of all processes together (PSS: pages that several share
count once), and the ratio of speeds. All files are deleted at the end.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import psutil

MB = 10**6
POLARS = """
import sys, polars
polars.scan_ndjson(sys.argv[1]).sink_parquet(sys.argv[2] + "/polars.parquet")
"""
INGEST = """
import sys
from pathlib import Path
from curate.pool.partprocesses import processes_kept
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
calls = row_set("pool", [RowFile(path=sys.argv[1])], seed=0, max_rejected=0.0).calls
with processes_kept():
    for number, call in enumerate(calls):
        out = Path(sys.argv[2], f"{number}")
        out.mkdir()
        print(call.write(out))
"""
TEXT = (
    "the of and to in is that it was for on are with as his they be at one have this from or had by "
    "hot word but what some we can out other were all there when up use your how said an each she "
    "which do their time if will way about many then them write would like so these her long make "
    "thing see him two has look more day could go come did number sound no most people my over know "
    "water than call first who may down side been now find any new work part take get place"
)
OTHERS = "naïve café Größe señor déjà 東京 привет"


def texts(rng: random.Random) -> list[str]:
    """Return texts of 20 to 120 words."""
    usual, others = TEXT.split(), OTHERS.split()
    drawn = [rng.choices(usual, k=rng.randint(20, 120)) for _ in range(4_000)]
    for words in drawn[::10]:
        words[0] = rng.choice(others)
    return [" ".join(words) for words in drawn]


def records(layout: str) -> Iterator[dict[str, Any]]:
    """Yield records of a layout without end."""
    rng = random.Random(0)
    pieces = texts(rng)
    number = 0
    while True:
        number += 1
        prompt, answer = f"{number} {rng.choice(pieces)}?", "\n\n".join(rng.choices(pieces, k=2))
        if layout == "alpaca":
            context = rng.choice(pieces) if rng.random() < 0.4 else ""
            yield {"instruction": prompt, "input": context, "output": answer}
            continue
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        for _ in range(rng.choice((0, 0, 1, 2))):
            turns.append({"role": "user", "content": rng.choice(pieces)})
            turns.append({"role": "assistant", "content": rng.choice(pieces)})
        yield {"messages": turns, "id": f"r{number}", "category": rng.choice(("qa", "chat"))}


def write_file(path: Path, layout: str, size: int) -> None:
    with path.open("wb") as file:
        for record in records(layout):
            file.write(orjson.dumps(record) + b"\n")
            if file.tell() >= size:
                return


def pss_mb(process: psutil.Process) -> float:
    """Return the memory of a process and of those that it started."""
    total = 0.0
    with suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += each.memory_full_info().pss / 2**20
    return total


def measure(code: str, file: Path, out: Path) -> tuple[float, float, float]:
    """Return seconds, seconds of all cores, and peak memory of a program that reads the file."""
    out.mkdir(exist_ok=True)
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code, file, out], stdout=subprocess.DEVNULL)
    process, peak = psutil.Process(child.pid), 0.0
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, pss_mb(process))
        time.sleep(0.1)
    assert status == 0, "it failed"
    seconds = time.perf_counter() - started
    shutil.rmtree(out)
    return seconds, usage.ru_utime + usage.ru_stime, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("megabytes", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layouts", default="messages,alpaca")
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    for layout in args.layouts.split(","):
        file = args.out / f"{layout}.jsonl"
        write_file(file, layout, args.megabytes * MB)
        figures: dict[str, Any] = {"layout": layout, "megabytes": args.megabytes}
        runs: dict[str, list[tuple[float, float, float]]] = {"polars": [], "ingest": []}
        for _ in range(args.times):
            for name, code in (("polars", POLARS), ("ingest", INGEST)):
                runs[name].append(measure(code, file, args.out / "result"))
        for name, measured in runs.items():
            seconds, of_cores, peaks = zip(*measured, strict=True)
            figures[f"{name}_mb_a_second"] = round(args.megabytes / min(seconds), 1)
            figures[f"{name}_core_seconds"] = round(min(of_cores), 1)
            figures[f"{name}_peak_mb"] = round(max(peaks))
        figures["speed_ratio"] = round(
            figures["ingest_mb_a_second"] / figures["polars_mb_a_second"], 2
        )
        print(json.dumps(figures), flush=True)
        file.unlink()


if __name__ == "__main__":
    main()
