"""The finished runs of a folder in a table: when, how many rows, chosen how, and the verdict."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import UserError
from curate.runs.folder import RunFolder, read_manifest
from curate.runs.verdict_text import read_verdict


@dataclass(frozen=True)
class RunSummary:
    """A finished run in a line."""

    folder: Path
    ended: str
    rows: int
    selected: int
    method: str
    verdict: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the cells of its line."""
        counts = f"{self.rows:,}", f"{self.selected:,}"
        return (str(self.folder), self.ended, *counts, self.method, self.verdict)


HEAD = ("run", "ended", "rows", "selected", "method", "verdict")


def finished_runs(folder: Path) -> list[RunSummary]:
    """Return the runs in a folder and in those directly below it, the latest first.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the one that holds runs, e.g. runs")
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    manifests = {place: read_manifest(place) for place in places}
    runs = [_summary(place, manifest) for place, manifest in manifests.items() if manifest]
    return sorted(runs, key=lambda run: run.ended, reverse=True)


def _summary(folder: Path, manifest: dict[str, Any]) -> RunSummary:
    entries = {entry["stage"]: entry for entry in manifest["stages"]}
    selection = entries.get("select", {})
    select = manifest.get("race", manifest["config"]).get("select", {})
    proof = read_verdict(RunFolder(folder, manifest))
    return RunSummary(
        folder,
        str(manifest.get("run", {}).get("ended", ""))[:16].replace("T", " "),
        int(entries.get("pool", {}).get("rows_out", 0)),
        int(selection.get("rows_out", 0)),
        str(select.get("method", "")),
        proof["verdict"] if proof else "not proved",
    )


def run_lines(runs: list[RunSummary]) -> Iterator[str]:
    """Yield the runs as the lines of a table."""
    lines = [HEAD, *(run.columns for run in runs)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    for line in lines:
        cells = [
            cell.rjust(width) if HEAD[i] in ("rows", "selected") else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
