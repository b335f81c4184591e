"""Training files: the selection in the forms of trainers, their recipes, and a dataset card."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import polars as pl
import yaml

from curate.core.calls import Table, cached_files
from curate.core.errors import UserError
from curate.core.escape import markdown
from curate.core.jsontypes import JSON
from curate.core.methods import find_method
from curate.core.preferences import is_pair
from curate.core.store import Counts
from curate.pool.arrangement import ArrangementValues, arrange, split_sizes
from curate.pool.datafiles import DATA_FILE, SHARD_BYTES, pattern_of
from curate.pool.exporter import Exporter
from curate.pool.trainer_recipes import FilesByFormat, TrainerParams, write_trainer_recipes

VERSION = 6
# The format that `datasets.load_dataset(folder)` reads, where it is among those exported.
DEFAULT = "messages"
CARD = "README.md"
SEAL = "<!-- written by curate: "
FILES = "## Files\n"
FILE = re.compile(r"^- `([^`\n]+)`$", re.M)


class CardParams(TypedDict):
    """What an export tells beside its rows: the run's name, and how its proof trains."""

    name: str
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
    """Write every format, the trainers' recipes and README.md, a card of the files alone.

    Args:
        out: the folder.
        selection: the rows, best first.
        ranking: their ranks, scores and tokens.
        formats: names of exporters.
        arrangement: splits, order and shards.
        card: the run's name, and how its proof trains.
        texts: the rows as the base model reads them, for the formats that need them.
    """
    rows = arrange(selection.read(), ranking.read(), arrangement, card["trainers"]["seed"])
    if texts is not None:
        rows = with_texts(rows, texts.read())
    write_all(rows, formats, card, out, arrangement["shard_bytes"])
    remarks = export_remarks(rows, formats)
    sizes = split_sizes(rows)
    return {"rows_in": rows.height, "rows_out": rows.height, "remarks": remarks, "splits": sizes}


def with_texts(rows: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the column `text`."""
    return rows.join(texts, on="row_id", how="left", maintain_order="left")


def needs_texts(formats: Sequence[str]) -> bool:
    """Return whether a format has rows as the base model reads them."""
    return any(find_method(Exporter, name).renders for name in formats)


def export_remarks(rows: pl.DataFrame, formats: Sequence[str]) -> list[str]:
    """Return what the formats cannot say of these rows, a sentence each."""
    exporters = [find_method(Exporter, name)(method=name) for name in formats]
    sentences = [sentence for exporter in exporters for sentence in exporter.remarks(rows)]
    unranked = [exporter.method for exporter in exporters if not exporter.ranks]
    pairs = rows.filter(is_pair())
    repeated = pairs.height - pairs["content_hash"].n_unique()
    if repeated and unranked:
        sentences.append(
            f"{', '.join(unranked)}: lines that repeat, of pairs that differ in their rejected answers "
            f"alone: {repeated:,}"
        )
    return sentences


def write_all(
    rows: pl.DataFrame,
    formats: Sequence[str],
    params: CardParams,
    out: Path,
    shard_bytes: int = SHARD_BYTES,
) -> list[Path]:
    """Write arranged rows in every format, recipes of trainers and the card; return all files.

    The card is one of the files alone: `rewrite_card` tells more, once a proof is done.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = {
        name: find_method(Exporter, name)(method=name, shard_bytes=shard_bytes).write(rows, out)
        for name in formats
    }
    recipes = write_trainer_recipes(out, files, split_sizes(rows), params["trainers"])
    paths = [*(path for written in files.values() for path in written), *recipes]
    names = [path.relative_to(out).as_posix() for path in paths]
    head = {"pretty_name": params["name"]} | _configs(_patterns(files, out))
    body = f"# {markdown(params['name'])}\n\n{rows.height:,} instruction rows."
    return [*paths, _write_card(out, head, body, names)]


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
            raise UserError(f"{out} is no folder; give a new one for the training files")
        return []
    files = [path for path in sorted(out.rglob("*")) if path.is_symlink() or not path.is_dir()]
    own = _own_files(out)
    strange = [path for path in files if path not in own]
    if strange:
        raise UserError(
            f"{out} holds other files ({strange[0].relative_to(out)}), and an export overwrites "
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


def rewrite_card(out: Path, head: Mapping[str, JSON], body: str) -> Path:
    """Give an export that was just written a card with more in it; its files stay as they are.

    Args:
        out: the export's folder.
        head: of the card's YAML, all but what tells `datasets` where the files are.
        body: Markdown, all but the list of files.
    """
    text = (out / CARD).read_text(encoding="utf-8")
    earlier = yaml.safe_load(text.split("---\n")[1])
    configs = {"configs": earlier["configs"]} if "configs" in earlier else {}
    return _write_card(out, {**head, **configs}, body, FILE.findall(text.rpartition(FILES)[2]))


def _write_card(out: Path, head: Mapping[str, JSON], body: str, files: Sequence[str]) -> Path:
    """Write a dataset card: YAML that `load_dataset` reads, what the rows are, then the files.

    Its last line seals it, so that a card which somebody edited is never taken for ours.
    """
    listed = "\n".join(f"- `{name}`" for name in sorted(files))
    top = yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True, width=1000)
    text = f"---\n{top}---\n\n{body.strip()}\n\n{FILES}\n{listed}\n\n"
    card = out / CARD
    card.write_text(f"{text}{SEAL}{_digest_text(text)} -->\n", encoding="utf-8")
    return card


def _configs(patterns: Mapping[str, Mapping[str, str]]) -> dict[str, JSON]:
    """Return the part of the card's YAML by which `datasets` finds each format's files."""
    configs: list[JSON] = []
    for name, pattern_by_split in patterns.items():
        config: dict[str, JSON] = {"config_name": "default" if name == DEFAULT else name}
        if DEFAULT not in patterns and not configs:
            config["default"] = True
        config["data_files"] = [
            {"split": split, "path": pattern} for split, pattern in pattern_by_split.items()
        ]
        configs.append(config)
    return {"configs": configs} if configs else {}
