"""What a recipe would do and cost, from its inputs and a short speed test; nothing is kept."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from curate.config.recipe import Config
from curate.core.calls import StoreRunner, Table
from curate.core.lazy import lazy_module
from curate.core.scratch import SETTING, temporary_folder
from curate.core.store import Store
from curate.core.workload import Workload
from curate.estimate.base_model import BaseModel
from curate.estimate.embedding import Embedding
from curate.estimate.generation import generation_lines
from curate.estimate.lines import EstimateLine
from curate.estimate.proof import proof_lines
from curate.estimate.references import reference_lines
from curate.estimate.rehearsal import rehearsal_lines
from curate.estimate.remarks import imitation_remarks, pair_remarks, refused_remark, script_remarks
from curate.estimate.selection import choice_lines
from curate.estimate.stages import stage_line
from curate.pipeline.inputs import input_sets, makes_pairs, proof_sets
from curate.pipeline.outside import check_generators, check_methods
from curate.pool.rowset import RowSet, read_sets
from curate.proof.halves import CHOICE, VERDICT, check_halves, half_call
from curate.proof.inputs import check_proof

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")


# What the rows of an input are called, where they are no examples.
READ = {"prompts": "prompts read", "prior": "rows of earlier training read"}


def estimate(config: Config, sets: Mapping[str, RowSet] | None = None) -> list[EstimateLine]:
    """Read all inputs, check them as a run would, and return what each stage would do and cost.

    A model is loaded only where the recipe's own steps would run it.

    Args:
        config: the recipe.
        sets: its inputs, where their files have been looked for already.

    Raises:
        UserError: an input is at fault.
    """
    check_methods(config)
    if config.generate is not None:
        check_generators(config.generate)
    with temporary_folder() as folder:
        run = StoreRunner(Store(folder, SETTING))
        sets = sets or input_sets(config)
        inputs = dict(zip(sets, read_sets(run, list(sets.values())), strict=True))
        if config.prove is not None:
            check_proof(config.prove, inputs, config.seed, makes_pairs=makes_pairs(config))
        if config.race is not None:
            inputs |= _halves(inputs["eval"], config, run)
        arms = {f"arm {name}": one.read(run) for name, one in proof_sets(config).items()}
        references = list(reference_lines(config, run))
        refused = refused_remark(config, inputs, run) if config.reads_base else None
        imitations = imitation_remarks(inputs["pool"], config) if config.counts_tokens else []
        first, *others = _lines(config, {**inputs, **arms}, BaseModel(config, inputs))
        scripts = script_remarks(inputs["pool"], config)
        pairs = pair_remarks(inputs["pool"], config)
        beside = [*([refused] if refused else []), *imitations, *scripts, *pairs]
        return [replace(first, does="; ".join([first.does, *beside])), *others, *references]


def _halves(eval_rows: Table, config: Config, run: StoreRunner) -> dict[str, Table]:
    """Return the halves of an eval set by which a race chooses and its winner is judged."""
    check_halves(eval_rows, by_pairs=config.prove is not None and config.prove.by_pairs)
    calls = {half: half_call(eval_rows, eval_rows, half, config.seed) for half in (CHOICE, VERDICT)}
    return {f"eval: {half}": run.result(call) for half, call in calls.items()}


def _lines(config: Config, inputs: Mapping[str, Table], base: BaseModel) -> list[EstimateLine]:
    examples = dict(inputs)
    pool = examples.pop("pool")
    rows = pool.height
    bad = sum(pool.artifact.counts["rejected"].values())
    summary = f"{bad:,} of {pool.artifact.counts['rows_in']:,} records rejected"
    if empty := pool.artifact.counts.get("empty_files"):
        summary += f"; files without any record: {empty:,}"
    lines = [EstimateLine("pool", rows, summary)]
    for name, table in examples.items():
        what = READ.get(name, "examples read")
        lines.append(EstimateLine(name, table.height, what))
    if config.generate is not None:
        given = {name: table.height for name, table in examples.items()}
        targets, prompts = given.get("target", 0), given.get("prompts", 0)
        lines += generation_lines(config.generate, targets, rows, prompts)
        rows = lines[-1].rows
    read = pool.height
    later = _later_lines(config, pool, rows, examples, base)
    return lines + [replace(line, up_to=line.rows > read) for line in later]


def _later_lines(
    config: Config,
    pool: Table,
    rows: int,
    examples: Mapping[str, Table],
    base: BaseModel,
) -> list[EstimateLine]:
    """Return the lines of what follows reading and making: stages, selections, proof."""
    lines = [stage_line(params, config, pool, rows, base) for params in config.stages]
    embedding = Embedding(pool, config.models.embedder)
    lines += choice_lines(config, rows, base, embedding)
    lines += rehearsal_lines(config, rows, examples, base)
    if "target" in examples:
        summary = f"nearness to the target examples; {config.models.embedder}"
        seconds = embedding.seconds(Workload(embedded_rows=rows))
        lines.append(EstimateLine("coverage", rows, summary, seconds=seconds))
    if config.prove and "eval" in examples:
        lines += proof_lines(config, rows, examples, base)
    return lines
