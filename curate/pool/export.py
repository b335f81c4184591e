"""Training files: the selection as messages, JSON Lines and Parquet, with a dataset card."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from curate.store import Artifact, Counts, Step

if TYPE_CHECKING:
    from curate.config import Config

VERSION = 1
FORMATS = ("messages",)


def export_step(selection: Artifact, config: "Config") -> Step:
    """Return the step that writes the training files and their card."""
    params = {
        "formats": config.export.formats,
        "name": config.name,
        "select": config.select.model_dump(mode="json"),
        "seed": config.seed,
        "stages": [s.model_dump(mode="json") for s in config.stages],
        "base": config.models.base,
    }
    return Step("export", VERSION, write_export, {"selection": selection}, params)


def write_export(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write every wanted format and README.md."""
    rows = pl.read_parquet(inputs["selection"].file("selected.parquet"))
    for name in params["formats"]:
        write_format(rows, name, out)
    (out / "README.md").write_text(write_card(rows, params), encoding="utf-8")
    return {"rows_in": rows.height, "rows_out": rows.height}


def write_format(rows: pl.DataFrame, name: str, out: Path) -> list[Path]:
    """Write rows in one format under a folder; return the files.

    messages: train.jsonl and data/train-00000-of-00001.parquet with row_id, messages, source,
    origin and meta. Trainers that read `messages` (TRL, Axolotl, torchtune, open-instruct) take
    either; `datasets.load_dataset(folder)` reads the Parquet file by the card.
    """
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    table = rows.select("row_id", "messages", "source", "origin", "meta")
    out.mkdir(parents=True, exist_ok=True)
    parquet = out / "data" / "train-00000-of-00001.parquet"
    parquet.parent.mkdir(exist_ok=True)
    table.write_parquet(parquet)
    jsonl = out / "train.jsonl"
    with jsonl.open("wb") as file:
        for batch in table.iter_slices(10_000):
            file.writelines(orjson.dumps(row) + b"\n" for row in batch.iter_rows(named=True))
    return [jsonl, parquet]


def write_card(rows: pl.DataFrame, params: Mapping[str, Any]) -> str:
    """Return a dataset card: YAML that `load_dataset` reads, then what the rows are."""
    select = params["select"]
    stages = ", ".join(stage["kind"] for stage in params["stages"]) or "none"
    origins = Counter(rows["origin"].fill_null("(unknown)").to_list()).most_common(30)
    table = "\n".join(f"| {_plain(name)} | {count} |" for name, count in origins)
    budget = next(f"{value} {name}" for name, value in select["budget"].items() if value)
    return f"""---
pretty_name: {params["name"]}
size_categories: [{_size_category(rows.height)}]
task_categories: [text-generation]
tags: [instruction-tuning, curate]
configs:
  - config_name: default
    data_files:
      - split: train
        path: data/train-*
---

# {params["name"]}

{rows.height:,} instruction rows, selected with `{select["method"]}` (budget {budget}, seed
{params["seed"]}, base model `{params["base"]}`) after the stages {stages}.

Rows are in rank order, best first. `row_id` names the upstream file and position; `meta` holds, as
JSON, every upstream field that has no column of its own. Licences are those of the sources.

| origin | rows |
|---|---|
{table}
"""


def _plain(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ").replace("<", "&lt;")


def _size_category(rows: int) -> str:
    limits = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
    return next((name for limit, name in limits if rows < limit), "n>1M")
