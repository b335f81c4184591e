"""Training files: the selection in the forms of trainers, their recipes, and a dataset card."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import orjson
import polars as pl

from curate.core.calls import Table, cached_files
from curate.core.errors import UserError
from curate.core.escape import code, markdown
from curate.core.methods import find_method
from curate.core.store import Counts
from curate.pool.arrangement import ArrangementValues, arrange, split_parts
from curate.pool.datafiles import DATA_FILE, SHARD_BYTES, pattern_of
from curate.pool.exporter import Exporter
from curate.pool.trainer_recipes import FilesByFormat, TrainerParams, write_trainer_recipes

VERSION = 5
# The format that `datasets.load_dataset(folder)` reads, where it is among those exported.
DEFAULT = "messages"
CARD = "README.md"
SEAL = "<!-- written by curate: "
FILES = "## Files\n"
FILE = re.compile(r"^- `([^`\n]+)`$", re.M)


class CardSelector(TypedDict):
    """What a card tells of a selector's settings; a key has all of them."""

    method: str
    budget: Mapping[str, int | float | None]


class CardStage(TypedDict):
    """What a card tells of a stage's settings; a key has all of them."""

    method: str


class CardParams(TypedDict):
    """What a dataset card tells of a run: its name, how the rows were chosen, how a proof trains."""

    name: str
    select: CardSelector
    seed: int
    stages: Sequence[CardStage]
    base: str
    trainers: TrainerParams


@cached_files(version=VERSION, name="export")
def write_export(
    out: Path,
    selection: Table,
    ranking: Table,
    formats: Sequence[str],
    arrangement: ArrangementValues,
    card: CardParams,
    texts: Table | None = None,
) -> Counts:
    """Write every format, the trainers' recipes and README.md, the card.

    Args:
        out: the folder.
        selection: the rows, best first.
        ranking: their ranks, scores and tokens.
        formats: names of exporters.
        arrangement: splits, order and shards.
        card: what the card tells of the run.
        texts: the rows as the base model reads them, for the formats that need them.
    """
    rows = arrange(selection.read(), ranking.read(), arrangement, card["seed"])
    if texts is not None:
        rows = with_texts(rows, texts.read())
    write_all(rows, formats, card, out, arrangement["shard_bytes"])
    remarks = export_remarks(rows, formats)
    return {"rows_in": rows.height, "rows_out": rows.height, "remarks": remarks}


def with_texts(rows: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the column `text`."""
    return rows.join(texts, on="row_id", how="left", maintain_order="left")


def needs_texts(formats: Sequence[str]) -> bool:
    """Return whether a format has rows as the base model reads them."""
    return any(find_method(Exporter, name).renders for name in formats)


def export_remarks(rows: pl.DataFrame, formats: Sequence[str]) -> list[str]:
    """Return what the formats cannot say of these rows, a sentence each."""
    exporters = [find_method(Exporter, name)(method=name) for name in formats]
    return [sentence for exporter in exporters for sentence in exporter.remarks(rows)]


def write_all(
    rows: pl.DataFrame,
    formats: Sequence[str],
    params: CardParams,
    out: Path,
    shard_bytes: int = SHARD_BYTES,
) -> list[Path]:
    """Write arranged rows in every format, recipes of trainers and the card; return all files."""
    out.mkdir(parents=True, exist_ok=True)
    files = {
        name: find_method(Exporter, name)(method=name, shard_bytes=shard_bytes).write(rows, out)
        for name in formats
    }
    sizes = {split: part.height for split, part in split_parts(rows)}
    recipes = write_trainer_recipes(out, files, sizes, params["trainers"])
    paths = [*(path for written in files.values() for path in written), *recipes]
    names = [path.relative_to(out).as_posix() for path in paths]
    card = out / CARD
    card.write_text(write_card(rows, params, _patterns(files, out), names), encoding="utf-8")
    return [*paths, card]


def _patterns(files: FilesByFormat, out: Path) -> dict[str, dict[str, str]]:
    """Return what each format's data files are called, by split: Parquet, else JSON Lines."""
    patterns: dict[str, dict[str, str]] = {}
    for name, paths in files.items():
        for kind in (".jsonl", ".parquet"):
            for path in paths:
                if (match := DATA_FILE.fullmatch(path.name)) and path.suffix == kind:
                    place = pattern_of(path.relative_to(out).as_posix())
                    patterns.setdefault(name, {})[match["split"]] = place
    return patterns


def earlier_export(out: Path) -> list[Path]:
    """Return the files of the earlier export that a folder holds.

    Raises:
        UserError: it holds anything else.
    """
    if not out.is_dir():
        if out.exists() or out.is_symlink():
            raise UserError(f"--out {out} is no folder; give a new one for the training files")
        return []
    files = [path for path in sorted(out.rglob("*")) if path.is_symlink() or not path.is_dir()]
    own = _own_files(out)
    strange = [path for path in files if path not in own]
    if strange:
        raise UserError(
            f"--out {out} holds other files ({strange[0].relative_to(out)}), and an export overwrites "
            "none; give a new folder"
        )
    return files


def _own_files(out: Path) -> list[Path]:
    """Return the files that an unedited card of ours in this folder speaks of."""
    try:
        text = (out / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    body, mark, end = text.rpartition(SEAL)
    if not mark or end != f"{_digest_text(body)} -->\n":
        return []
    return [out / CARD, *(out / name for name in FILE.findall(body.rpartition(FILES)[2]))]


def _digest_text(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def write_card(
    rows: pl.DataFrame,
    params: CardParams,
    patterns: Mapping[str, Mapping[str, str]],
    files: Sequence[str],
) -> str:
    """Return a dataset card: YAML that `load_dataset` reads, what the rows are, then the files.

    Its last line seals it, so that a card which somebody edited is never taken for ours.

    Args:
        rows: the selection.
        params: what is told of the run.
        patterns: of the data files of each format and split.
        files: all files beside the card.
    """
    listed = "\n".join(f"- `{name}`" for name in files)
    stages = ", ".join(stage["method"] for stage in params["stages"]) or "none"
    origins = Counter(rows["origin"].fill_null("(unknown)").to_list()).most_common(30)
    table = "\n".join(f"| {markdown(name)} | {count} |" for name, count in origins)
    choice, order = _describe_choice(params["select"], params, stages)
    card = f"""---
pretty_name: {orjson.dumps(params["name"]).decode()}
size_categories: [{_size_category(rows.height)}]
task_categories: [text-generation]
tags: [instruction-tuning, curate]
{_configs(patterns)}---

# {markdown(params["name"])}

{rows.height:,} instruction rows, {choice}

Rows are in {order}. `row_id` names the upstream file and position; `meta` holds, as
JSON, every upstream field that has no column of its own. Licences are those of the sources.
The manifest.json of the run tells when, by which command and with which versions they were chosen.

| origin | rows |
|---|---|
{table}

{FILES}
{listed}

"""
    return f"{card}{SEAL}{_digest_text(card)} -->\n"


def _configs(patterns: Mapping[str, Mapping[str, str]]) -> str:
    """Return the part of the card's YAML by which `datasets` finds each format's files."""
    if not patterns:
        return ""
    lines = ["configs:"]
    for name, pattern_by_split in patterns.items():
        lines.append(f"  - config_name: {'default' if name == DEFAULT else name}")
        if DEFAULT not in patterns and name == next(iter(patterns)):
            lines.append("    default: true")
        lines.append("    data_files:")
        for split, pattern in pattern_by_split.items():
            lines += [f"      - split: {split}", f"        path: {pattern}"]
    return "\n".join(lines) + "\n"


def _describe_choice(select: CardSelector, params: CardParams, stages: str) -> tuple[str, str]:
    """Return what the rows of a selection are, and their order, in words."""
    if select["method"] == "all" and select["budget"]["fraction"] == 1:
        return f"all that were kept by the stages {stages}.", "the order of the pool"
    budget = next(f"{value} {name}" for name, value in select["budget"].items() if value)
    choice = (
        f"selected with `{select['method']}` (budget {budget}, seed\n{params['seed']}, base model "
        f"{code(params['base'])}) after the stages {stages}."
    )
    return choice, "rank order, best first"


def _size_category(rows: int) -> str:
    limits = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
    return next((name for limit, name in limits if rows < limit), "n>1M")
