"""Training files: the selection as messages, JSON Lines and Parquet, with a dataset card."""

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
from curate.pool.exporter import Exporter
from curate.pool.exports.messages import file_names

VERSION = 3
# The format whose files the card describes.
CARDED = "messages"
CARD = "README.md"
SEAL = "<!-- written by curate: "
DIGEST = re.compile(r"[0-9a-f]{16}")
DATA_PATTERN = re.compile(r"path: data/train-([0-9a-f]{16})-\*")


class CardSelector(TypedDict):
    """What a card tells of a selector's settings; a key has all of them."""

    method: str
    budget: Mapping[str, int | float | None]


class CardStage(TypedDict):
    """What a card tells of a stage's settings; a key has all of them."""

    method: str


class CardParams(TypedDict):
    """What a dataset card tells of a run: its name, and how the rows were chosen."""

    name: str
    select: CardSelector
    seed: int
    stages: Sequence[CardStage]
    base: str


@cached_files(version=VERSION, name="export")
def write_export(out: Path, selection: Table, formats: Sequence[str], card: CardParams) -> Counts:
    """Write every format and README.md, the card."""
    rows = selection.read()
    write_all(rows, formats, card, out)
    return {"rows_in": rows.height, "rows_out": rows.height}


def write_all(
    rows: pl.DataFrame, formats: Sequence[str], params: CardParams, out: Path
) -> list[Path]:
    """Write rows in every format, and the card that describes those as messages; return all files."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in formats:
        written = find_method(Exporter, name)(method=name).write(rows, out)
        if name == CARDED:
            card = out / CARD
            digest = DIGEST.findall(written[0].name)[0]
            card.write_text(write_card(rows, params, digest), encoding="utf-8")
            written = [*written, card]
        paths += written
    return paths


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
    return [out / name for name in (CARD, *file_names(digests[0]))]


def _digest_text(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def write_card(rows: pl.DataFrame, params: CardParams, digest: str) -> str:
    """Return a dataset card: YAML that `load_dataset` reads, then what the rows are.

    Its last line seals it, so that a card which somebody edited is never taken for ours.
    """
    stages = ", ".join(stage["method"] for stage in params["stages"]) or "none"
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
