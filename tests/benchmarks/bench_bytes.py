"""Whether a run writes the same bytes however it is executed: artifacts compared file by file.

    python tests/benchmarks/bench_bytes.py OUT

A small recipe with a tiny random model (stages, three selectors, the proof) is run with one and with two
threads for matrix products, on each engine whose package is installed, and as a flow. Each has a process
and a store of its own. bytes.json, with the files that differ, is written to OUT.
"""

import argparse
import os
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from figurefile import write_figures

from tests.conftest import write_tiny_model
from tests.orchestration.workplace import Workplace, artifact_bytes, pool_lines

ADDED = (
    "stages=[exact, fuzzy, semantic, leaks, rules]",
    "compare=[embed, kcenter]",
)
ONE, TWO = ({"OMP_NUM_THREADS": number} for number in ("1", "2"))
VARIANTS: dict[str, tuple[list[str], dict[str, str]]] = {
    "inline, one thread": ([], ONE),
    "inline, two threads": ([], TWO),
    "threads": (["--set", "run={on: threads, workers: 2}"], ONE),
    "ray": (["--set", "run={on: ray, workers: 2}"], ONE),
    "dask": (["--set", "run={on: dask, workers: 2}"], ONE),
    "as a flow": (["--prefect"], ONE),
}
PACKAGES = {"ray": "ray", "dask": "distributed", "as a flow": "prefect"}


def run(folder: Path, model: Path, name: str) -> dict[str, bytes]:
    """Run the recipe in one way; return the files of its artifacts."""
    workplace = Workplace(folder / name.replace(", ", "-").replace(" ", "-"), model)
    workplace.write(pool_lines())
    # The pool's path is in no key, but in the ids of rows and in the recipe that an export holds.
    pool = folder / "pool.jsonl"
    pool.write_bytes(workplace.pool.read_bytes())
    flags, variables = VARIANTS[name]
    settings = [*ADDED, f"pool=[{{path: {pool}, source: bundled}}]"]
    options = [option for setting in settings for option in ("--set", setting)]
    done = workplace.run(*flags, *options, env={**os.environ, **variables})
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, name, stderr=done.stderr)
    return artifact_bytes(workplace.store)


def main(out: Path, variants: Sequence[str] = tuple(VARIANTS)) -> dict[str, Any]:
    """Run every variant, write bytes.json to a folder, and return what it holds."""
    names = [name for name in variants if find_spec(PACKAGES.get(name, "curate"))]
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_model(Path(folder) / "model")
        first, *others = [run(Path(folder), model, name) for name in names]
    differing = {
        name: sorted(file for file in {*first, *files} if first.get(file) != files.get(file))
        for name, files in zip(names[1:], others, strict=True)
    }
    figures = {"variants": names, "files": len(first), "differing": differing}
    write_figures(out, "bytes", figures)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    main(parser.parse_args().out)
