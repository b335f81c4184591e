"""The figures of a benchmark, as a file and on standard output."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_figures(out: Path, name: str, figures: Mapping[str, Any]) -> None:
    """Write figures as OUT/NAME.json, and print them on a line."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures), flush=True)
