"""Training files of a recipe's or a finished run's selection, with their card."""

import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from curate.config.recipe import Config
from curate.models.load import find_model, hub_name, load_tokenizer, prepare
from curate.models.rendering import render_rows
from curate.models.training import WARMUP
from curate.pool.arrangement import arrange, split_sizes
from curate.pool.export import (
    CardParams,
    earlier_export,
    export_remarks,
    needs_texts,
    with_texts,
    write_all,
)
from curate.pool.trainer_recipes import TEMPLATE, TrainerParams
from curate.proof.settings import Lora
from curate.runs.alternative import Alternative
from curate.runs.card import alternative_subject, own_subject, write_card
from curate.runs.folder import RunFolder
from curate.runs.rehearsed import exported_rows

LOG = logging.getLogger("curate")


def card_params(config: Config, template: str | None = None) -> CardParams:
    """Return what the training files tell of the recipe.

    Args:
        config: the recipe.
        template: the chat template that rows are rendered with; None if no model was read.
    """
    return {"name": config.name, "trainers": trainer_params(config, template)}


def trainer_params(config: Config, template: str | None) -> TrainerParams:
    """Return how the recipe's proof trains, or one with its defaults would."""
    prove = config.prove
    lora = prove.lora if prove else Lora()
    return {
        "base": hub_name(trained_base(config)),
        "dtype": config.models.dtype,
        "trust_remote_code": config.models.trust_remote_code,
        "template": template,
        "proved": prove is not None,
        "phased": config.export.phases is not None,
        "seed": config.seed,
        "rank": lora.rank,
        "alpha": lora.alpha,
        "epochs": lora.epochs,
        "learning_rate": lora.learning_rate,
        "warmup": WARMUP,
        "batch_rows": lora.batch_rows,
        "max_length": lora.max_length,
    }


def trained_base(config: Config) -> str:
    """Return the name of the model that the recipe's proof tunes."""
    return (config.prove.base if config.prove else None) or config.models.base


def export_run(run: RunFolder, formats: Sequence[str] | None, out: Path) -> list[Path]:
    """Write a finished run's selection as training files with their card; return the files.

    What a format cannot say of a row is logged.

    Args:
        run: the run.
        formats: names of exporters; those of its recipe if None.
        out: a new or empty folder, or one that holds nothing but an earlier export, which goes.

    Raises:
        UserError: the folder holds anything else, or is none; the base model, whose template a format
            needs, is not here.
    """
    ranking = run.table("evidence/select").collect()
    paths, splits = write_rows(run, exported_rows(run), ranking, formats, out)
    write_card(run, out, own_subject(run, splits))
    return paths


def export_alternative(run: RunFolder, alternative: Alternative, out: Path) -> list[Path]:
    """Write another selection than the run's own as `export_run` does, in the recipe's formats.

    Raises:
        UserError: as `export_run`; or the store has lost the rows.
    """
    rows = alternative.rows(run)
    paths, splits = write_rows(run, rows, alternative.ranking, None, out)
    write_card(run, out, alternative_subject(run, alternative, rows, splits))
    return paths


def write_rows(
    run: RunFolder,
    rows: pl.DataFrame,
    ranking: pl.DataFrame,
    formats: Sequence[str] | None,
    out: Path,
) -> tuple[list[Path], dict[str, int]]:
    """Write rows of a run in formats of trainers; return the files, and the size of each split."""
    settings = run.config.export
    formats = formats or settings.formats
    arranged = arrange(rows, ranking, settings.arrangement, run.config.seed)
    rows = _rendered(run, arranged, formats)
    for path in earlier_export(out):
        path.unlink()
    for sentence in export_remarks(rows, formats):
        LOG.warning("%s", sentence)
    params = card_params(run.config, _template(run))
    paths = write_all(rows, formats, params, out, settings.shard_bytes)
    return paths, split_sizes(rows)


def _rendered(run: RunFolder, rows: pl.DataFrame, formats: Sequence[str]) -> pl.DataFrame:
    """Return rows with what a run's base model reads, where a format needs it."""
    if not needs_texts(formats):
        return rows
    location = find_model(trained_base(run.config))
    tokenizer = load_tokenizer(prepare(location), run.config.models.trust_remote_code)
    return with_texts(rows, render_rows(tokenizer, rows))


def _template(run: RunFolder) -> str | None:
    """Return the chat template that the run rendered rows with, None if it rendered none."""
    file = run.path / "export" / TEMPLATE
    return file.read_text(encoding="utf-8") if file.is_file() else None
