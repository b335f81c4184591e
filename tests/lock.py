"""versions.lock: the code and the results of every stored step, so that no change goes unnoticed.

    python -m tests.lock        (make lock) writes it, and refuses while results differ under one version

A line is: name, version, digest of the source it reaches, then of its golden result the number of
artifacts, digest, count, size and shape of numbers; five dashes where no recipe of tests/golden.py runs
it. A moved source with the same results is confirmed by `make lock`. Moved results need a new version.

Syntax trees differ between versions of Python, and results between those of libraries: the lock is that
of the versions in constraints.txt and of the Python that its first line names.
"""

import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.conftest import write_tiny_model
from tests.golden import golden_results, same_figures
from tests.step_sources import REPO, source_digest, step_functions

LOCK, CONSTRAINTS = REPO / "versions.lock", REPO / "constraints.txt"
FIGURES = ("artifacts", "digest", "numbers", "size", "shape")
Results = Mapping[str, Mapping[str, Any]]
# The version of a step that is as the method's is: the method has a line of its own.
PER_METHOD = "0"
PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
HEAD = f"# By `make lock` (tests/lock.py), {PYTHON}: name version source {' '.join(FIGURES)}"
LIBRARIES = ("numpy", "polars", "pyarrow", "scipy", "torch", "transformers", "tokenizers", "peft")


def foreign_versions() -> list[str]:
    """Return what is installed here in another version than the lock's."""
    first = LOCK.read_text(encoding="utf-8").partition("\n")[0]
    pins = dict(
        line.split("==")
        for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    foreign = [name for name in LIBRARIES if version(name).partition("+")[0] != pins[name]]
    return foreign if PYTHON in first else [PYTHON, *foreign]


def current_sources() -> dict[str, tuple[str, str]]:
    """Return version and source digest of each stored step, by name."""
    return {s.name: (s.version, source_digest(s.functions)) for s in step_functions()}


def read_lock(path: Path = LOCK) -> dict[str, dict[str, Any]]:
    """Return the lines of a lock by name: version, source and figures, None where there are none."""
    lines = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, step_version, source, artifacts, digest, numbers, *sums = line.split()
            figures = None
            if artifacts != "-":
                values = int(artifacts), digest, int(numbers), *map(float, sums)
                figures = dict(zip(FIGURES, values, strict=True))
            lines[name] = {"version": step_version, "source": source, "figures": figures}
    return lines


def moved_results(golden: Results, lock: Results) -> list[str]:
    """Return the names of steps whose results differ from the lock's."""
    return [
        name
        for name, line in lock.items()
        if line["figures"] is not None
        and not (name in golden and same_figures(dict(golden[name]), line["figures"]))
    ]


def unversioned_changes(golden: Results, lock: Results) -> list[str]:
    """Return which of the steps whose results moved need a new version: those whose code moved too.

    What another step's results moved has new inputs, and so a new key by itself. Where results moved
    and neither code nor a version did, all of them are returned: a library or the data has changed.
    """
    sources, moved = current_sources(), moved_results(golden, lock)
    changed = [n for n, line in lock.items() if sources.get(n) != (line["version"], line["source"])]
    if not changed:
        return moved
    versions = {name: own for name, (own, _) in sources.items() if own != PER_METHOD}
    return [n for n in moved if n in changed and versions.get(n) == lock[n]["version"]]


def write_lock(golden: Results) -> None:
    """Write the lock of the code as it is."""
    lines = [HEAD]
    for name, (step_version, source) in sorted(current_sources().items()):
        figures = (
            [str(golden[name][key]) for key in FIGURES] if name in golden else ["-"] * len(FIGURES)
        )
        lines.append(" ".join([name, step_version, source, *figures]))
    LOCK.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write the lock, unless results moved under one version."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        golden = golden_results(folder, write_tiny_model(folder / "model"))
    moved = unversioned_changes(golden, read_lock()) if LOCK.exists() else []
    if moved:
        sys.exit("results moved under the same version; raise it: " + ", ".join(moved))
    write_lock(golden)


if __name__ == "__main__":
    main()
