"""A run: the order of the steps, from files to proof, and the run folder that users read.

How steps get executed is the caller's choice (`execute_all`): by a store alone, or by an orchestrator
around one. What is executed is not.
"""

import copy
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from curate.claim import claimed
from curate.compared import compared_lines, judged_count, proved_names, selection_names
from curate.config import ABLATION, Config, ProofSettings, stage_names
from curate.errors import UserError
from curate.folder import MANIFEST
from curate.ledger import judge_rows, kept_step, ledger_step, stage_inputs
from curate.models import (
    ModelLocation,
    choose_dtype,
    find_model,
    identify,
    identify_embedder,
    prepare,
)
from curate.nearest_drops import find_drops, nearest_step
from curate.pool.ingest import input_steps, proof_steps
from curate.pool.join import joined_step
from curate.prove.keep import ADAPTER_FOLDER
from curate.prove.others import FILE_PART, RANKING_PART
from curate.provenance import Provenance, model_names
from curate.publish import publish
from curate.race import PART as RACE
from curate.race import RaceResult, hold_race
from curate.reasons import Reason
from curate.registry import (
    APPENDED,
    EVAL_SETS,
    Diversity,
    ScoreRun,
    SelectParams,
    check_stages,
    find_selector,
)
from curate.represent.refusals import NAME as TEMPLATE
from curate.represent.refusals import generated_rows_step, refused_rows, template_steps
from curate.runlock import FolderLock
from curate.select.comparison import comparison_step
from curate.select.coverage import coverage_step
from curate.select.planner import PAIR_FLOOR
from curate.select.race import RaceParams
from curate.select.selection import SelectionResult, choice_remarks, ranking_step, select_step
from curate.store import Artifact, Step, Store, write_json
from curate.tables import read_table, scan_table
from curate.versions import changed_versions, installed_versions, versions_sentence

if TYPE_CHECKING:
    from curate.prove.ablation import AblatedStage
    from curate.prove.proof import ProofInputs
    from curate.prove.watch_sets import WatchInputs

ExecuteAll = Callable[[Sequence[Step]], list[Artifact]]
LOG = logging.getLogger("curate")
REPORT = "report/index.html"


@dataclass(frozen=True)
class RunResult:
    """Where a finished run lies, and what it says."""

    folder: Path
    manifest: dict[str, Any]
    proof: dict[str, Any] | None
    compared: list[str]
    generated: list[str]
    ablated: list[str]

    @property
    def report(self) -> Path:
        """Return the report's path."""
        return self.folder / "report" / "index.html"


@dataclass
class Run:
    """The state of one run: the artifacts made so far, in the order in which they were asked for.

    `part` is the part of the recipe that is being run (a stage's name, select, compare ...), `parts` the
    one that each artifact was first needed for. `read_rows` is the pool as each stage found it.
    """

    config: Config
    store: Store
    execute_steps: ExecuteAll
    artifacts: list[Artifact] = field(default_factory=list)
    part: str = ""
    parts: list[str] = field(default_factory=list)
    rows: Artifact = field(init=False)
    kept: Artifact = field(init=False)
    tokens: Artifact = field(init=False)
    target: Artifact | None = None
    eval: Artifact | None = None
    protected: Artifact | None = None
    watch: Artifact | None = None
    merged: dict[str, Artifact] = field(default_factory=dict)
    generated: Artifact | None = None
    evidence: dict[str, Artifact] = field(default_factory=dict)
    read_rows: dict[str, Artifact] = field(default_factory=dict)
    prepared: dict[str, Mapping[str, Artifact]] = field(default_factory=dict)
    selections: dict[str, SelectionResult] = field(default_factory=dict)
    race: RaceResult | None = None
    findings: dict[str, Artifact] = field(default_factory=dict)
    _artifacts_by_key: dict[str, Artifact] = field(default_factory=dict)
    _base: tuple[ModelLocation, str] | None = None

    @property
    def seed(self) -> int:
        """Return the run's seed."""
        return self.config.seed

    def with_kept(self, kept: Artifact) -> "Run":
        """Return the same run with fewer kept rows."""
        fewer = copy.copy(self)
        fewer.kept = kept
        return fewer

    def with_evidence(self, evidence: dict[str, Artifact]) -> "Run":
        """Return the same run with what other stages found, before any selection."""
        other = copy.copy(self)
        other.evidence, other.prepared, other.selections = evidence, {}, {}
        other.kept = self.execute(kept_step(self.rows, list(evidence.values())))
        return other

    def execute(self, step: Step) -> Artifact:
        """Return the step's artifact, made now or found."""
        return self.execute_all([step])[0]

    def execute_all(self, steps: Sequence[Step]) -> list[Artifact]:
        """Return the artifacts of independent steps, in their order."""
        keys = [step.key for step in steps]
        # What two methods have in common is made, and its cost told, once.
        new = {
            key: s for key, s in zip(keys, steps, strict=True) if key not in self._artifacts_by_key
        }
        if len(new) > 1:
            names = ", ".join(dict.fromkeys(step.name for step in new.values()))
            LOG.info("%s: %d steps", names, len(new))
        artifacts = self.execute_steps(list(new.values())) if new else []
        self._artifacts_by_key.update(zip(new, artifacts, strict=True))
        self.artifacts.extend(artifacts)
        self.parts.extend([self.part] * len(artifacts))
        reused = sum(artifact.cached for artifact in artifacts)
        if reused:
            LOG.info("%s: %d of %d reused", artifacts[0].name, reused, len(artifacts))
        return [self._artifacts_by_key[key] for key in keys]

    def model_identity(self) -> dict[str, Any]:
        """Return what identifies the base model."""
        location, dtype = self._find_base()
        return identify(location, dtype)

    def model_runtime(self) -> dict[str, Any]:
        """Return where the base model lies."""
        location, _ = self._find_base()
        return {"folder": str(prepare(location)), "trust": self.config.models.trust_remote_code}

    def embedder(self, name: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what identifies a sentence embedder (the run's own if None), and its runtime."""
        location = find_model(name or self.config.models.embedder)
        return identify_embedder(location), {"name": location.name}

    def engine(self, params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what identifies the engine that a recipe names, and its runtime."""
        from curate.generate.engines import identify_engine

        models = self.config.models
        runtime = {
            "engine": params.model_dump(mode="json"),
            "models": models.model_dump(mode="json"),
            "cache": str(self.store.root / "completions.sqlite"),
        }
        return identify_engine(params, models), runtime

    @property
    def own_select(self) -> SelectParams:
        """Return what the run's own selection is made by: the recipe's method, or a race's winner."""
        return self.config.select if self.race is None else self.race.select

    @property
    def uses_base(self) -> bool:
        """Return whether anything has asked for the base model so far."""
        return self._base is not None

    def _find_base(self) -> tuple[ModelLocation, str]:
        if self._base is None:
            names = self.config.models
            self._base = find_model(names.base), choose_dtype(names.dtype)
        return self._base


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
        return _run_into(folder, lock, config, execute_all, Provenance(command))


def _run_into(
    folder: Path,
    lock: FolderLock,
    config: Config,
    execute_all: ExecuteAll | None,
    provenance: Provenance,
) -> RunResult:
    from curate.report.build import write_report

    store = Store(Path(config.store))
    run = Run(config, store, execute_all or (lambda steps: [store.ensure(s) for s in steps]))
    _fetch_models(run)
    results = run_steps(run)
    if sentence := versions_sentence((a.name, a.versions) for a in run.artifacts):
        LOG.warning("%s", sentence)
    warnings = _drop_sentences(run)
    for sentence in warnings:
        LOG.warning("%s", sentence)

    def build(staging: Path) -> None:
        files = _run_files(run, results)
        for name, source in files.items():
            _copy(source, staging / name)
        names = sorted([*files, REPORT, MANIFEST])
        manifest = describe_run(run, provenance.end(), names, warnings)
        write_json(staging / MANIFEST, manifest)
        write_report(staging)

    publish(folder, lock, build)
    return read_result(folder)


@dataclass(frozen=True)
class FinalArtifacts:
    """The last artifacts of a run (ledger, proof, export), which nothing but its folder needs."""

    ledger: Artifact
    proof: Artifact | None
    export: Artifact


def run_steps(run: Run) -> FinalArtifacts:
    """Execute every step of the recipe, in order.

    Raises:
        UserError: an input or the recipe is at fault.
    """
    from curate.pool.export import export_step

    _read_inputs(run)
    _generate(run)
    _judge_by_template(run)
    _run_stages(run)
    run.part = "select"
    selection = _select(run)
    _compare(run)
    _tell_scripts(run)
    run.part = "ledger"
    ledger = run.execute(ledger_step(run.rows, run.evidence, selection))
    proof = _prove(run, selection)
    run.part = "export"
    chosen = run.config.model_copy(update={"select": run.own_select})
    export = run.execute(export_step(selection, chosen))
    if run.target is not None and run.evidence:
        run.part = "nearest"
        run.findings["nearest"] = run.execute(nearest_step(run.rows, run.target))
    return FinalArtifacts(ledger, proof, export)


def read_result(out: Path) -> RunResult:
    """Return what the folder of a finished run says."""
    from curate.generate.outcome import generated_lines
    from curate.prove.earnings import ablation_lines

    manifest = orjson.loads((out / MANIFEST).read_bytes())
    proof = out / "proof.json"
    verdict = orjson.loads(proof.read_bytes()) if proof.exists() else None
    ablation = (verdict or {}).get("ablation")
    ablated = ablation_lines(ablation, manifest["ablation"]) if ablation else []
    return RunResult(out, manifest, verdict, compared_lines(out), generated_lines(out), ablated)


def _fetch_models(run: Run) -> None:
    """Find the models that the recipe is certain to use, so that one that is missing ends it at once."""
    check_stages(run.config.stages)
    if run.config.counts_tokens:
        run.model_identity()
    choices = [params for _, params in run.config.choices]
    for params in (*run.config.stages, *choices):
        for key in ("embedder", "nli", "model"):
            name = getattr(params, key, None)
            if isinstance(name, str) and "/" in name:
                find_model(name)


def _read_inputs(run: Run) -> None:
    read = {name: run.execute(step) for name, step in input_steps(run.config).items()}
    run.rows, run.target = read["pool"], read.get("target")
    if isinstance(run.config.select, RaceParams):
        from curate.prove.halves import check_halves

        check_halves(read["eval"])
    run.eval, run.protected, run.watch = (read.get(name) for name in EVAL_SETS)
    if run.config.prove is not None:
        from curate.prove.inputs import check_proof

        check_proof(run.config.prove, read, run.seed)
        run.execute_all(list(proof_steps(run.config).values()))


def _generate(run: Run) -> None:
    """Make rows, where the recipe wants that, and put them behind those of the pool."""
    if run.config.generate is None:
        return
    from curate.generate.step import generate_step

    inputs = {"pool": run.rows} | ({"target": run.target} if run.target else {})
    system = run.config.models.system if run.config.reads_base else None
    step = generate_step(run, run.config.generate, inputs, system)
    run.generated = run.execute(step)
    run.rows = run.execute(joined_step(run.rows, run.generated))


def _judge_by_template(run: Run) -> None:
    """Drop the rows that the base model's chat template refuses, before anything is scored."""
    if not run.config.reads_base:
        return
    run.part = TEMPLATE
    read = _examples(run)
    examples = {name: read[name] for name in run.config.judged_examples if name in read}
    verdicts = run.execute_all(
        template_steps(
            run.rows,
            examples,
            run.model_identity(),
            run.model_runtime(),
            run.config.models.system,
        )
    )
    sentence = refused_rows(verdicts, run.config.rendered_examples)
    if sentence is not None:
        LOG.warning("%s: %s", TEMPLATE, sentence)
    if "dropped" in verdicts[0].counts:
        run.evidence[TEMPLATE] = verdicts[0]
    if Reason.SYSTEM_MERGED in verdicts[0].counts.get("dropped", {}):
        run.rows = run.execute(joined_step(run.rows, verdicts[0], APPENDED, f"joined-{TEMPLATE}"))
    for name, judged in zip(examples, verdicts[1:], strict=True):
        if "merged" in judged.counts:
            _read_merged(run, name, judged)


def _read_merged(run: Run, name: str, merged: Artifact) -> None:
    """Let the base model read examples as merged; leaks are those of the sets as they were given."""
    if name == "target":
        run.target = merged
    else:
        run.merged[name] = merged


def _judge_appended_rows(run: Run, new_rows: Artifact, inputs: Mapping[str, Artifact]) -> None:
    """Drop the rows that a stage made and that the base model's chat template refuses."""
    if not run.config.reads_base or not new_rows.counts["rows_out"]:
        return
    number = 2 + sum(name.startswith(f"{TEMPLATE}-") for name in run.evidence)
    step = generated_rows_step(
        f"{TEMPLATE}-{number}", new_rows, inputs, run.model_identity(), run.model_runtime()
    )
    verdicts = run.execute(step)
    if "dropped" in verdicts.counts:
        run.evidence[step.name] = verdicts


def _run_stages(run: Run) -> None:
    for name, params in zip(stage_names(run.config.stages), run.config.stages, strict=True):
        run.part = name
        run.read_rows[name] = run.rows
        run.evidence[name], run.prepared[name] = judge_rows(
            run, name, params, run.rows, run.evidence, _examples(run)
        )
        if APPENDED in run.prepared[name]:
            appended = run.prepared[name][APPENDED]
            run.rows = run.execute(joined_step(run.rows, appended, APPENDED, f"joined-{name}"))
            kind = params.model_dump()["kind"]
            _judge_appended_rows(run, appended, stage_inputs(run.rows, run.evidence, {}, kind))
    run.kept = run.execute(kept_step(run.rows, list(run.evidence.values())))
    if not run.kept.counts["rows_out"]:
        raise UserError("no row is left to select from: the stages dropped every one of them")


def _examples(run: Run) -> dict[str, Artifact]:
    sets = {"target": run.target, "eval": run.eval, "protected": run.protected, "watch": run.watch}
    return {name: artifact for name, artifact in sets.items() if artifact}


def _select(run: Run) -> Artifact:
    from curate.represent.tokens import tokens_step, uncounted_step

    if run.config.counts_tokens:
        identity, runtime = run.model_identity(), run.model_runtime()
        run.tokens = run.execute(tokens_step(run.rows, run.kept, identity, runtime))
    else:
        run.tokens = run.execute(uncounted_step(run.kept))
    _tell_imitations(run.tokens)
    if isinstance(run.config.select, RaceParams):
        run.part = RACE
        _hold_race(run, run.config.select)
        run.part = "select"
    params, counts = run.own_select, run.tokens.counts
    LOG.info(
        "select: %s, %s of %s rows%s",
        params.model_dump()["method"],
        params.budget,
        f"{run.kept.counts['rows_out']:,}",
        f" with {counts['tokens']:,} tokens" if "tokens" in counts else "",
    )
    return _choose(run, params, select_step)


def _tell_imitations(tokens: Artifact) -> None:
    from curate.represent.imitations import FILE, imitation_sentences

    if FILE in tokens.files:
        for sentence in imitation_sentences(read_table(tokens.file(FILE))):
            LOG.warning("tokens: %s", sentence)


def _tell_scripts(run: Run) -> None:
    """List the rows that an embedder of the run does not cover, if it met some."""
    from curate.represent.scripts import script_sentences, scripts_step

    covered = [
        artifact.counts["covered"] for artifact in run.artifacts if "covered" in artifact.counts
    ]
    if covered:
        listed = run.execute(scripts_step(run.rows, min(covered, key=len)))
        run.findings["scripts"] = listed
        for sentence in script_sentences(read_table(listed.file("scripts.parquet"))):
            LOG.warning("embed: %s", sentence)


ChoosingStep = Callable[[ScoreRun, Artifact, SelectParams, Artifact | None], Step]


def _choose(run: Run, params: SelectParams, step: ChoosingStep) -> Artifact:
    chosen = _rank(run, params, step)
    names = selection_names(run.config.select, run.config.compare)
    run.selections[names[len(run.selections)]] = chosen
    return chosen.ranking


def _rank(run: Run, params: SelectParams, step: ChoosingStep) -> SelectionResult:
    scores = find_selector(params.model_dump()["method"]).score(run, params)
    return _rank_scores(run, params, scores, step)


def _rank_scores(
    run: Run, params: SelectParams, scores: Artifact, step: ChoosingStep
) -> SelectionResult:
    pairs = _find_pairs(run, params.diversity) if params.diversity else None
    ranking = run.execute(step(run, scores, params, pairs))
    for remark in choice_remarks(params, ranking.counts):
        LOG.warning("%s: %s", run.part, remark)
    return SelectionResult(params, scores, ranking, pairs)


def _hold_race(run: Run, params: RaceParams) -> None:
    """Let brief proofs on half of the eval set choose what the run's selection is made by."""
    from curate.prove.halves import CHOICE
    from curate.prove.race import RaceCandidate, race

    assert run.config.prove is not None
    settings = run.config.prove

    def prove(chosen: Mapping[str, SelectionResult]) -> Artifact:
        candidates = {name: RaceCandidate(one.params, one.ranking) for name, one in chosen.items()}
        material = _proof_material(run, settings, CHOICE)
        return race(run, candidates, material, _proof_settings(settings), params.rounds)

    run.race = hold_race(params, lambda select: _rank(run, select, ranking_step), prove)
    run.findings["race"] = run.race.standings
    # The pairs that the candidates had to choose between are not those of the selection.
    run.prepared.pop("select", None)


def _find_pairs(run: Run, diversity: Diversity) -> Artifact:
    """Return the pairs of similar rows that an earlier selection used as well, or make them."""
    for selection in run.selections.values():
        if selection.pairs is not None and selection.params.diversity == diversity:
            return selection.pairs
    prepared = _similar_pairs(run, diversity)
    if not run.selections:
        run.prepared["select"] = prepared
    return prepared["pairs"]


def _compare(run: Run) -> None:
    """Let the other methods choose, and measure all selections against each other and the target."""
    names = selection_names(run.config.select, run.config.compare)[1:]
    for i, (name, params) in enumerate(zip(names, run.config.compare, strict=True)):
        run.part = name
        LOG.info("compare: %s", name)
        try:
            _choose(run, params, ranking_step)
        except UserError as error:
            raise UserError(f"compare.{i} ({name}): {error}") from error
    rankings = {name: chosen.ranking for name, chosen in run.selections.items()}
    if names:
        run.findings["comparison"] = run.execute(comparison_step(run, rankings))
    if run.target is not None:
        run.part = "coverage"
        run.findings["coverage"] = run.execute(coverage_step(run, rankings))


def _similar_pairs(run: Run, diversity: Diversity) -> Mapping[str, Artifact]:
    """Return the pairs of kept rows that a selection with diversity must choose between."""
    from curate.clean import semantic

    floor = min(diversity.most, PAIR_FLOOR)
    params = semantic.SemanticParams(
        threshold=diversity.most,
        floor=floor,
        embedder=diversity.embedder,
        system=False,
        numbers=False,
        responses=False,
    )
    inputs = stage_inputs(run.rows, run.evidence, {}, "semantic")
    return {"pairs": semantic.prepare_pairs(run, inputs, params)["pairs"]}


def _prove(run: Run, selection: Artifact) -> Artifact | None:
    from curate.prove.halves import VERDICT
    from curate.prove.together import prove_together
    from curate.prove.verdict import NOT_MEASURED

    settings = run.config.prove
    if settings is None or run.eval is None:
        return None
    run.part = "prove"
    params = _proof_settings(settings)
    names = proved_names(run.config)
    proved = {
        name: (c.ranking, c.params.budget) for name, c in run.selections.items() if name in names
    }
    material = _proof_material(run, settings, VERDICT)
    if settings.ablate:
        material = replace(material, stages=ablated_selections(run))
    proof = prove_together(run, proved, material, params, judged_count(run.config))
    if settings.novelty is not None and proof.counts["verdict"] != NOT_MEASURED:
        from curate.prove.novelty import novelty_step

        params["novelty"] = settings.novelty.model_dump(mode="json")
        run.findings["novelty"] = run.execute(novelty_step(run, selection, params))
    return proof


def ablated_selections(run: Run) -> "list[AblatedStage]":
    """Return the recipe's stages, each with the selection that is made without it."""
    from curate.ablation import leave_out

    part, run.part = run.part, ABLATION
    own = next(iter(run.selections.values()))
    LOG.info("ablate: selections without a stage, from stored scores")

    def rank(other: Run, params: SelectParams, scores: Artifact) -> SelectionResult:
        return _rank_scores(other, params, scores, ranking_step)

    stages = leave_out(run, own, _examples(run), rank)
    run.part = part
    return stages


def _watch_sets(run: Run, settings: ProofSettings) -> "WatchInputs | None":
    """Return the rows on which tuning must do no harm, and what is asked of them."""
    from curate.prove.watch_sets import WatchInputs

    if run.watch is None:
        return None
    sets = [watched.judged_by for watched in settings.watch]
    return WatchInputs(run.watch, run.merged.get("watch"), sets)


def _proof_settings(settings: ProofSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude={"novelty", "compare"})


def _proof_material(run: Run, settings: ProofSettings, half: str) -> "ProofInputs":
    """Return what a proof reads beside the pool; where a race chooses, one half of the eval set."""
    from curate.prove.halves import half_step
    from curate.prove.proof import ProofInputs

    assert run.eval is not None
    eval_rows, rendered = run.eval, run.merged.get("eval")
    if isinstance(run.config.select, RaceParams):
        eval_rows = run.execute(half_step(run.eval, run.eval, half, run.seed))
        if rendered is not None:
            rendered = run.execute(half_step(run.eval, rendered, half, run.seed))
    return ProofInputs(
        eval_rows, rendered, _proved_material(run, settings), _watch_sets(run, settings)
    )


def _proved_material(run: Run, settings: ProofSettings) -> dict[str, Artifact]:
    """Return rankings and rows of the arms that a proof names, by the name of an input."""
    steps = {f"{FILE_PART}{name}": step for name, step in proof_steps(run.config).items()}
    rows = dict(zip(steps, run.execute_all(list(steps.values())), strict=True))
    named = {arm for arm in settings.arms if isinstance(arm, str)}
    rankings = {
        f"{RANKING_PART}{name}": chosen.ranking
        for name, chosen in run.selections.items()
        if name in named
    }
    return {**rows, **rankings}


def _drop_sentences(run: Run) -> list[str]:
    """Return which stages drop many of the rows nearest to the target, in words."""
    if "nearest" not in run.findings:
        return []
    nearest = read_table(run.findings["nearest"].file("nearest.parquet"))
    tables = {n: scan_table(a.file("evidence.parquet")) for n, a in run.evidence.items()}
    return [drops.sentence for drops in find_drops(nearest, tables)]


def _run_files(run: Run, results: FinalArtifacts) -> dict[str, Path]:
    """Return the files of the run folder but report and manifest: where each comes from, by place."""
    own = next(iter(run.selections.values()))
    files = {
        "ledger.parquet": results.ledger.file("ledger.parquet"),
        "selected.parquet": own.ranking.file("selected.parquet"),
        "rejects.parquet": run.rows.file("rejects.parquet"),
        "evidence/select.parquet": own.ranking.file("ranking.parquet"),
        "evidence/scores.parquet": own.scores.file("scores.parquet"),
        "evidence/tokens.parquet": run.tokens.file("tokens.parquet"),
    }
    if "imitations.parquet" in run.tokens.files:
        files["evidence/imitations.parquet"] = run.tokens.file("imitations.parquet")
    files |= _evidence_files(run) | _compared_files(run, own)
    if results.proof is not None:
        files |= {_proof_place(file): results.proof.file(file) for file in results.proof.files}
    files |= {f"export/{file}": results.export.file(file) for file in results.export.files}
    if run.generated is not None:
        files |= {f"generated/{file}": run.generated.file(file) for file in run.generated.files}
    return files


def _proof_place(file: str) -> str:
    """Return where a file of the proof goes in the run folder; a kept adapter is exported."""
    if file.startswith(f"{ADAPTER_FOLDER}/"):
        return f"export/{file}"
    return file if file == "proof.json" else f"evidence/proof-{file}"


def _evidence_files(run: Run) -> dict[str, Path]:
    """Return verdicts, tables beside them, and what the verdicts were made from, by place."""
    files = {}
    for name, artifact in run.evidence.items():
        for file in artifact.files:
            target = name if file == "evidence.parquet" else f"{name}-{Path(file).stem}"
            files[f"evidence/{target}.parquet"] = artifact.file(file)
    for name, parts in run.prepared.items():
        for part, table in parts.items():
            files[f"evidence/{name}-{part}.parquet"] = table.file(f"{part}.parquet")
    return files


def _compared_files(run: Run, own: SelectionResult) -> dict[str, Path]:
    """Return rankings and scores of compared methods, and what was found of all selections."""
    files = {}
    for name, chosen in [*run.selections.items()][1:]:
        files[f"evidence/compare/{name}.parquet"] = chosen.ranking.file("ranking.parquet")
        files[f"evidence/compare/{name}-scores.parquet"] = chosen.scores.file("scores.parquet")
        if chosen.pairs is not None and chosen.pairs != own.pairs:
            files[f"evidence/compare/{name}-pairs.parquet"] = chosen.pairs.file("pairs.parquet")
    if run.race is not None:
        files |= run.race.files
    for finding, artifact in run.findings.items():
        for file in artifact.files:
            target = file if file == f"{finding}.parquet" else f"{finding}-{file}"
            files[f"evidence/{target}"] = artifact.file(file)
    return files


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def describe_run(
    run: Run, provenance: Mapping[str, Any], files: Sequence[str], warnings: Sequence[str]
) -> dict[str, Any]:
    """Return the manifest: config as resolved, versions, artifacts, and what each stage cost."""
    roles = {
        "pool": run.rows,
        "kept": run.kept,
        "target": run.target,
        "eval": run.eval,
        "protected": run.protected,
        "watch": run.watch,
    }
    return {
        "name": run.config.name,
        "run": {**provenance, "models": model_names(run.config)},
        "files": list(files),
        "config": run.config.model_dump(mode="json"),
        "store": str(run.store.root),
        "versions": installed_versions(),
        **({"model": run.model_identity()} if run.uses_base else {}),
        **({RACE: _describe_race(run, run.race)} if run.race else {}),
        **({"ablation": _describe_bill(run)} if run.config.ablates else {}),
        "artifacts": {name: a.path.name for name, a in roles.items() if a is not None},
        "warnings": list(warnings),
        "stages": summarise(run.artifacts, run.parts),
    }


def _describe_bill(run: Run) -> dict[str, Any]:
    from curate.ablation import stage_bill

    return stage_bill(run, stage_names(run.config.stages))


def _describe_race(run: Run, race: RaceResult) -> dict[str, Any]:
    return race.describe(list(zip(run.artifacts, run.parts, strict=True)))


def summarise(artifacts: Sequence[Artifact], parts: Sequence[str]) -> list[dict[str, Any]]:
    """Return one entry per step of the recipe; the blocks or arms of one step are added up.

    Steps of one name in several parts of a recipe (the pairs of two `fuzzy` stages) have entries of
    their own, which from the second on name the part: "fuzzy-pairs (fuzzy-2)". seconds and peak
    memory are those of the making, also where a later run found the artifact; `other_versions` has
    the libraries of the making that are not those of the run, of one artifact where several differ.
    """
    stages: dict[tuple[str, str], dict[str, Any]] = {}
    names: set[str] = set()
    for artifact, part in zip(artifacts, parts, strict=True):
        place = artifact.name, part
        if place not in stages:
            label = f"{artifact.name} ({part})" if artifact.name in names else artifact.name
            names.add(artifact.name)
            stages[place] = {
                "stage": label, "steps": 0, "cached": 0, "seconds": 0.0, "peak_memory_mb": 0.0,
                "llm": {"calls": 0, "tokens": 0, "cost": 0.0}, "keys": [],
                "other_versions": {},
            }  # fmt: skip
        entry = stages[place]
        entry["steps"] += 1
        entry["cached"] += artifact.cached
        entry["seconds"] = round(entry["seconds"] + artifact.seconds, 3)
        entry["peak_memory_mb"] = max(entry["peak_memory_mb"], artifact.peak_memory_mb)
        entry["keys"].append(artifact.key)
        entry["other_versions"] |= changed_versions(artifact.versions)
        for name in ("rows_in", "rows_out", "tokens", "not_comparable"):
            if name in artifact.counts:
                entry[name] = entry.get(name, 0) + artifact.counts[name]
        for name in (
            "rejected", "dropped", "fates", "not_selected", "passed_over", "unscored", "methods",
            "stopped", "failed", "added", "merged",
        ):  # fmt: skip
            if name in artifact.counts:
                entry[name] = artifact.counts[name]
        for name, spent in artifact.counts.get("llm", {}).items():
            entry["llm"][name] = entry["llm"].get(name, 0) + spent
    return list(stages.values())
