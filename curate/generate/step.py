"""The step that runs the generation methods of a recipe, one after the other, over one bill.

It writes rows.parquet (the kept rows), candidates.parquet (all that was made, with reasons) and what
tables methods leave; bill.json says what it cost. A method that fails, for what it reads or for what it
is answered, ends alone: the rows of the others are kept, and log, bill and report say so. A run that is
killed pays for nothing twice, since answers are kept in a cache beside the store.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.core.registry import ScoreRun
from curate.core.rows import Message, prompt_text, response_text
from curate.core.store import Artifact, Counts, Step, write_json
from curate.core.tables import read_batches, read_table, scan_table
from curate.generate.candidates import Candidate, RejectReason, rows_of, table_of
from curate.generate.corpus import find_corpus
from curate.generate.generation import (
    GenerateParams,
    Generation,
    find_generator,
    read_examples,
)
from curate.generate.settings import GenerationSettings
from curate.generate.sift import (
    CandidateFilter,
    FindRejection,
    NoveltyIndex,
    PromptFragments,
    count_reject_reasons,
)
from curate.llm.ask import EngineClient, manifest_of
from curate.llm.cache import Cache
from curate.llm.engines import engine_of
from curate.llm.limits import Limits, LowYield, YieldGuard
from curate.llm.prompts import MethodPrompts
from curate.models.acceptance import find_lasting_fault
from curate.models.embed import embed_texts
from curate.models.load import load_tokenizer, template_of
from curate.pool.files import digest_url

LOG = logging.getLogger("curate")
VERSION = 2
SOURCE = "generated"
JUDGED_AFTER = 50
BATCH_ROWS = 2_000


def generate_step(
    run: ScoreRun,
    generate: GenerationSettings,
    inputs: Mapping[str, Artifact],
    system: str | None = None,
) -> Step:
    """Return the step that makes rows; its key holds what files and prompts say, not where they lie.

    Args:
        run: for its seed, embedder, engine and base model.
        generate: the recipe's `generate`.
        inputs: `pool`, and `target` where there is one.
        system: what becomes of system turns that the base model's chat template refuses (models.system);
            None if the base model reads no row.

    Raises:
        UserError: a file that a method reads, or a model, is not there.
    """
    identity, embedding = run.embedder()
    engine, runtime = run.engine(generate.engine)
    methods = [params.model_dump(mode="json") for params in generate.methods]
    files = [_read_files(params, generate.prompts) for params in methods]
    faults = [fault for *_, fault in files]
    if None not in faults:
        raise UserError("; ".join(dict.fromkeys(str(fault) for fault in faults)))
    step_params = {
        "methods": [_without_paths(params) for params in methods],
        "reads": [reads for reads, *_ in files],
        "prompts": [prompts for _, prompts, _ in files],
        "versions": [find_generator(params["method"]).version for params in methods],
        "engine": engine,
        "embedder": identity,
        "limits": generate.limits.model_dump(mode="json"),
        "seed": run.seed,
    }
    if any(faults):
        step_params["faults"] = faults
    places = {**runtime, "methods": methods, "prompts": generate.prompts, "embedder": embedding}
    if system is not None:
        step_params["template"] = {"system": system, "model": template_of(run.model_identity())}
        places["base"] = run.model_runtime()
    return Step("generate", VERSION, write_generated, dict(inputs), step_params, places)


def _read_files(
    params: Mapping[str, Any], folder: str | None
) -> tuple[dict[str, Any], dict[str, str], str | None]:
    """Return the digests of what a method reads and of its prompts, and why it cannot read them."""
    try:
        return _read_digests(params), dict(_prompts(params["method"], folder).digests()), None
    except UserError as error:
        return {}, {}, str(error)


def _prompts(
    method: str, folder: str | None, digests: Mapping[str, str] | None = None
) -> MethodPrompts:
    return MethodPrompts(method, Path(folder) if folder else None, digests)


def _without_paths(params: Mapping[str, Any]) -> dict[str, Any]:
    reads = find_generator(params["method"]).reads
    return {name: value for name, value in params.items() if name not in reads}


def _read_digests(params: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """Return name and digest of each file that a method reads, by the parameter that names it."""
    reads = find_generator(params["method"]).reads
    paths = {name: params[name] for name in reads if params[name] is not None}
    return {
        name: [[file.name, digest_url(file)] for file in find_corpus(path)]
        for name, path in paths.items()
    }


def write_generated(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write what the methods make of `target` and `pool`.

    Raises:
        UserError: nothing at all was kept, or the engine does not answer.
    """
    engine = engine_of(runtime)
    limits = Limits.model_validate(params["limits"])
    novelty_index = index_existing_rows(inputs, runtime["embedder"])
    ends = MethodEndings()
    candidates: list[Candidate] = []
    with EngineClient(engine, cache=Cache(Path(runtime["cache"])), limits=limits) as client:
        for i, method_params in enumerate(runtime["methods"]):
            method, run = method_params["method"], None
            generator = find_generator(method)
            try:
                run = _start(i, params, inputs, novelty_index, runtime, client)
                generator.make(run, generator.params.model_validate(method_params))
            except LowYield as error:
                ends.stopped[method] = str(error)
            except UserError as error:
                ends.failed[method] = str(error)
            candidates += _finish(out, run) if run else []
            if not ends.note(method, client):
                break
        if not any(candidate.reject_reason is None for candidate in candidates):
            if not client.stopped:
                client.forget_useless()
            raise UserError(
                f"generate: {_explain_no_rows(client, candidates, ends, len(runtime['methods']))}"
            )
        client.warn_useless()
        bill, spent = manifest_of(client), client.counts()
    return {**_write(out, candidates, bill, ends), "llm": spent}


@dataclass
class MethodEndings:
    """How methods ended that did not end by themselves: at a limit, or by a fault of their own."""

    stopped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def note(self, method: str, client: EngineClient) -> bool:
        """Take note of how a method ended; return whether there is a next one's turn.

        A fault of one method or of its calls ends that method; a limit ends all.
        """
        sentence = client.stopped
        if sentence is not None and not client.resume():
            self.stopped[method] = sentence
            self.failed.pop(method, None)
            return False
        fault = sentence or self.failed.get(method) or client.unheard(method)
        if fault and method not in self.stopped:
            self.failed[method] = fault.removeprefix(f"{method}: ")
            LOG.warning("generate: %s failed: %s", method, self.failed[method])
        return True

    @property
    def faults(self) -> str:
        """Return the faults of all methods that failed, a shared one once; empty if none did."""
        if len(set(self.failed.values())) < 2:
            return next(iter(self.failed.values()), "")
        return "; ".join(f"{method}: {fault}" for method, fault in self.failed.items())


def _finish(out: Path, run: Generation) -> list[Candidate]:
    """Write a method's tables; return its candidates."""
    for name, table in run.tables.items():
        table.write_parquet(out / f"{run.method}-{name}.parquet")
    LOG.info(
        "generate: %s: %d of %d candidates kept", run.method, len(run.kept), len(run.candidates)
    )
    return run.candidates


def index_existing_rows(
    inputs: Mapping[str, Artifact], embedder: Mapping[str, Any]
) -> NoveltyIndex:
    """Return what novelty is measured against: all rows of the inputs, read batch by batch."""
    novelty_index = NoveltyIndex(lambda texts: embed_texts(texts, embedder))
    for artifact in inputs.values():
        for batch in read_batches(artifact.file("rows.parquet"), BATCH_ROWS, ["messages"]):
            rows = batch.column("messages").to_pylist()
            prompts = [prompt_text(messages) for messages in rows]
            texts = [f"{p}\n{response_text(m)}" for p, m in zip(prompts, rows, strict=True)]
            novelty_index.add(prompts, texts)
    return novelty_index


def _start(
    place: int,
    params: Mapping[str, Any],
    inputs: Mapping[str, Artifact],
    novelty_index: NoveltyIndex,
    runtime: Mapping[str, Any],
    client: EngineClient,
) -> Generation:
    """Return the run of the method at a place; its filters know the target rows and the pool.

    Raises:
        UserError: it cannot read its files.
    """

    def embed(texts: Sequence[str]) -> NDArray[Any]:
        return embed_texts(texts, runtime["embedder"])

    if "faults" in params and params["faults"][place]:
        raise UserError(params["faults"][place])
    method_params = runtime["methods"][place]
    prompts = _prompts(method_params["method"], runtime["prompts"], params["prompts"][place])
    method = GenerateParams.model_validate(
        {n: method_params[n] for n in GenerateParams.model_fields}
    )
    leaks = PromptFragments(prompts[name].fixed_text for name in prompts.names())
    target = (
        read_examples(read_table(inputs["target"].file("rows.parquet")))
        if "target" in inputs
        else []
    )
    return Generation(
        method=method_params["method"],
        seed=params["seed"],
        target=target,
        pool=scan_table(inputs["pool"].file("rows.parquet")),
        client=client,
        prompts=prompts,
        candidate_filter=CandidateFilter(
            method.filters, embed, leaks, novelty_index, _by_template(params, runtime)
        ),
        embed=embed,
        guard=YieldGuard(method_params["method"], least=method.least_yield, after=JUDGED_AFTER),
        digests={name: dict(files) for name, files in params["reads"][place].items()},
    )


def _by_template(params: Mapping[str, Any], runtime: Mapping[str, Any]) -> FindRejection | None:
    """Return what finds turns that the base model's template does not take, None if it reads none."""
    if "template" not in params:
        return None
    tokenizer = load_tokenizer(Path(runtime["base"]["folder"]), runtime["base"]["trust"])
    system = params["template"]["system"]

    def find(messages: Sequence[Message]) -> tuple[RejectReason, str] | None:
        fault = find_lasting_fault(tokenizer, messages, system)
        return None if fault is None else (RejectReason(fault[0].value), fault[1])

    return find


def _write(
    out: Path, candidates: Sequence[Candidate], bill: Mapping[str, Any], ends: MethodEndings
) -> Counts:
    rows = rows_of(candidates, SOURCE)
    rows.write_parquet(out / "rows.parquet")
    table_of(candidates).write_parquet(out / "candidates.parquet")
    methods = {
        name: count_reject_reasons(c for c in candidates if c.method == name)
        for name in dict.fromkeys(c.method for c in candidates)
    }
    outcome = {"methods": methods, "stopped": ends.stopped}
    outcome |= {"failed": ends.failed} if ends.failed else {}
    write_json(out / "bill.json", {**bill, **outcome})
    return {"rows_in": len(candidates), "rows_out": rows.height, **outcome}


def _explain_no_rows(
    client: EngineClient, candidates: Sequence[Candidate], ends: MethodEndings, methods: int
) -> str:
    """Return why there is no row: a limit, methods that failed, or what candidates lack."""
    if ends.stopped:
        return f"nothing was kept before the end: {next(iter(ends.stopped.values()))}"
    if len(ends.failed) == methods:
        return ends.faults
    together = client.faults.together
    if together.sentence is not None and not together.heard:
        return together.sentence
    dropped = count_reject_reasons(candidates)["dropped"]
    why = ", ".join(f"{count} {name}" for name, count in dropped.items()) or "no answer came"
    advice = f"no candidate was kept ({why}); use a larger model or other prompts"
    return ". ".join(part for part in (advice, ends.faults, together.sample()) if part)
