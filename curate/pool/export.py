"""Training files: the selection as messages, JSON Lines and Parquet, with a dataset card."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.calls import Table, cached_files
from curate.core.errors import UserError
from curate.core.escape import code, markdown
from curate.core.rows import SCHEMA
from curate.core.store import Counts

VERSION = 3
FORMATS = ("messages",)
COLUMNS = ["row_id", "messages", "source", "origin", "meta"]
CARD = "README.md"
SEAL = "<!-- written by curate: "
UNNAMED = ".train.jsonl"
DIGEST = re.compile(r"[0-9a-f]{16}")
DATA_PATTERN = re.compile(r"path: data/train-([0-9a-f]{16})-\*")


@cached_files(version=VERSION, name="export")
def write_export(
    out: Path, selection: Table, formats: Sequence[str], card: Mapping[str, Any]
) -> Counts:
    """Write every format and README.md, the card."""
    rows = selection.read()
    write_all(rows, formats, card, out)
    return {"rows_in": rows.height, "rows_out": rows.height}


def write_all(
    rows: pl.DataFrame, formats: Sequence[str], params: Mapping[str, Any], out: Path
) -> list[Path]:
    """Write rows in every format, and the card that names their files; return all of them."""
    paths = [path for name in formats for path in write_format(rows, name, out)]
    card = out / CARD
    card.write_text(write_card(rows, params, DIGEST.findall(paths[0].name)[0]), encoding="utf-8")
    return [*paths, card]


def write_format(rows: pl.DataFrame, name: str, out: Path) -> list[Path]:
    """Write rows in one format under a folder; return the files.

    messages: train-DIGEST.jsonl and data/train-DIGEST-00000-of-00001.parquet with row_id, messages,
    source, origin and meta. Trainers that read `messages` (TRL, Axolotl, torchtune, open-instruct)
    take either; `datasets.load_dataset(folder)` reads the Parquet file by the card. DIGEST is one of
    the rows: `datasets` takes two folders of one name and file pattern for the same data, and would
    hand out from its cache the rows of whichever it read first.
    """
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    table = rows.select(COLUMNS)
    out.mkdir(parents=True, exist_ok=True)
    jsonl, parquet = (out / path for path in _file_names(_write_lines(table, out / UNNAMED)))
    (out / UNNAMED).rename(jsonl)
    parquet.parent.mkdir(exist_ok=True)
    # Not by polars: its lists and strings are "large" ones, another type to `datasets`.
    plain = pa.schema([SCHEMA.field(column) for column in COLUMNS])
    pq.write_table(table.to_arrow().cast(plain), parquet, compression="zstd")
    return [jsonl, parquet]


def _write_lines(table: pl.DataFrame, path: Path) -> str:
    """Write a table as JSON Lines; return 16 hex digits that identify its rows, in their order."""
    digest = hashlib.blake2b(digest_size=8)
    with path.open("wb") as file:
        for batch in table.iter_slices(10_000):
            for row in batch.iter_rows(named=True):
                line = orjson.dumps(row) + b"\n"
                digest.update(line)
                file.write(line)
    return digest.hexdigest()


def _file_names(digest: str) -> tuple[str, str]:
    return f"train-{digest}.jsonl", f"data/train-{digest}-00000-of-00001.parquet"


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
    digests = DATA_PATTERN.findall(body)
    if not mark or end != f"{_digest_text(body)} -->\n" or not digests:
        return []
    return [out / name for name in (CARD, *_file_names(digests[0]))]


def _digest_text(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def write_card(rows: pl.DataFrame, params: Mapping[str, Any], digest: str) -> str:
    """Return a dataset card: YAML that `load_dataset` reads, then what the rows are.

    Its last line seals it, so that a card which somebody edited is never taken for ours.
    """
    stages = ", ".join(stage["kind"] for stage in params["stages"]) or "none"
    origins = Counter(rows["origin"].fill_null("(unknown)").to_list()).most_common(30)
    table = "\n".join(f"| {markdown(name)} | {count} |" for name, count in origins)
    choice, order = _describe_choice(params["select"], params, stages)
    card = f"""---
pretty_name: {orjson.dumps(params["name"]).decode()}
size_categories: [{_size_category(rows.height)}]
task_categories: [text-generation]
tags: [instruction-tuning, curate]
configs:
  - config_name: default
    data_files:
      - split: train
        path: data/train-{digest}-*
---

# {markdown(params["name"])}

{rows.height:,} instruction rows, {choice}

Rows are in {order}. `row_id` names the upstream file and position; `meta` holds, as
JSON, every upstream field that has no column of its own. Licences are those of the sources.
The manifest.json of the run tells when, by which command and with which versions they were chosen.

| origin | rows |
|---|---|
{table}

"""
    return f"{card}{SEAL}{_digest_text(card)} -->\n"


def _describe_choice(
    select: Mapping[str, Any], params: Mapping[str, Any], stages: str
) -> tuple[str, str]:
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
