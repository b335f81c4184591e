"""The proof: is a model tuned on the selection better than one tuned on a fair random draw may be?"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from curate.core.registry import Budget, ScoreRun
from curate.core.store import Artifact, Step
from curate.core.tables import read_table
from curate.models.losses import LanguageModel
from curate.prove.ablation import AblatedStage, ablate
from curate.prove.arms import ARMS, arm_runs, arms_step, main_control, other_control
from curate.prove.contamination import write_leaks, write_refusal
from curate.prove.curve import curve_step, curve_steps, nested_prefixes
from curate.prove.harness import read_tasks
from curate.prove.looks import Look, looks_of
from curate.prove.metrics import deciding_metric
from curate.prove.others import FILE_PART, PLAIN_ARMS, TARGET_ONLY, other_tables, others_step
from curate.prove.questions import check_measurable, question_sentences, questions_step
from curate.prove.results import measured_name, tuned_name
from curate.prove.shared_controls import SharedControls
from curate.prove.side_by_side import writing_models
from curate.prove.spread import setting_of, spread_step
from curate.prove.statistics import WITHIN, level
from curate.prove.trainable import label_faults, label_sentences, trainable_step
from curate.prove.training import Rows, Training, tuned_model
from curate.prove.verdict import trained_arms, write_proof, write_unmeasured
from curate.prove.watch import measure_base, watch_models
from curate.prove.watch_sets import WatchInputs, watch_trainings
from curate.prove.written_metrics import base_warning

LOG = logging.getLogger("curate")
VERSION = 9
THEN = f"{FILE_PART}then"


@dataclass(frozen=True)
class ProofInputs:
    """What a proof reads beside the pool.

    eval_rows: the eval set as it was given, which must not leak.
    rendered: the eval set as the model reads it, where system turns are merged.
    arms: rankings and rows of further arms, by `ranking-NAME` and `file-NAME`; the second phase's rows
        as `file-then`.
    watch: rows on which every model is measured too.
    stages: of the recipe, each with the selection that is made without it, to be trained on too.
    """

    eval_rows: Artifact
    rendered: Artifact | None = None
    arms: Mapping[str, Artifact] = field(default_factory=dict)
    watch: WatchInputs | None = None
    stages: Sequence[AblatedStage] = ()

    @property
    def scored(self) -> Artifact:
        """Return the eval set as the model reads it."""
        return self.rendered or self.eval_rows


def prove(
    run: ScoreRun,
    selection: Artifact,
    material: ProofInputs,
    prove: Mapping[str, Any],
    budget: Budget,
    judged: int = 1,
    controls: SharedControls | None = None,
) -> Artifact:
    """Return the artifact with proof.json, and effects.parquet unless the proof was refused.

    Args:
        run: the run.
        selection: its ranking.parquet says which rows are selected.
        material: eval set and further arms.
        prove: the recipe's settings.
        budget: that of the selection.
        judged: how many selections share the level (Bonferroni): those that are judged together, and
            those that lost a race.
        controls: the sizes of controls that selections share; the selection's own if not given.
    """
    for look in looks_of(prove["draws"]):
        proof = _prove_once(run, selection, material, prove, budget, judged, look, controls)
        if look.number == look.of or proof.counts["verdict"] != WITHIN:
            break
        LOG.info("proof: %d draws do not decide it; more are drawn", look.draws)
    return proof


def _prove_once(
    run: ScoreRun,
    selection: Artifact,
    material: ProofInputs,
    prove: Mapping[str, Any],
    budget: Budget,
    judged: int,
    look: Look,
    controls: SharedControls | None,
) -> Artifact:
    """Return a proof of so many draws; of the verdict alone where a later look has to decide.

    Controls come first: they know nothing of the method, and say what difference can be shown.
    """
    prove = {**prove, "draws": look.draws}
    limit = prove["lora"]["max_length"]
    runs = arm_runs(prove, by_tokens=budget.tokens is not None)
    model = tuned_model(run, prove["base"])
    sizes = controls.sizes if controls else None
    arms = run.execute(arms_step(selection, runs, run.seed, limit, sizes))
    others = _other_arms(run, selection, material, prove)
    leak_inputs = {**row_inputs(run, material), "arms": arms, "eval": material.eval_rows}
    leak_inputs |= {"others": others.listed} if others.listed else {}
    leak_inputs |= {"watch": material.watch.rows} if material.watch else {}
    leaks = run.execute(Step("proof-leaks", VERSION, write_leaks, leak_inputs))
    alpha = level(prove["strict"], judged) * look.share
    params: dict[str, Any] = {"prove": dict(prove), "runs": runs, "alpha": alpha, "judged": judged}
    params |= {"others": others.names, "look": look.describe()}
    if controls is not None and controls.weight < 1:
        params["shared_control"] = controls.describe(other_control(runs))
        LOG.info("proof: %s", params["shared_control"]["sentence"])
    if leaks.counts["hits"] and not prove["allow_leaks"]:
        return run.execute(Step("proof-refused", VERSION, write_refusal, {"leaks": leaks}, params))
    labels = run.execute(
        trainable_step(run.rows, arms, material.scored, limit, model.identity, model.runtime)
    )
    table = read_table(labels.file("labels.parquet"))
    for sentence, many in label_sentences(table, limit):
        LOG.log(logging.WARNING if many else logging.INFO, "proof: %s", sentence)
    if label_faults(table, limit):
        inputs = {"leaks": leaks, "labels": labels}
        return run.execute(Step("proof-unmeasured", VERSION, write_unmeasured, inputs, params))
    training = make_training(run, model, material, prove)
    drawn = read_table(arms.file("arms.parquet"))
    steps = _arm_steps(training, drawn, runs)
    selected = {name: step for name, step in steps.items() if name.startswith("selected/")}
    LOG.info(
        "proof: %d fine-tunes of %d epochs on about %s tokens, each measured on %d eval examples",
        len({step.key for step in steps.values()}),
        prove["lora"]["epochs"],
        f"{drawn.filter(arm='selected', seed=0)['tokens'].sum():,}",
        material.eval_rows.counts["rows_out"],
    )
    done = training.measure({"base": None})
    base = read_table(done[measured_name("base")].file("results.parquet"))
    if warning := base_warning(base, deciding_metric(prove["metric"])):
        LOG.warning("proof: %s", warning)
    watching = watch_trainings(training, material.watch) if material.watch else []
    measure_base(watching, material.watch.sets if material.watch else ())
    done |= training.tune({n: s for n, s in steps.items() if n not in selected})
    spread = run.execute(_spread_step(training, done, material.eval_rows, params, budget))
    LOG.info("proof: %s", spread.counts["sentence"])
    done |= training.tune(selected)
    inputs = {"leaks": leaks, "labels": labels, "arms": arms, "selection": selection}
    inputs |= {"spread": spread, "eval": material.eval_rows}
    inputs |= {"questions": training.questions} if training.questions else {}
    if look.number < look.of:
        # What stands beside the verdict is made for the look that decides alone.
        plain = {**params, "others": [], "prove": {**prove, "keep": False}}
        verdict = run.execute(Step("proof-look", VERSION, write_proof, {**inputs, **done}, plain))
        if verdict.counts["verdict"] == WITHIN:
            return verdict
    done |= _tune_others(training, others, prove["seeds"])
    writers = {n: done.get(n) for n in writing_models(main_control(runs)).values()}
    done |= training.write(writers, prove["written"])
    inputs |= done
    if material.watch is not None:
        settings = _watch_settings(training, params, budget)
        inputs["watch"] = _watch(run, watching, material.watch, done, settings)
    if prove["curve"] is not None:
        inputs["curve"] = _measure_curve(training, drawn, done, params)
    inputs |= _ablation(training, selection, material, done, params)
    return run.execute(Step("proof", VERSION, write_proof, inputs, params))


def row_inputs(run: ScoreRun, material: ProofInputs) -> dict[str, Artifact]:
    """Return what the rows of arms are read from: pool, target examples and the arms' own files."""
    target = {"target": run.target} if run.target else {}
    return {"rows": run.rows, **target, **material.arms}


def make_training(
    run: ScoreRun, model: LanguageModel, material: ProofInputs, prove: Mapping[str, Any]
) -> Training:
    """Return how a proof of these settings trains, and measures on its eval set."""
    questions = _ask_questions(run, material.scored, prove["metric"])
    tasks = read_tasks(prove["tasks"]) if prove["tasks"] else []
    then = _second_phase(run, material, prove)
    return Training(
        run, model, prove["lora"], material.scored, then, prove["metric"], questions, tasks
    )


def _ask_questions(run: ScoreRun, eval_rows: Artifact, metric: str | Mapping[str, Any]) -> Artifact:
    """Return the answer spans and options of the eval set.

    Raises:
        UserError: the metric that is to decide needs some, and there are none.
    """
    questions = run.execute(questions_step(eval_rows, run.target))
    check_measurable(deciding_metric(metric), questions.counts)
    for sentence in question_sentences(questions.counts):
        LOG.info("proof: %s", sentence)
    return questions


@dataclass(frozen=True)
class OtherArms:
    """Further arms: their names, the artifact that lists their rows, what the rows are read from."""

    names: Sequence[str]
    listed: Artifact | None
    inputs: Mapping[str, Artifact]


def _other_arms(
    run: ScoreRun, selection: Artifact, material: ProofInputs, prove: Mapping[str, Any]
) -> OtherArms:
    """Return the arms that a recipe names beside the selection and the controls."""
    names = [arm if isinstance(arm, str) else arm["name"] for arm in prove["arms"]]
    names = [name for name in names if name not in PLAIN_ARMS]
    if prove["then"] is not None:
        # By itself it is the second phase without the first.
        names = [TARGET_ONLY, *(name for name in names if name != TARGET_ONLY)]
    inputs = {**row_inputs(run, material), "selection": selection}
    listed = [name for name in names if prove["then"] is None or name != TARGET_ONLY]
    if not listed:
        return OtherArms(names, None, inputs)
    step = others_step(listed, inputs, prove["seeds"], run.seed)
    return OtherArms(names, run.execute(step), inputs)


def _second_phase(run: ScoreRun, material: ProofInputs, prove: Mapping[str, Any]) -> Rows | None:
    """Return the rows that every fine-tune goes on with; None without `prove.then`."""
    if prove["then"] is None:
        return None
    rows = material.arms.get(THEN, run.target)
    assert rows is not None
    table = rows.file("rows.parquet")
    return Rows(read_table(table, columns=["row_id"])["row_id"].to_list(), [table])


def _arm_steps(training: Training, drawn: pl.DataFrame, runs: Mapping[str, int]) -> dict[str, Step]:
    """Return the fine-tune of every arm and number; every one of an arm has a seed of its own.

    A draw and its pair of the other control share theirs.
    """
    tables = [training.run.rows.file("rows.parquet")]
    steps = {}
    for arm in ARMS:
        for number in range(runs[arm]):
            ids = drawn.filter((pl.col("arm") == arm) & (pl.col("seed") == number))["row_id"]
            rows = Rows(ids.to_list(), tables)
            steps[tuned_name(arm, number)] = training.step(rows, number, drawn=arm != "selected")
    return steps


def _tune_others(training: Training, others: OtherArms, runs: int) -> dict[str, Artifact]:
    """Return the fine-tunes of further arms, and what they reach on the eval set."""
    tuned: dict[str, Artifact] = {}
    if training.then is not None:
        tuned |= training.tune_target(runs, TARGET_ONLY)
    if others.listed is None:
        return tuned
    rows, tables = read_table(others.listed.file("others.parquet")), other_tables(others.inputs)
    steps = {}
    for (arm, number), part in rows.group_by("arm", "seed", maintain_order=True):
        places = part["place"].unique(maintain_order=True)
        chosen = Rows(part["row_id"].to_list(), [tables[place] for place in places])
        steps[tuned_name(str(arm), int(str(number)))] = training.step(
            chosen, int(str(number)), drawn=False
        )
    return tuned | training.tune(steps)


def _watch_settings(
    training: Training, params: Mapping[str, Any], budget: Budget
) -> dict[str, Any]:
    """Return what verdicts on watch sets rest on beside the sets and the models."""
    return {
        **_setting(training, params, budget),
        "alpha": params["alpha"],
        "trained": trained_arms(params),
        "control": main_control(params["runs"]),
    }


def _watch(
    run: ScoreRun,
    trainings: Sequence[Training],
    watch: WatchInputs,
    done: Mapping[str, Artifact],
    settings: Mapping[str, Any],
) -> Artifact:
    """Return the verdicts on watch sets, and tell them."""
    verdicts = watch_models(run, trainings, watch, done, settings)
    for sentence in verdicts.counts["sentences"]:
        LOG.info("watch: %s", sentence)
    return verdicts


def _measure_curve(
    training: Training,
    drawn: pl.DataFrame,
    done: Mapping[str, Artifact],
    params: Mapping[str, Any],
) -> Artifact:
    """Return the curve of selection and control, whose whole arms are measured already."""
    prefixes = nested_prefixes(drawn, main_control(params["runs"]), params["prove"]["curve"])
    steps = curve_steps(training, prefixes)
    LOG.info("proof: %d more fine-tunes for the curve", len({s.key for s in steps.values()}))
    tuned = training.tune(steps)
    step = curve_step({**done, **tuned}, prefixes, drawn, training.eval_rows, params)
    curve = training.run.execute(step)
    LOG.info("proof: curve: %s", curve.counts["sentence"])
    return curve


def _ablation(
    training: Training,
    selection: Artifact,
    material: ProofInputs,
    done: Mapping[str, Artifact],
    params: Mapping[str, Any],
) -> dict[str, Artifact]:
    """Return what the stages of the recipe earned, as `ablation`; nothing where none is left out."""
    if not material.stages:
        return {}
    read = {"selection": selection, "rows": training.run.rows, "eval": material.eval_rows}
    read |= {"watch": material.watch.rows} if material.watch else {}
    return {"ablation": ablate(training, material.stages, read, done, params)}


def _setting(training: Training, params: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """Return what spreads and watch verdicts of this proof may be quoted for."""
    return setting_of(budget.model_dump(mode="json"), training.model.identity, params["prove"])


def _spread_step(
    training: Training,
    done: Mapping[str, Artifact],
    eval_rows: Artifact,
    params: Mapping[str, Any],
    budget: Budget,
) -> Step:
    main = main_control(params["runs"])
    names = [measured_name(tuned_name(main, n)) for n in range(params["runs"][main])]
    setting = _setting(training, params, budget)
    metric = deciding_metric(params["prove"]["metric"]).name
    settings = {**setting, "alpha": params["alpha"], "metric": metric}
    return spread_step({name: done[name] for name in names}, eval_rows, settings)
