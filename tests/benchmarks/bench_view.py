"""`curate view` of a large run: seconds of each page, and the memory of the process that serves it.

    python tests/benchmarks/bench_view.py OUT [--rows 1000000] [--run FOLDER]

Synthetic rows (synthetic_rows.py) of eight sources through exact, rules and a random selection; --run
takes a finished run instead, and keeps it. The pages are asked of the app in one process, each twice:
once with nothing prepared for it, and again. Texts are read in the meantime, which is waited for before
the first search. view.json is written to OUT.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figurefile import write_figures
from resident import peak_resident_mb
from starlette.testclient import TestClient
from synthetic_rows import CHUNK, write_pool

from curate.config.recipe import Config
from curate.core.threads import usable_cores
from curate.pipeline.curation import run_curation
from curate.view.app import build_app
from curate.view.context import open_context

SOURCES = 8
# What a reader clicks, in an order in which nothing is prepared by what came before.
PAGES = {
    "first page": "/rows",
    "filter by fate": "/rows?fate=dropped",
    "filter by fate and source": "/rows?fate=dropped&source=source-1",
    "last page": "/rows?page=99999999",
    "sort by rank": "/rows?sort=rank",
    "sort by id": "/rows?sort=-row_id",
    "filter by evidence": "/rows?column=rules-measures.copied&low=0.05&sort=-rules-measures.copied",
    "SQL": "/rows?where=rank < 500 OR duplicate_of LIKE '%25:17'",
    "search, no row": "/rows?text=zebra crossings",
    "search, every third row": "/rows?text=the",
    "search and filter": "/rows?text=ing&fate=dropped&sort=score",
}


def make_run(folder: Path, rows: int) -> Path:
    """Write a pool and return the folder of a run over it."""
    each = max(rows // SOURCES, 1)
    pool = []
    for i in range(SOURCES):
        path = folder / f"pool-{i}.jsonl"
        write_pool(path, each, i * -(-each // CHUNK))
        pool.append({"path": str(path), "source": f"source-{i}"})
    settings = {
        "name": "view", "pool": pool, "stages": ["exact", "rules"], "store": str(folder / "store"),
        "select": {"method": "random", "budget": {"fraction": 0.05}},
    }  # fmt: skip
    run_curation(Config.model_validate(settings), folder / "run")
    return folder / "run"


def timed(act: Callable[[], object]) -> dict[str, float]:
    """Return what an act takes, by the clock and of cores."""
    clock, cores = time.perf_counter(), time.process_time()
    act()
    taken = time.perf_counter() - clock, time.process_time() - cores
    return dict(zip(("seconds", "cpu_seconds"), (round(one, 3) for one in taken), strict=True))


def measure(run: Path) -> dict[str, Any]:
    """Ask for all pages of a run, in this process."""
    clock = time.perf_counter()
    context = open_context(run)
    client = TestClient(build_app(context))
    opened = time.perf_counter() - clock
    figures: dict[str, Any] = {"rows": context.rows.height, "open_seconds": round(opened, 2)}
    pages = {}
    for name, path in PAGES.items():
        if name.startswith("search") and "texts_seconds" not in figures:
            figures["memory_mb_before_texts"] = round(peak_resident_mb())
            context.rows.texts.column("prompt", patient=True)
            figures["texts_seconds"] = round(time.perf_counter() - clock, 2)
        pages[name] = {"cold": _page(client, path), "again": _page(client, path)}
    row_id = context.rows.ledger["row_id"][context.rows.height // 2]
    pages["a row in full"] = {"cold": _page(client, f"/row?id={row_id}")}
    pages["all rows as CSV"] = {"cold": _page(client, "/rows.csv")}
    return {**figures, "pages": pages, "peak_mb": round(peak_resident_mb())}


def _page(client: TestClient, path: str) -> dict[str, float]:
    statuses: list[int] = []

    def ask() -> None:
        with client.stream("GET", path) as answer:
            statuses.append(answer.status_code)
            for _ in answer.iter_raw():
                pass

    taken = timed(ask)
    assert statuses == [200], (path, statuses)
    return taken


def main(out: Path, rows: int = 1_000_000, run: Path | None = None) -> dict[str, Any]:
    """Measure, write view.json to a folder, and return what it holds."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as name:
        # In a process of its own: what a run needs is no memory of the viewer.
        if run is None:
            make = [sys.executable, __file__, "_run", name, str(rows)]
            subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run(
            [sys.executable, __file__, "_measure", str(run or Path(name) / "run")],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    figures = {"cores": usable_cores(), **json.loads(done.stdout)}
    write_figures(out, "view", figures)
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["_run"]:
        make_run(Path(sys.argv[2]), int(sys.argv[3]))
        sys.exit()
    if sys.argv[1:2] == ["_measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
        sys.exit()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    main(given.out, given.rows, given.run)
