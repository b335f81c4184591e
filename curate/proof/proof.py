"""The proof: is a model tuned on the selection better than one tuned on a fair random draw may be?"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from curate.core.calls import Table
from curate.core.jsontypes import JSON
from curate.core.keyed import ModelSource
from curate.core.run import ScoreRun
from curate.core.selectparams import Budget
from curate.core.store import Artifact
from curate.models.training import TrainingRows, training_rows
from curate.proof.ablation import AblatedStage, ablate
from curate.proof.arms import ARMS, TAKES_ALL, Sizes, arm_runs, arms, other_control
from curate.proof.contamination import write_leaks, write_refusal
from curate.proof.curve import curve_calls, make_curve, nested_prefixes
from curate.proof.design import ProofDesign
from curate.proof.harness import read_tasks
from curate.proof.looks import Look, looks_of
from curate.proof.metrics import deciding_metric
from curate.proof.others import PLAIN_ARMS, TARGET_ONLY, ArmSources, others
from curate.proof.quantiles import prove_quantiles
from curate.proof.questions import check_measurable, question_sentences, questions
from curate.proof.results import BASE, TrainedModels, tuned_name, tuned_names
from curate.proof.shared_controls import SharedControls
from curate.proof.side_by_side import writing_models
from curate.proof.spread import setting_of, write_spread
from curate.proof.statistics import WITHIN, level
from curate.proof.trainable import count_labels, label_faults, label_sentences
from curate.proof.training import FineTunes, Training, tuned_model
from curate.proof.values import MetricSetting, ProofValues, learns_pairs, row_tokens, tuning_of
from curate.proof.verdict import ProofTables, write_proof, write_unmeasured
from curate.proof.watch import measure_base, watch_models
from curate.proof.watch_sets import WatchInputs, watch_trainings
from curate.proof.written_metrics import base_warning

LOG = logging.getLogger("curate")
# The place of the second phase's rows among those of arms.
THEN = "then"


@dataclass(frozen=True)
class ProofInputs:
    """What a proof reads beside the pool.

    eval_rows: the eval set as it was given, which must not leak.
    rendered: the eval set as the model reads it, where system turns are merged.
    files: rows of further arms, by their names.
    rankings: of methods of `compare:` that are further arms, by their names.
    rehearsed: rows that are trained on beside the selection, by the names of further arms.
    then: the second phase's rows, where they are not the target examples.
    watch: rows on which every model is measured too.
    stages: of the recipe, each with the selection that is made without it, to be trained on too.
    """

    eval_rows: Table
    rendered: Table | None = None
    files: Mapping[str, Table] = field(default_factory=dict)
    rankings: Mapping[str, Table] = field(default_factory=dict)
    rehearsed: Mapping[str, Table] = field(default_factory=dict)
    then: Table | None = None
    watch: WatchInputs | None = None
    stages: Sequence[AblatedStage] = ()

    @property
    def scored(self) -> Table:
        """Return the eval set as the model reads it."""
        return self.rendered or self.eval_rows

    @property
    def watch_rows(self) -> Table | None:
        """Return the rows of the watch sets as they were given."""
        return self.watch.rows if self.watch else None

    def sources(self, run: ScoreRun) -> ArmSources:
        """Return what the rows of arms are read from."""
        then = {THEN: self.then} if self.then else {}
        return ArmSources(
            run.rows, run.target, {**self.files, **then}, self.rankings, self.rehearsed
        )


def prove(
    run: ScoreRun,
    selection: Table,
    material: ProofInputs,
    prove: ProofValues,
    budget: Budget,
    judged: int = 1,
    controls: SharedControls | None = None,
) -> Artifact:
    """Return the artifact with proof.json, and effects.parquet unless the proof was refused.

    Args:
        run: the run.
        selection: its ranking says which rows are selected.
        material: eval set and further arms.
        prove: the recipe's settings.
        budget: that of the selection.
        judged: how many selections share the level (Bonferroni): those that are judged together, and
            those that lost a race.
        controls: the sizes of controls that selections share; the selection's own if not given.
    """
    if selection.read(["selected"])["selected"].all():
        LOG.warning("proof: %s", TAKES_ALL)
    for look in looks_of(prove["draws"]):
        names = [*_other_names(prove), *material.rehearsed]
        design = _design(prove, names, budget, judged, look, controls)
        sizes = controls.sizes if controls else None
        proof = _prove_once(run, selection, material, design, budget, sizes)
        if look.number == look.of or proof.counts["verdict"] != WITHIN:
            break
        LOG.info("proof: %d draws do not decide it; more are drawn", look.draws)
    return proof


def _design(
    prove: ProofValues,
    others: Sequence[str],
    budget: Budget,
    judged: int,
    look: Look,
    controls: SharedControls | None,
) -> ProofDesign:
    """Return how a proof of so many draws compares."""
    prove = {**prove, "draws": look.draws}
    runs = arm_runs(look.draws, prove["seeds"], by_tokens=budget.tokens is not None)
    alpha = level(prove["strict"], judged) * look.share
    shared = None
    if controls is not None and controls.weight < 1:
        shared = controls.describe(other_control(runs))
        LOG.info("proof: %s", shared["sentence"])
    return ProofDesign(prove, runs, alpha, judged, others, look.describe(), shared)


def _other_names(prove: ProofValues) -> list[str]:
    """Return the arms that a recipe names beside the selection and the controls."""
    names = [arm if isinstance(arm, str) else arm["name"] for arm in prove["arms"]]
    names = [name for name in names if name not in PLAIN_ARMS]
    if prove["then"] is None:
        return names
    # By itself it is the second phase without the first.
    return [TARGET_ONLY, *(name for name in names if name != TARGET_ONLY)]


def _prove_once(
    run: ScoreRun,
    selection: Table,
    material: ProofInputs,
    design: ProofDesign,
    budget: Budget,
    sizes: Sizes | None,
) -> Artifact:
    """Return a proof, or why there is none; of the verdict alone where a later look has to decide."""
    prove = design.prove
    model = tuned_model(run, prove["base"])
    drawn = run(arms, selection, design.runs, run.seed, row_tokens(prove), sizes)
    further = _other_arms(run, selection, material, design)
    sources, watched = material.sources(run), material.watch_rows
    leaks = run(
        write_leaks, sources, drawn, material.eval_rows, further, watched, learns_pairs(prove)
    )
    if leaks.counts["hits"] and not prove["allow_leaks"]:
        return run(write_refusal, leaks, prove)
    labels = count_labels(run, drawn, run.rows, material.scored, model, prove)
    for sentence, many in label_sentences(labels.read(), prove):
        LOG.log(logging.WARNING if many else logging.INFO, "proof: %s", sentence)
    if label_faults(labels.read(), prove):
        return run(write_unmeasured, leaks, labels, prove)
    training = make_training(run, model, material, prove)
    setting = setting_of(
        budget.model_dump(mode="json"), model.identity, tuning_of(prove), prove["then"]
    )
    tables = ProofTables(leaks, labels, drawn, selection, material.eval_rows, training.questions)
    return _compare(training, material, design, setting, tables, further)


def _compare(
    training: Training,
    material: ProofInputs,
    design: ProofDesign,
    setting: Mapping[str, JSON],
    tables: ProofTables,
    further: Table | None,
) -> Artifact:
    """Train and measure all arms, and return the proof.

    Controls come first: they know nothing of the method, and say what difference can be shown.

    Args:
        training: how.
        material: eval set, watch sets and stages.
        design: what is compared.
        setting: what spread and watch verdicts may be quoted for.
        tables: what is there before anything is trained.
        further: the rows of further arms.
    """
    run = training.run
    calls = _arm_calls(training, tables.arms.read(), design)
    selected = {name: calls[name] for name in calls if name.startswith("selected/")}
    models = _measure_base(training, design)
    watching = watch_trainings(training, material.watch) if material.watch else []
    measure_base(watching, material.watch.sets if material.watch else ())
    models |= training.tune({name: calls[name] for name in calls if name not in selected})
    tables = replace(tables, spread=_measure_spread(training, models, tables, design, setting))
    models |= training.tune(selected)
    if design.look["number"] < design.look["of"]:
        verdict = run.result(write_proof.call(design.plain, tables, models).named("proof-look"))
        if verdict.counts["verdict"] == WITHIN:
            return verdict
    models |= _tune_others(training, further, material.sources(run), design)
    writers = {name: models.tuned.get(name) for name in writing_models(design.control).values()}
    models |= TrainedModels(written=training.write(writers, design.prove["written"]))
    tables = replace(
        tables,
        watch=_watch(watching, material, models, design, setting),
        curve=_measure_curve(training, tables, models, design),
        quantiles=_measure_quantiles(training, material, tables, models, design),
        ablation=_ablation(training, material, tables, models, design),
    )
    return run(write_proof, design, tables, models)


def make_training(
    run: ScoreRun, model: ModelSource, material: ProofInputs, prove: ProofValues
) -> Training:
    """Return how a proof of these settings trains, and measures on its eval set."""
    options = _find_questions(run, material.scored, prove["metric"])
    tasks = read_tasks(prove["tasks"]) if prove["tasks"] else []
    then = _second_phase(run, material, prove)
    return Training(
        run,
        model,
        prove["lora"],
        material.scored,
        then,
        prove["metric"],
        options,
        tasks,
        beta=prove.get("beta"),
    )


def _find_questions(run: ScoreRun, eval_rows: Table, metric: MetricSetting) -> Table:
    """Return the answer spans and options of the eval set.

    Raises:
        UserError: the metric that is to decide needs some, and there are none.
    """
    table = run(questions, eval_rows, run.target)
    check_measurable(deciding_metric(metric), table.artifact.counts)
    for sentence in question_sentences(table.artifact.counts):
        LOG.info("proof: %s", sentence)
    return table


def _other_arms(
    run: ScoreRun, selection: Table, material: ProofInputs, design: ProofDesign
) -> Table | None:
    """Return the rows of further arms; those of the second phase alone are no arm's."""
    then = design.prove["then"]
    listed = [name for name in design.others if then is None or name != TARGET_ONLY]
    if not listed:
        return None
    return run(others, listed, material.sources(run), selection, design.prove["seeds"], run.seed)


def _second_phase(run: ScoreRun, material: ProofInputs, prove: ProofValues) -> TrainingRows | None:
    """Return the rows that every fine-tune goes on with; None without `prove.then`."""
    if prove["then"] is None:
        return None
    rows = material.then or run.target
    assert rows is not None
    return training_rows([rows], rows.read(["row_id"])["row_id"].to_list())


def _arm_calls(training: Training, drawn: pl.DataFrame, design: ProofDesign) -> FineTunes:
    """Return the fine-tune of every arm and number; every one of an arm has a seed of its own.

    A draw and its pair of the other control share theirs.
    """
    calls = {}
    for arm, number, name in tuned_names({arm: design.runs[arm] for arm in ARMS}):
        ids = drawn.filter((pl.col("arm") == arm) & (pl.col("seed") == number))["row_id"]
        calls[name] = training.call(training.pool_rows(ids), number, drawn=arm != "selected")
    LOG.info(
        "proof: %d fine-tunes of %d epochs on about %s tokens, each measured on %d eval examples",
        len({call.key for call in calls.values()}),
        training.lora["epochs"],
        f"{drawn.filter(arm='selected', seed=0)['tokens'].sum():,}",
        training.eval_rows.height,
    )
    return calls


def _measure_base(training: Training, design: ProofDesign) -> TrainedModels:
    """Return what the untuned model reaches, and warn where that is next to nothing."""
    base = training.measure_base()
    if warning := base_warning(base.results[BASE].read(), design.metric):
        LOG.warning("proof: %s", warning)
    return base


def _measure_spread(
    training: Training,
    models: TrainedModels,
    tables: ProofTables,
    design: ProofDesign,
    setting: Mapping[str, JSON],
) -> Artifact:
    """Return the spread of the control that is drawn most often, and tell it."""
    main = design.control
    results = {name: models.results[name] for *_, name in tuned_names({main: design.runs[main]})}
    spread = training.run(
        write_spread, results, tables.eval, design.metric.name, design.alpha, setting
    )
    LOG.info("proof: %s", spread.counts["sentence"])
    return spread


def _tune_others(
    training: Training, further: Table | None, sources: ArmSources, design: ProofDesign
) -> TrainedModels:
    """Return the fine-tunes of further arms, and what they reach on the eval set."""
    models = TrainedModels()
    if training.then is not None:
        models |= training.tune_target(design.prove["seeds"], TARGET_ONLY)
    if further is None:
        return models
    calls = {}
    groups = further.read().group_by("arm", "seed", maintain_order=True)
    for (arm, seed), part in groups:
        tables = [sources.tables[place] for place in part["place"].unique(maintain_order=True)]
        rows, number = training_rows(tables, part["row_id"].to_list()), int(str(seed))
        calls[tuned_name(str(arm), number)] = training.call(rows, number, drawn=False)
    return models | training.tune(calls)


def _watch(
    trainings: Sequence[Training],
    material: ProofInputs,
    models: TrainedModels,
    design: ProofDesign,
    setting: Mapping[str, JSON],
) -> Artifact | None:
    """Return the verdicts on watch sets, and tell them; None where none are watched."""
    if material.watch is None:
        return None
    verdicts = watch_models(trainings, material.watch, models, design, setting)
    for sentence in verdicts.counts["sentences"]:
        LOG.info("watch: %s", sentence)
    return verdicts


def _measure_curve(
    training: Training, tables: ProofTables, models: TrainedModels, design: ProofDesign
) -> Artifact | None:
    """Return the curve of selection and control, whose whole arms are measured already."""
    if design.prove["curve"] is None:
        return None
    drawn = tables.arms.read()
    prefixes = nested_prefixes(drawn, design.control, design.prove["curve"])
    calls = curve_calls(training, prefixes)
    LOG.info("proof: %d more fine-tunes for the curve", len({c.key for c in calls.values()}))
    curve = make_curve(training, models | training.tune(calls), prefixes, drawn, design)
    LOG.info("proof: curve: %s", curve.counts["sentence"])
    return curve


def _measure_quantiles(
    training: Training,
    material: ProofInputs,
    tables: ProofTables,
    models: TrainedModels,
    design: ProofDesign,
) -> Artifact | None:
    """Return what parts of the order reach; None where none is trained on."""
    if design.prove["quantiles"] is None:
        return None
    held_out = tables.eval, material.watch_rows
    return prove_quantiles(training, tables.selection, held_out, models, design)


def _ablation(
    training: Training,
    material: ProofInputs,
    tables: ProofTables,
    models: TrainedModels,
    design: ProofDesign,
) -> Artifact | None:
    """Return what the stages of the recipe earned; None where none is left out."""
    if not material.stages:
        return None
    held_out = tables.eval, material.watch_rows
    return ablate(training, material.stages, tables.selection, held_out, models, design)
