"""What a recipe would do and cost, from its inputs and a short speed test; nothing is kept."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from curate.config.recipe import Config
from curate.core.lazy import lazy_module
from curate.core.registry import (
    check_stages,
)
from curate.core.store import Artifact, Store
from curate.core.workspace import workspace
from curate.estimate.base_model import BaseModel
from curate.estimate.embedding import Embedding
from curate.estimate.generation import generation_lines
from curate.estimate.lines import EstimateLine
from curate.estimate.proof import proof_lines
from curate.estimate.remarks import imitation_remarks, refused_remark, script_remarks
from curate.estimate.selection import choice_lines
from curate.estimate.stages import stage_line
from curate.pipeline.inputs import input_steps, proof_steps
from curate.prove.halves import CHOICE, VERDICT, check_halves, half_step
from curate.prove.inputs import check_proof
from curate.select.race import RaceParams

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")


def estimate(config: Config) -> list[EstimateLine]:
    """Read all inputs, check them as a run would, and return what each stage would do and cost.

    A model is loaded only where the recipe's own steps would run it.

    Raises:
        UserError: an input is at fault.
    """
    check_stages(config.stages)
    place = Path(tempfile.gettempdir()) / f"curate-check-{os.getuid()}"
    with workspace(place) as folder:
        store = Store(folder)
        inputs = {name: store.ensure(step) for name, step in input_steps(config).items()}
        if config.prove is not None:
            check_proof(config.prove, inputs, config.seed)
        if isinstance(config.select, RaceParams):
            inputs |= _halves(inputs["eval"], config.seed, store)
        arms = {f"arm {name}": store.ensure(s) for name, s in proof_steps(config).items()}
        refused = refused_remark(config, inputs, store) if config.reads_base else None
        imitations = imitation_remarks(inputs["pool"], config) if config.counts_tokens else []
        first, *others = _lines(config, {**inputs, **arms}, BaseModel(config, inputs))
        scripts = script_remarks(inputs["pool"], config)
        beside = [*([refused] if refused else []), *imitations, *scripts]
        lines = [replace(first, does="; ".join([first.does, *beside])), *others]
    with suppress(OSError):
        place.rmdir()
    return lines


def _halves(eval_rows: Artifact, seed: int, store: Store) -> dict[str, Artifact]:
    """Return the halves of an eval set by which a race chooses and its winner is judged."""
    check_halves(eval_rows)
    steps = {half: half_step(eval_rows, eval_rows, half, seed) for half in (CHOICE, VERDICT)}
    return {f"eval: {half}": store.ensure(step) for half, step in steps.items()}


def _lines(config: Config, inputs: Mapping[str, Artifact], base: BaseModel) -> list[EstimateLine]:
    examples = dict(inputs)
    pool = examples.pop("pool")
    rows = pool.counts["rows_out"]
    bad = sum(pool.counts["rejected"].values())
    summary = f"{bad:,} of {pool.counts['rows_in']:,} records rejected"
    if empty := pool.counts.get("empty_files"):
        summary += f"; files without any record: {empty:,}"
    lines = [EstimateLine("pool", rows, summary)]
    for name, artifact in examples.items():
        lines.append(EstimateLine(name, artifact.counts["rows_out"], "examples read"))
    if config.generate is not None:
        targets = examples["target"].counts["rows_out"] if "target" in examples else 0
        lines += generation_lines(config.generate, targets, rows)
        rows = lines[-1].rows
    read = pool.counts["rows_out"]
    later = _later_lines(config, pool, rows, examples, base)
    return lines + [replace(line, up_to=line.rows > read) for line in later]


def _later_lines(
    config: Config,
    pool: Artifact,
    rows: int,
    examples: Mapping[str, Artifact],
    base: BaseModel,
) -> list[EstimateLine]:
    """Return the lines of what follows reading and making: stages, selections, proof."""
    lines = [stage_line(params, config, pool, rows, base) for params in config.stages]
    embedding = Embedding(pool, rows, config.models.embedder)
    lines += choice_lines(config, rows, base, embedding)
    if "target" in examples:
        summary = f"nearness to the target examples; {config.models.embedder}"
        lines.append(
            EstimateLine("coverage", rows, summary, seconds=embedding.seconds("example", None))
        )
    if config.prove and "eval" in examples:
        lines += proof_lines(config, rows, examples, base)
    return lines
