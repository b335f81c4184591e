"""The generation methods of a recipe, run one after the other, over one bill.

It writes rows.parquet (the kept rows), candidates.parquet (all that was made, with reasons) and what
tables methods leave; bill.json says what it cost. A method that fails, for what it reads or for what it
is answered, ends alone: the rows of the others are kept, and log, bill and report say so. A run that is
killed pays for nothing twice, since answers are kept in a cache beside the store.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from curate.core.calls import Table, cached_files
from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.keyed import EmbedderSource, EngineSource, ModelSource
from curate.core.methods import find_method
from curate.core.rows import Message, prompt_text, response_text
from curate.core.run import StepRun
from curate.core.store import Artifact, Counts, write_json
from curate.core.tables import read_batches
from curate.core.wants import Wants
from curate.generate.candidates import Candidate, RejectReason, rows_of, table_of
from curate.generate.corpus import CorpusFiles, find_corpus
from curate.generate.engines import Engines, NamedEngine, open_client, own_engines, wants_of
from curate.generate.generation import Generation, Generator, read_examples
from curate.generate.settings import GenerationSettings
from curate.generate.shots import token_encoder
from curate.generate.sift import (
    CandidateFilter,
    FindRejection,
    NoveltyIndex,
    PromptFragments,
    count_reject_reasons,
)
from curate.llm.ask import EngineClient, manifest_of
from curate.llm.limits import Limits, LowYield, YieldGuard
from curate.llm.prompts import MethodPrompts
from curate.models.acceptance import find_lasting_fault
from curate.models.chat import tokenise
from curate.models.embed import embed_texts
from curate.models.load import load_tokenizer, template_source
from curate.models.tokenvectors import encode_tokens
from curate.pool.files import PoolFile, digest_url

LOG = logging.getLogger("curate")
VERSION = 4
SOURCE = "generated"
JUDGED_AFTER = 50
BATCH_ROWS = 2_000


@dataclass(frozen=True)
class MethodSource:
    """A generation method of a recipe: its parameters, and the files and prompts that it reads.

    params: as the recipe has them, paths among them.
    prompts_folder: of the user's own prompts.
    files: name and digest of each file that it reads, by the parameter that names it.
    prompts: the digests of its prompts, by their names.
    fault: why it cannot read them.
    engines: of its own, by the parameters that name them.
    """

    params: Mapping[str, JSON]
    prompts_folder: str | None
    files: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None
    engines: Mapping[str, Sequence[EngineSource]] = field(default_factory=dict)
    reads: tuple[Artifact, ...] = ()

    @property
    def name(self) -> str:
        """Return the method's name."""
        return str(self.params["method"])

    @property
    def identity(self) -> dict[str, Any]:
        """Return the parameters, what its files and prompts say, and the version of its code."""
        generator = find_method(Generator, self.name)
        fields = generator.model_fields
        params = {
            name: value
            for name, value in self.params.items()
            if name not in (*generator.reads, *generator.own_engines)
            and not (name in generator.later and value == fields[name].default)
        }
        identity = {
            "params": params,
            "files": self.files,
            "prompts": self.prompts,
            "version": generator.version,
        }
        parts = [part for name in generator.reads if (part := _held_out(self.params[name]))]
        identity |= {"held_out": parts} if parts else {}
        engines = {name: [one.identity for one in ones] for name, ones in self.engines.items()}
        identity |= {"engines": engines} if engines else {}
        return {**identity, "fault": self.fault} if self.fault else identity

    def load_prompts(self) -> MethodPrompts:
        """Return its prompts, which must still have their digests."""
        return _prompts(self.name, self.prompts_folder, self.prompts)


def generate_rows(
    run: StepRun,
    generate: GenerationSettings,
    pool: Table,
    target: Table | None,
    prompts: Table | None = None,
    *,
    system: str | None = None,
) -> Artifact:
    """Return what the methods of a recipe make; the key holds what files and prompts say.

    Args:
        run: for its seed, embedder, engine and base model.
        generate: the recipe's `generate`.
        pool: the rows so far.
        target: the target examples, where there are any.
        prompts: prompts without a response, where there are any.
        system: what becomes of system turns that the base model's chat template refuses (models.system);
            None if the base model reads no row.

    Raises:
        UserError: a file that a method reads, or a model, is not there; nothing at all was kept, or the
            engine does not answer.
    """
    methods = [
        method_source(
            method.model_dump(mode="json"),
            generate.prompts,
            own_engines(run, method, method.own_engines),
        )
        for method in generate.methods
    ]
    faults = [method.fault for method in methods]
    if None not in faults:
        raise UserError("; ".join(dict.fromkeys(str(fault) for fault in faults)))
    return run(
        write_generated,
        pool=pool,
        target=target,
        prompts=prompts,
        methods=methods,
        engine=run.engine(generate.engine) if any(m.asks for m in generate.methods) else None,
        embedder=run.embedder(),
        limits=generate.limits.model_dump(mode="json"),
        seed=run.seed,
        system=system,
        encoder=token_encoder(run) if reads_tokens(generate.methods) else None,
        template=None if system is None else template_source(run.base),
        tokenizer=template_source(run.base) if counts_tokens(generate.methods) else None,
    )


def reads_tokens(methods: Sequence[Generator]) -> bool:
    """Return whether a method compares texts token by token."""
    return any(method.reads_tokens for method in methods)


def counts_tokens(methods: Sequence[Generator]) -> bool:
    """Return whether a method counts tokens of the base model."""
    return any(method.counts_tokens for method in methods)


def generation_wants(
    engine: EngineSource | None, methods: Sequence[MethodSource], **_others: object
) -> Wants:
    """Return what the generation wants: a GPU if one of its engines is a model in this process."""
    others = [one for method in methods for ones in method.engines.values() for one in ones]
    return wants_of(engine, others)


def method_source(
    params: Mapping[str, JSON],
    folder: str | None,
    engines: Mapping[str, Sequence[EngineSource]] | None = None,
) -> MethodSource:
    """Return a method with the digests of what it reads, or with why it cannot read it."""
    try:
        prompts = dict(_prompts(str(params["method"]), folder).digests())
        own = engines or {}
        return MethodSource(params, folder, _read_digests(params), prompts, engines=own)
    except UserError as error:
        return MethodSource(params, folder, fault=str(error))


def _prompts(
    method: str, folder: str | None, digests: Mapping[str, str] | None = None
) -> MethodPrompts:
    templates = find_method(Generator, method).templates or method
    return MethodPrompts(templates, Path(folder) if folder else None, digests)


def _read_digests(params: Mapping[str, JSON]) -> dict[str, list[tuple[str, str]]]:
    """Return name and digest of each file that a method reads, by the parameter that names it."""
    return {
        name: [(file.name, file.digest or digest_url(file)) for file in files]
        for name, files in find_sources(params).items()
    }


def find_sources(params: Mapping[str, JSON]) -> dict[str, list[PoolFile]]:
    """Return the files that a method reads, by the parameter that names them.

    Raises:
        UserError: nothing is there.
    """
    reads = find_method(Generator, str(params["method"])).reads
    sources = {name: params[name] for name in reads if params[name] is not None}
    return {name: find_corpus(_corpus(source), name) for name, source in sources.items()}


def _held_out(value: JSON) -> list[JSON]:
    """Return which part of a corpus is read, nothing where that is all of it."""
    if not isinstance(value, Mapping) or not value.get("held_out"):
        return []
    return [value["held_out"], value["held_out_seed"], value["part"]]


def _corpus(value: JSON) -> CorpusFiles:
    """Return what a method's parameters say of a corpus: its path, or that with its split and so on."""
    return CorpusFiles.model_validate({"path": value} if isinstance(value, str) else value)


@cached_files(version=VERSION, name="generate", wants=generation_wants)
def write_generated(
    out: Path,
    pool: Table,
    methods: Sequence[MethodSource],
    engine: EngineSource | None,
    embedder: EmbedderSource,
    limits: Mapping[str, JSON],
    seed: int,
    target: Table | None = None,
    prompts: Table | None = None,
    system: str | None = None,
    template: ModelSource | None = None,
    encoder: EmbedderSource | None = None,
    tokenizer: ModelSource | None = None,
) -> Counts:
    """Write what the methods make of `target`, `prompts` and `pool`.

    Raises:
        UserError: nothing at all was kept, or the engine does not answer.
    """
    fault = find_template_fault(template, system)
    surroundings = Surroundings(
        pool, target, embedder, seed, fault, prompts, encoder, tokenizer=tokenizer
    )
    ends = MethodEndings()
    candidates: list[Candidate] = []
    with ExitStack() as stack:
        client = stack.enter_context(open_client(engine, Limits.model_validate(limits)))
        engines = Engines(engine, client, stack)
        for method in methods:
            run = None
            generator = find_method(Generator, method.name).model_validate(method.params)
            try:
                run = surroundings.start(method, generator, client, engines.of(method.engines))
                generator.generate(run)
            except LowYield as error:
                ends.stopped[method.name] = str(error)
            except UserError as error:
                ends.failed[method.name] = str(error)
            candidates += _finish(out, run) if run else []
            if not ends.note(method.name, engines.clients):
                break
        if not any(candidate.reject_reason is None for candidate in candidates):
            for one in () if client.stopped else engines.clients:
                one.forget_useless()
            raise UserError(f"generate: {_explain_no_rows(client, candidates, ends, len(methods))}")
        client.warn_useless()
        own = {"own_engines": engines.own_names} if engines.own_names else {}
        bill, spent = {**manifest_of(client), **own}, client.counts()
    return {**_write(out, candidates, bill, ends), "llm": spent}


@dataclass
class MethodEndings:
    """How methods ended that did not end by themselves: at a limit, or by a fault of their own."""

    stopped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def note(self, method: str, clients: Sequence[EngineClient]) -> bool:
        """Take note of how a method ended; return whether there is a next one's turn.

        A fault of one method or of its calls ends that method; a limit ends all. The clients share
        their faults.
        """
        client = clients[0]
        sentence = next((one.stopped for one in clients if one.stopped is not None), None)
        if sentence is not None and not all([one.resume() for one in clients]):
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


class Surroundings:
    """What all methods share: pool, target examples, what novelty is measured against, the template."""

    def __init__(
        self,
        pool: Table,
        target: Table | None,
        embedder: EmbedderSource,
        seed: int,
        template_fault: FindRejection | None,
        unanswered: Table | None = None,
        encoder: EmbedderSource | None = None,
        *,
        tokenizer: ModelSource | None = None,
    ) -> None:
        self.pool, self.target, self.unanswered = pool, target, unanswered
        self.embedder, self.seed = embedder, seed
        self.template_fault = template_fault
        self.encoder = partial(encode_tokens, name=encoder.name) if encoder else None
        self.token_counter = partial(row_lengths, tokenizer) if tokenizer else None
        self.novelty_index = NoveltyIndex(self.embed)
        for table in [pool, *([target] if target else [])]:
            add_existing_rows(self.novelty_index, table)

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return unit vectors [N, d] of texts."""
        return embed_texts(texts, self.embedder.name)

    def start(
        self,
        source: MethodSource,
        generator: Generator,
        client: EngineClient,
        engines: Mapping[str, Sequence[NamedEngine]] | None = None,
    ) -> Generation:
        """Return the run of a method; its filters know the target rows and the pool.

        Raises:
            UserError: it cannot read its files.
        """
        if source.fault:
            raise UserError(source.fault)
        prompts = source.load_prompts()
        leaks = PromptFragments(prompts[name].fixed_text for name in prompts.names())
        return Generation(
            method=source.name,
            seed=self.seed,
            target=read_examples(self.target.read()) if self.target else [],
            unanswered=read_examples(self.unanswered.read()) if self.unanswered else [],
            pool=self.pool.scan(),
            client=client,
            prompts=prompts,
            candidate_filter=CandidateFilter(
                generator.filters, self.embed, leaks, self.novelty_index, self.template_fault
            ),
            embed=self.embed,
            guard=YieldGuard(source.name, least=generator.least_yield, after=JUDGED_AFTER),
            digests={name: dict(files) for name, files in source.files.items()},
            encoder=self.encoder,
            token_counter=self.token_counter,
            engines=engines or {},
        )


def add_existing_rows(novelty_index: NoveltyIndex, table: Table) -> None:
    """Add all rows of a table to what novelty is measured against, batch by batch."""
    for batch in read_batches(table.paths, BATCH_ROWS, ["messages"]):
        rows = batch.column("messages").to_pylist()
        prompts = [prompt_text(messages) for messages in rows]
        texts = [f"{p}\n{response_text(m)}" for p, m in zip(prompts, rows, strict=True)]
        novelty_index.add(prompts, texts)


def row_lengths(model: ModelSource, rows: Sequence[Sequence[Message]]) -> list[int]:
    """Return the length of each row in a model's chat template, in its tokens."""
    tokenizer = load_tokenizer(model.folder, model.trust)
    return [len(ids) for ids in tokenise(tokenizer, rows, None)]


def find_template_fault(model: ModelSource | None, system: str | None) -> FindRejection | None:
    """Return what finds turns that the base model's template does not take, None if it reads none."""
    if model is None or system is None:
        return None
    tokenizer = load_tokenizer(model.folder, model.trust)

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
