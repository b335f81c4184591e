"""What a shell proposes for an argument: run folders, recipes, stages of a run, methods, keys.

A shell waits for these at each press of the tab key, so they are read from files, without the recipe's
model or any method's module.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

MANIFEST = "manifest.json"
RECIPES = (".yaml", ".yml")
PACKAGE = Path(__file__).parents[1]
EXPORTS = "pool/exports"
# Where stages, selectors and generators stand.
METHODS = ("clean", "judge", "selectors", "generate/methods")
METHOD = re.compile(r'^    method: Literal\["([^"]+)"\] = ', re.MULTILINE)
# Of a recipe, those that people change for one run.
KEYS = (
    "name", "seed", "store", "models.base", "models.embedder", "models.dtype", "select.method",
    "select.budget.rows", "select.budget.tokens", "select.budget.fraction", "prove.draws",
    "prove.metric", "prove.lora.epochs", "prove.lora.learning_rate", "run.on", "run.workers",
)  # fmt: skip


def run_folders(incomplete: str) -> list[str]:
    """Return the folders of finished runs: those in `runs`, and those that a path leads to."""
    places = [*Path("runs").glob("*/"), *_below(incomplete)]
    runs = {str(path) for path in places if (path / MANIFEST).is_file()}
    return sorted(path for path in runs if path.startswith(incomplete))


def recipes(incomplete: str) -> list[str]:
    """Return the YAML files here, in `configs`, and those that a path leads to."""
    places = [*Path().glob("*"), *Path("configs").glob("*"), *_below(incomplete)]
    files = {str(path) for path in places if path.suffix in RECIPES and path.is_file()}
    return sorted(path for path in files if path.startswith(incomplete))


def _below(incomplete: str) -> Iterator[Path]:
    """Yield what lies in the folder that an unfinished path is in."""
    folder = incomplete.rpartition("/")[0] + "/" if "/" in incomplete else "."
    with suppress(OSError):
        yield from Path(folder).iterdir()


def stages_of(run: str, incomplete: str) -> list[str]:
    """Return the stages of a finished run by their names in it: exact, fuzzy, fuzzy-2."""
    names: list[str] = []
    with suppress(OSError, ValueError, KeyError, TypeError):
        config = json.loads((Path(run) / MANIFEST).read_bytes())["config"]
        methods = [str(stage["method"]) for stage in config["stages"]]
        names = [_numbered(methods[: i + 1]) for i in range(len(methods))]
    return [name for name in names if name.startswith(incomplete)]


def _numbered(methods: Sequence[str]) -> str:
    """Return the name of the last of some stages: from the second of a method on with its number."""
    count = methods.count(methods[-1])
    return methods[-1] if count == 1 else f"{methods[-1]}-{count}"


def method_names(incomplete: str) -> list[str]:
    """Return the stages, selectors and generators that come with curate."""
    return _names(METHODS, incomplete)


def export_formats(incomplete: str) -> list[str]:
    """Return the formats of training files."""
    return _names((EXPORTS,), incomplete)


def _names(folders: Sequence[str], incomplete: str) -> list[str]:
    paths = [path for folder in folders for path in (PACKAGE / folder).rglob("*.py")]
    names = {name for path in paths for name in METHOD.findall(path.read_text("utf-8"))}
    return sorted(name for name in names if name.startswith(incomplete))


def recipe_keys(incomplete: str) -> list[str]:
    """Return keys of a recipe, as `--set` takes them."""
    return [f"{key}=" for key in KEYS if key.startswith(incomplete)]


def budgets(incomplete: str) -> list[str]:
    """Return the kinds of a budget, as `--budget` takes them."""
    return [kind for kind in ("rows=", "tokens=", "fraction=") if kind.startswith(incomplete)]
