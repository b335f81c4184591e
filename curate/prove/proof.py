"""The proof: is a model tuned on the selection better than one tuned on a fair random draw may be?"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from curate.prove.arms import ARMS, arm_runs, arms_step, main_control
from curate.prove.contamination import write_leaks, write_refusal
from curate.prove.finetune import finetune_step, read_messages
from curate.prove.measure import measure_step
from curate.prove.metrics import deciding_metric
from curate.prove.results import measured_name, tuned_name
from curate.prove.spread import setting_of, spread_step
from curate.prove.statistics import level
from curate.prove.trainable import label_faults, label_sentences, trainable_step
from curate.prove.verdict import write_proof, write_unmeasured
from curate.registry import Budget, ScoreRun
from curate.store import Artifact, Step, digest_of
from curate.tables import read_table

LOG = logging.getLogger("curate")
VERSION = 8
# Behind the run's seed and a number: the selection's trainings share no seed with a draw.
SELECTED_SEED = 1


def prove(
    run: ScoreRun,
    selection: Artifact,
    eval_rows: Artifact,
    prove: Mapping[str, Any],
    budget: Budget,
    judged: int = 1,
    rendered: Artifact | None = None,
) -> Artifact:
    """Return the artifact with proof.json, and effects.parquet unless the proof was refused.

    Controls come first: they know nothing of the method, and say what difference can be shown.

    Args:
        run: the run.
        selection: its ranking.parquet says which rows are selected.
        eval_rows: the eval set as it was given, which must not leak.
        prove: the recipe's settings.
        budget: that of the selection.
        judged: how many selections are judged together; each at so much smaller a level (Bonferroni).
        rendered: the eval set as the model reads it, where system turns are merged.
    """
    scored = rendered or eval_rows
    limit = prove["lora"]["max_length"]
    runs = arm_runs(prove, by_tokens=budget.tokens is not None)
    arms = run.execute(arms_step(selection, runs, run.seed, limit))
    leak_inputs = {"rows": run.rows, "arms": arms, "eval": eval_rows}
    if run.target:
        leak_inputs["target"] = run.target
    leaks = run.execute(Step("proof-leaks", VERSION, write_leaks, leak_inputs))
    alpha = level(prove["strict"], judged)
    params: dict[str, Any] = {"prove": dict(prove), "runs": runs, "alpha": alpha, "judged": judged}
    if leaks.counts["hits"] and not prove["allow_leaks"]:
        return run.execute(Step("proof", VERSION, write_refusal, {"leaks": leaks}, params))
    labels = run.execute(
        trainable_step(run.rows, arms, scored, limit, run.model_identity(), run.model_hints())
    )
    table = read_table(labels.file("labels.parquet"))
    for sentence, many in label_sentences(table, limit):
        LOG.log(logging.WARNING if many else logging.INFO, "proof: %s", sentence)
    if label_faults(table, limit):
        inputs = {"leaks": leaks, "labels": labels}
        return run.execute(Step("proof", VERSION, write_unmeasured, inputs, params))
    drawn = read_table(arms.file("arms.parquet"))
    steps = _finetune_steps(run, drawn, runs, prove)
    selected = {name: step for name, step in steps.items() if name.startswith("selected/")}
    LOG.info(
        "proof: %d fine-tunes of %d epochs on about %s tokens, each measured on %d eval examples",
        len({step.key for step in steps.values()}),
        prove["lora"]["epochs"],
        f"{drawn.filter(arm='selected', seed=0)['tokens'].sum():,}",
        eval_rows.counts["rows_out"],
    )
    done = _measure(run, {"base": None}, scored, limit)
    done |= _tune(run, {n: s for n, s in steps.items() if n not in selected}, scored, limit)
    spread = run.execute(_spread_step(run, done, eval_rows, params, budget))
    LOG.info("proof: %s", spread.counts["sentence"])
    done |= _tune(run, selected, scored, limit)
    inputs = {"leaks": leaks, "labels": labels, "arms": arms, "selection": selection}
    inputs |= {"spread": spread, **done}
    return run.execute(Step("proof", VERSION, write_proof, inputs, params))


def _finetune_steps(
    run: ScoreRun, drawn: pl.DataFrame, runs: Mapping[str, int], prove: Mapping[str, Any]
) -> dict[str, Step]:
    """Return the fine-tune of every arm and number; every one of an arm has a seed of its own.

    A draw and its pair of the other control share theirs.
    """
    rows = run.rows.file("rows.parquet")

    def step(ids: Sequence[str], seed: Sequence[int]) -> Step:
        return finetune_step(
            ids,
            digest_of(read_messages(rows, ids)),
            lora=prove["lora"],
            seed=seed,
            identity=run.model_identity(),
            hints={**run.model_hints(), "rows": str(rows)},
        )

    steps = {}
    for arm in ARMS:
        for number in range(runs[arm]):
            ids = drawn.filter((pl.col("arm") == arm) & (pl.col("seed") == number))["row_id"]
            own = [SELECTED_SEED] if arm == "selected" else []
            steps[tuned_name(arm, number)] = step(ids.to_list(), [run.seed, number, *own])
    return steps


def _tune(
    run: ScoreRun, steps: Mapping[str, Step], eval_rows: Artifact, max_length: int
) -> dict[str, Artifact]:
    """Return fine-tunes by name, and what each reaches on the eval set."""
    tuned = dict(zip(steps, run.execute_all(list(steps.values())), strict=True))
    return {**tuned, **_measure(run, tuned, eval_rows, max_length)}


def _measure(
    run: ScoreRun,
    models: Mapping[str, Artifact | None],
    eval_rows: Artifact,
    max_length: int,
) -> dict[str, Artifact]:
    """Return what models, fine-tuned or the base model itself, reach on the eval set."""
    measures = [
        measure_step(
            eval_rows,
            model,
            max_length=max_length,
            identity=run.model_identity(),
            hints=run.model_hints(),
        )
        for model in models.values()
    ]
    results = run.execute_all(measures)
    return {measured_name(n): result for n, result in zip(models, results, strict=True)}


def _spread_step(
    run: ScoreRun,
    done: Mapping[str, Artifact],
    eval_rows: Artifact,
    params: Mapping[str, Any],
    budget: Budget,
) -> Step:
    main = main_control(params["runs"])
    names = [measured_name(tuned_name(main, n)) for n in range(params["runs"][main])]
    setting = setting_of(
        budget.model_dump(mode="json"), run.model_identity(), params["prove"]["lora"]
    )
    metric = deciding_metric(params["prove"]["metric"]).name
    settings = {**setting, "alpha": params["alpha"], "metric": metric}
    return spread_step({name: done[name] for name in names}, eval_rows, settings)
