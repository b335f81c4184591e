"""The quickstart in a folder: its recipe, and the small pool, target and eval set that it reads."""

import shutil
from pathlib import Path

from curate.core.errors import UserError

PACKAGE = Path(__file__).parents[1]
RECIPE = "quickstart.yaml"
# The paths that the recipe names, from the folder that it stands in.
DATA = (
    "data/pool/alpaca.jsonl.gz",
    "data/pool/chat.jsonl",
    "data/pool/pairs.jsonl",
    "data/pool/qa.json",
    "data/target.jsonl",
    "data/eval.jsonl",
)


def write_quickstart(folder: Path) -> list[Path]:
    """Write the quickstart's recipe and data into a folder; return the files, the recipe first.

    Raises:
        UserError: one of the files is there already; then nothing is written.
    """
    sources = {folder / RECIPE: _source(f"configs/{RECIPE}")}
    sources |= {folder / name: _source(name) for name in DATA}
    present = [str(path) for path in sources if path.exists() or path.is_symlink()]
    if present:
        raise UserError(
            f"{present[0]} exists already, and no file is replaced; give another folder, e.g. "
            "curate init demo"
        )
    for path, source in sources.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    return list(sources)


def _source(name: str) -> Path:
    """Return a file of the quickstart: in the installed package, or in a checkout beside it."""
    installed = PACKAGE / "quickstart" / name
    return installed if installed.is_file() else PACKAGE.parent / name
