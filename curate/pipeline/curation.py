"""A run from its recipe to its run folder: the order of the steps, and the files that users read."""

from pathlib import Path

import orjson

from curate.clean.nearest_drops import nearest
from curate.config.names import stage_names
from curate.config.recipe import Config
from curate.core.bucket import open_store
from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.ledger import evidence_of, judge_rows, kept_rows, ledger, stage_inputs
from curate.core.reasons import Reason
from curate.core.runlock import FolderLock
from curate.core.stage import APPENDED, EVAL_SETS
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, write_json
from curate.core.versions import versions_sentence
from curate.generate.outcome import generated_lines
from curate.generate.step import generate_rows
from curate.models.load import find_model, load_tokenizer, template_source, template_text
from curate.models.refusals import NAME as TEMPLATE
from curate.models.refusals import judge_appended, judge_by_template, refused_rows
from curate.models.rendering import rendered_rows
from curate.pipeline.files import (
    FinalArtifacts,
    copy_file,
    drop_sentences,
    language_sentences,
    run_files,
    write_pairs,
)
from curate.pipeline.inputs import input_sets, makes_pairs, proof_sets
from curate.pipeline.manifest import describe_materials, describe_run
from curate.pipeline.outside import check_methods
from curate.pipeline.proof import prove_selections
from curate.pipeline.rehearse import export_rows, rehearse_rows
from curate.pipeline.run import LOG, ExecuteAll, Run, RunResult, example_sets
from curate.pipeline.sbom import SBOM
from curate.pipeline.selection import compare_selections, select_rows, warn_of_scripts
from curate.pipeline.tracking import log_to_trackers
from curate.pool.export import needs_texts, write_export
from curate.pool.join import join_rows
from curate.pool.rowset import read_sets
from curate.proof.earnings import ablation_lines
from curate.proof.halves import check_halves
from curate.proof.inputs import check_proof
from curate.proof.training import tuned_model
from curate.report.build import write_report
from curate.runs.card import own_subject, write_card
from curate.runs.claim import claimed
from curate.runs.folder import MANIFEST, open_run
from curate.runs.housekeeping import at_work
from curate.runs.marks import pending_line
from curate.runs.provenance import Provenance
from curate.runs.publish import publish
from curate.runs.training_files import card_params
from curate.selectors.compared import compared_lines

REPORT = "report/index.html"


def run_curation(
    config: Config,
    out: Path | None = None,
    execute_all: ExecuteAll | None = None,
    *,
    overwrite: bool = False,
    command: str | None = None,
) -> RunResult:
    """Run a recipe to the end and write its run folder.

    Args:
        config: the recipe.
        out: the run folder, made or brought up to date; runs/NAME, or where that holds the run of
            another recipe runs/NAME-2 and so on, if None.
        execute_all: how to make the artifacts of independent steps, in their order; by default the
            store does it in this process, one after the other.
        overwrite: whether the folder's run may be one of another recipe, which goes.
        command: what started the run, for its provenance.

    Raises:
        UserError: an input, the config or the run folder is at fault.
    """
    with claimed(config, out, overwrite=overwrite) as (folder, lock):
        store = open_store(config.store)
        run = Run(config, store, execute_all or (lambda steps: map(store.ensure, steps)))
        with at_work(store):
            result = _run_into(folder, lock, run, Provenance(command))
        log_to_trackers(folder, config.track)
        return result


def _run_into(folder: Path, lock: FolderLock, run: Run, provenance: Provenance) -> RunResult:
    _fetch_models(run)
    results = run_steps(run)
    if sentence := versions_sentence((a.name, a.versions) for a in run.artifacts):
        LOG.warning("%s", sentence)
    warnings = [*drop_sentences(run), *language_sentences(run)]
    for sentence in warnings:
        LOG.warning("%s", sentence)

    def build(staging: Path) -> None:
        files = run_files(run, results)
        for name, source in files.items():
            copy_file(source, staging / name)
        names = sorted([*files, *write_pairs(staging), REPORT, MANIFEST, SBOM])
        write_json(staging / SBOM, describe_materials(run))
        manifest = describe_run(run, provenance.end(), names, warnings)
        write_json(staging / MANIFEST, manifest)
        built = open_run(staging)
        splits = results.export.counts["splits"]
        write_card(built, staging / "export", own_subject(built, splits))
        write_report(staging)

    publish(folder, lock, build)
    return read_result(folder)


def run_steps(run: Run) -> FinalArtifacts:
    """Execute every step of the recipe, in order.

    Raises:
        UserError: an input or the recipe is at fault.
    """
    read_inputs(run)
    append_generated(run)
    _judge_by_template(run)
    run_stages(run)
    run.part = "select"
    selection = select_rows(run)
    compare_selections(run)
    warn_of_scripts(run)
    run.part = "ledger"
    fates = ledger(run, run.rows, run.evidence, Table(selection, "ranking"))
    rehearse_rows(run, selection)
    run.part = "export"
    export = export_selection(run, selection)
    proof = prove_selections(run)
    if run.target is not None and run.evidence:
        run.part = "nearest"
        run.findings["nearest"] = run(nearest, run.rows, run.target).artifact
    return FinalArtifacts(fates, proof, export)


def export_selection(run: Run, selection: Artifact) -> Artifact:
    """Write the training files of the recipe's formats."""
    chosen = run.config.model_copy(update={"select": run.own_select})
    formats, prove = chosen.export.formats, chosen.prove
    selected, ranking = export_rows(run, selection), Table(selection, "ranking")
    texts = template = None
    if needs_texts(formats) or run.uses_base:
        model = tuned_model(run, prove.base if prove else None)
        template = template_text(load_tokenizer(model.folder, model.trust))
        if needs_texts(formats):
            texts = run(rendered_rows, selected, template_source(model))
    card, arrangement = card_params(chosen, template), chosen.export.arrangement
    export = run(write_export, selected, ranking, formats, arrangement, card, texts)
    for sentence in export.counts["remarks"]:
        LOG.warning("%s", sentence)
    return export


def read_result(out: Path) -> RunResult:
    """Return what the folder of a finished run says."""
    manifest = orjson.loads((out / MANIFEST).read_bytes())
    proof = out / "proof.json"
    verdict = orjson.loads(proof.read_bytes()) if proof.exists() else None
    ablation = (verdict or {}).get("ablation")
    ablated = ablation_lines(ablation, manifest["ablation"]) if ablation else []
    marked = [line] if (line := pending_line(open_run(out))) else []
    compared, generated = compared_lines(out), generated_lines(out)
    return RunResult(out, manifest, verdict, compared, generated, ablated, marked)


def _fetch_models(run: Run) -> None:
    """Find the models that the recipe is certain to use, so that one that is missing ends it at once."""
    check_methods(run.config)
    if run.config.counts_tokens:
        run.find_base()
    choices = [params for _, params in run.config.choices]
    for params in (*run.config.stages, *choices):
        for key in ("embedder", "nli", "model"):
            name = getattr(params, key, None)
            if isinstance(name, str) and "/" in name:
                find_model(name)


def read_inputs(run: Run) -> None:
    """Read the recipe's files: pool, target, eval, protected and watch sets, prior rows."""
    sets = input_sets(run.config)
    read = dict(zip(sets, read_sets(run, list(sets.values())), strict=True))
    run.rows, run.target, run.prompts = read["pool"], read.get("target"), read.get("prompts")
    run.prior = read.get("prior")
    if run.config.race is not None:
        prove = run.config.prove
        check_halves(read["eval"], by_pairs=prove is not None and prove.by_pairs)
    run.eval, run.protected, run.watch = (read.get(name) for name in EVAL_SETS)
    if run.config.prove is not None:
        pairs = makes_pairs(run.config)
        check_proof(run.config.prove, read, run.seed, makes_pairs=pairs)
        read_sets(run, list(proof_sets(run.config).values()))


def append_generated(run: Run) -> None:
    """Make rows, where the recipe wants that, and put them behind those of the pool."""
    if run.config.generate is None:
        return
    system = run.config.models.system if run.config.reads_base else None
    run.generated = generate_rows(
        run, run.config.generate, run.rows, run.target, run.prompts, system=system
    )
    run.rows = join_rows(run, run.rows, Table(run.generated, "rows"))


def _judge_by_template(run: Run) -> None:
    """Drop the rows that the base model's chat template refuses, before anything is scored."""
    if not run.config.reads_base:
        return
    run.part = TEMPLATE
    read = example_sets(run)
    examples = {name: read[name] for name in run.config.judged_examples if name in read}
    verdicts = judge_by_template(run, run.base, run.rows, examples, run.config.models.system)
    sentence = refused_rows(verdicts, run.config.rendered_examples)
    if sentence is not None:
        LOG.warning("%s: %s", TEMPLATE, sentence)
    if "dropped" in verdicts[0].counts:
        run.evidence[TEMPLATE] = evidence_of(verdicts[0])
    if Reason.SYSTEM_MERGED in verdicts[0].counts.get("dropped", {}):
        merged = Table(verdicts[0], APPENDED)
        run.rows = join_rows(run, run.rows, merged, f"joined-{TEMPLATE}")
    for name, judged in zip(examples, verdicts[1:], strict=True):
        if "merged" in judged.counts:
            _read_merged(run, name, Table(judged, "rows"))


def _read_merged(run: Run, name: str, merged: Table) -> None:
    """Let the base model read examples as merged; leaks are those of the sets as they were given."""
    if name == "target":
        run.target = merged
    else:
        run.merged[name] = merged


def _judge_appended_rows(run: Run, new_rows: Table, data: StageInputs) -> None:
    """Drop the rows that a stage made and that the base model's chat template refuses."""
    if not run.config.reads_base or not new_rows.height:
        return
    number = 2 + sum(name.startswith(f"{TEMPLATE}-") for name in run.evidence)
    name = f"{TEMPLATE}-{number}"
    verdicts = judge_appended(run, name, new_rows, data)
    if "dropped" in verdicts.counts:
        run.evidence[name] = evidence_of(verdicts)


def run_stages(run: Run) -> None:
    """Let every stage judge the rows that the earlier ones kept."""
    for name, params in zip(stage_names(run.config.stages), run.config.stages, strict=True):
        run.part = name
        run.read_rows[name] = run.rows
        run.evidence[name], run.prepared[name] = judge_rows(
            run, name, params, run.rows, run.evidence, example_sets(run)
        )
        if APPENDED in run.prepared[name]:
            appended = run.prepared[name][APPENDED]
            run.rows = join_rows(run, run.rows, appended, f"joined-{name}")
            _judge_appended_rows(run, appended, stage_inputs(run.rows, run.evidence, {}, ()))
    run.kept = kept_rows(run, run.rows, list(run.evidence.values()))
    if not run.kept.height:
        raise UserError("no row is left to select from: the stages dropped every one of them")
