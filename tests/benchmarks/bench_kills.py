"""SIGKILLs of driver and workers at seeded moments: do the runs end in the bytes of an undisturbed one?

    python tests/benchmarks/bench_kills.py OUT [--kills 50] [--seed 0] [--engines threads,ray,dask]

The kills are shared out among the engines, of two workers each. Every third hits a run with a tiny
random model and the proof, the others a run that only cleans 4,000 rows. kills.json is written to OUT;
a byte that differs, a process or a temporary file that is left, ends it with an error.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figurefile import write_figures

from tests.conftest import write_tiny_model
from tests.orchestration.kills import VICTIMS, Kill, KilledRuns, kill_plan
from tests.orchestration.workplace import Workplace, pool_lines

CLEAN = """
name: cleaned
pool: [{{path: {0}/pool.jsonl, source: bundled}}]
stages: [exact, fuzzy, rules]
store: {0}/store
"""
COPIES = 100


def undisturbed(folder: Path, model: Path) -> list[Workplace]:
    """Return two runs that nobody disturbs: one that only cleans, one with a model and a proof."""
    places = [Workplace(folder / "clean"), Workplace(folder / "proof", model)]
    for place, copies in zip(places, (COPIES, 1), strict=True):
        place.write(pool_lines() * copies)
    places[0].recipe.write_text(CLEAN.format(places[0].root))
    for place in places:
        place.run().check_returncode()
    return places


def main(
    out: Path, kills: int = 50, seed: int = 0, engines: Sequence[str] = tuple(VICTIMS)
) -> dict[str, Any]:
    """Kill, compare, write kills.json to a folder, and return what it holds."""
    started = time.perf_counter()
    figures: dict[str, Any] = {"seed": seed, "kills": 0, "complete": 0, "engines": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clean, proof = undisturbed(folder, write_tiny_model(folder / "model"))
        for i, engine in enumerate(engines):
            many = kills // len(engines) + (i < kills % len(engines))
            plan = kill_plan(seed, engine, many)
            parts: list[tuple[Workplace, list[Kill]]] = [(proof, plan[::3])]
            parts.append((clean, [kill for n, kill in enumerate(plan) if n % 3]))
            for place, part in parts:
                scratch = folder / f"{engine}-{place.root.name}"
                scratch.mkdir()
                done = KilledRuns(engine, place, scratch).go(part)
                figures["kills"] += done.kills
                figures["complete"] += done.complete
            figures["engines"][engine] = [kill.victim for kill in plan]
            print(f"{engine}: {many} kills, {time.perf_counter() - started:.0f} s", flush=True)
    figures["seconds"] = round(time.perf_counter() - started)
    write_figures(out, "kills", figures)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engines", default=",".join(VICTIMS))
    given = parser.parse_args()
    main(given.out, given.kills, given.seed, given.engines.split(","))
