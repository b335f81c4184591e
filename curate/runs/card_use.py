"""What a card says of the use of training files: how to load, train and reproduce them."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import yaml

from curate.config.recipe import PLACES, Config
from curate.core.escape import code, visible
from curate.core.preferences import has_pairs, rejected_hash
from curate.pool.trainer_recipes import FOLDER as RECIPES
from curate.runs.folder import RunFolder
from curate.runs.public_paths import public_path, with_public_paths

COMMANDS = {
    "sft_trl.py": "python recipes/sft_trl.py --out tuned",
    "axolotl.yaml": "axolotl train recipes/axolotl.yaml",
    "llamafactory.yaml": "llamafactory-cli train recipes/llamafactory.yaml",
    "mlx.yaml": "mlx_lm.lora --config recipes/mlx.yaml",
}
ADAPTER = "adapter"
# What of a model's identity holds on every machine.
IDENTITY = ("weights", "tokenizer", "chat_template")


def load_lines(out: Path, splits: Mapping[str, int], recipe: Config) -> Iterator[str]:
    """Yield how `datasets` loads the files, and what is in them."""
    yield from (
        "```python",
        "from datasets import load_dataset",
        "",
        'rows = load_dataset("FOLDER_OR_OWNER/NAME")',
        "```",
        "",
    )
    sizes = ", ".join(f"`{name}` {count:,} rows" for name, count in sorted(splits.items()))
    settings = recipe.export
    order = "random order" if settings.order == "random" else "rank order, best first"
    if recipe.select.method == "all" and settings.order == "rank":
        order = "the order of the pool"
    phases = f", phase by phase (by {settings.phases.by})" if settings.phases else ""
    yield f"Splits: {sizes}. Rows are in {order}{phases}."
    if "validation" in splits:
        yield "No row of `validation` has a near copy in `train`."
    if settings.sample_weight:
        yield "`sample_weight` is a row's score, divided by the mean score."
    yield (
        "`row_id` names the upstream file and position; `meta` holds, as JSON, every upstream field "
        "that has no column of its own."
    )
    if (out / ADAPTER).is_dir():
        yield f"`{ADAPTER}/` is the LoRA adapter that the proof's first fine-tune on these rows gave."


def train_lines(out: Path, recipe: Config) -> Iterator[str]:
    """Yield the commands of the trainers' recipes that were written."""
    commands = [line for name, line in COMMANDS.items() if (out / RECIPES / name).is_file()]
    if commands:
        whose = "the proof" if recipe.prove else "a proof, of which none was run"
        yield f"In this folder, with the settings of {whose}:"
        yield from ("", "```console", *commands, "```")


def reproduce_lines(run: RunFolder, recipe: Config, rows: pl.DataFrame) -> Iterator[str]:
    """Yield command, recipe, versions and the digest of the rows."""
    text = _recipe_text(recipe)
    fence = "```"
    while fence in text:
        fence += "`"
    yield "Save the recipe below as `recipe.yaml`, next to the files that it names, and run"
    yield from ("", "```console", "curate check recipe.yaml", "curate run recipe.yaml", "```", "")
    yield f"The rows have the digest `{rows_digest(rows)}` (BLAKE2b of their content hashes, sorted)."
    if has_pairs(rows.lazy()):
        yield "Behind the hash of a preference pair stands that of its rejected answer."
    versions = run.manifest.get("versions", {})
    if versions:
        listed = ", ".join(f"{name} {number}" for name, number in versions.items())
        yield f"They were chosen with {listed}."
    if model := run.manifest.get("model"):
        identity = ", ".join(f"{key} {code(str(model[key]))}" for key in IDENTITY if key in model)
        yield f"The base model is {code(public_path(recipe.models.base))}: {identity}."
    yield from ("", "<details><summary>Recipe in full</summary>", "")
    yield from (f"{fence}yaml", text.rstrip(), fence, "", "</details>")


def _recipe_text(recipe: Config) -> str:
    """Return a recipe as YAML; where a text in it commands readers, such as U+202E, all in ASCII."""
    # Where rows are computed and stored changes nothing of them, and is of one machine.
    settings = with_public_paths(recipe.model_dump(mode="json", exclude=PLACES))
    text: str = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return text if visible(text) == text else str(yaml.safe_dump(settings, sort_keys=False))


def rows_digest(rows: pl.DataFrame) -> str:
    """Return a digest of the contents of rows, whatever their order; of pairs of both answers."""
    digest = hashlib.blake2b(digest_size=16)
    rejected = rows["rejected"].to_list() if "rejected" in rows.columns else [None] * rows.height
    pairs = zip(rows["content_hash"], rejected, strict=True)
    for content in sorted(text + (rejected_hash(answer) or "") for text, answer in pairs):
        digest.update(content.encode())
    return digest.hexdigest()
