"""The step that runs the generation methods of a recipe, one after the other, over one bill.

It writes rows.parquet (the kept rows), candidates.parquet (all that was made, with reasons) and what
tables methods leave; bill.json says what it cost. A run that is killed pays for nothing twice, since
answers are kept in a cache beside the store.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from curate.errors import UserError
from curate.generate.ask import Asker, manifest_of
from curate.generate.cache import Cache
from curate.generate.candidates import Candidate, rows_of, table_of
from curate.generate.corpus import find_corpus
from curate.generate.engines import engine_of
from curate.generate.generation import (
    GenerateParams,
    Generation,
    find_generator,
    read_examples,
)
from curate.generate.limits import Limits, LowYield, YieldGuard
from curate.generate.prompts import Prompts
from curate.generate.sift import Known, Leaks, Sieve, count_flaws
from curate.pool.files import digest_url
from curate.rows import prompt_text, response_text
from curate.store import Artifact, Counts, Step, write_json
from curate.tables import read_batches, read_table, scan_table

if TYPE_CHECKING:
    from curate.config import Generate
    from curate.registry import ScoreRun

LOG = logging.getLogger("curate")
VERSION = 1
SOURCE = "generated"
JUDGED_AFTER = 50
BATCH_ROWS = 2_000


def generate_step(run: "ScoreRun", wanted: "Generate", inputs: Mapping[str, Artifact]) -> Step:
    """Return the step that makes rows; its key holds what files and prompts say, not where they lie.

    Args:
        run: for its seed, embedder and engine.
        wanted: the recipe's `generate`.
        inputs: `pool`, and `target` where there is one.

    Raises:
        UserError: a file that a method reads, or a model, is not there.
    """
    identity, embedding = run.embedder()
    engine, hints = run.engine(wanted.engine)
    methods = [params.model_dump(mode="json") for params in wanted.methods]
    told = {
        "methods": [_without_paths(params) for params in methods],
        "reads": [_read_digests(params) for params in methods],
        "prompts": [dict(_prompts(p["method"], wanted.prompts).digests()) for p in methods],
        "versions": [find_generator(params["method"]).version for params in methods],
        "engine": engine,
        "embedder": identity,
        "limits": wanted.limits.model_dump(mode="json"),
        "seed": run.seed,
    }
    places = {**hints, "methods": methods, "prompts": wanted.prompts, "embedder": embedding}
    return Step("generate", VERSION, write_generated, dict(inputs), told, places)


def _prompts(method: str, folder: str | None, digests: Mapping[str, str] | None = None) -> Prompts:
    return Prompts(method, Path(folder) if folder else None, digests)


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
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write what the methods make of `target` and `pool`.

    Raises:
        UserError: nothing at all was kept, or the engine does not answer.
    """
    engine = engine_of(hints)
    limits = Limits.model_validate(params["limits"])
    known = know_rows(inputs, hints["embedder"])
    made: list[Candidate] = []
    stopped: dict[str, str] = {}
    with Asker(engine, cache=Cache(Path(hints["cache"])), limits=limits) as asker:
        for i, told in enumerate(hints["methods"]):
            prompts = _prompts(told["method"], hints["prompts"], params["prompts"][i])
            run = _start(told, inputs, known, params["seed"], hints, asker, prompts)
            run.digests = {name: dict(files) for name, files in params["reads"][i].items()}
            generator = find_generator(told["method"])
            try:
                generator.make(run, generator.params.model_validate(told))
            except LowYield as error:
                stopped[run.method] = str(error)
            for name, table in run.tables.items():
                table.write_parquet(out / f"{run.method}-{name}.parquet")
            made += run.made
            LOG.info(
                "generate: %s: %d of %d candidates kept", run.method, len(run.kept), len(run.made)
            )
            if asker.stopped:
                stopped[run.method] = asker.stopped
                break
        if not any(candidate.flaw is None for candidate in made):
            if not asker.stopped:
                asker.forget_useless()
            raise UserError(f"generate: {_why_nothing(asker, made, stopped)}")
        asker.warn_useless()
        bill, spent = manifest_of(asker), asker.counts()
    return {**_write(out, made, bill, stopped), "llm": spent}


def know_rows(inputs: Mapping[str, Artifact], embedder: Mapping[str, Any]) -> Known:
    """Return what novelty is measured against: all rows of the inputs, read batch by batch."""
    from curate.represent.embed import embed_texts

    known = Known(lambda texts: embed_texts(texts, embedder))
    for artifact in inputs.values():
        for batch in read_batches(artifact.file("rows.parquet"), BATCH_ROWS, ["messages"]):
            rows = batch.column("messages").to_pylist()
            prompts = [prompt_text(messages) for messages in rows]
            texts = [f"{p}\n{response_text(m)}" for p, m in zip(prompts, rows, strict=True)]
            known.add(prompts, texts)
    return known


def _start(
    told: Mapping[str, Any],
    inputs: Mapping[str, Artifact],
    known: Known,
    seed: int,
    hints: Mapping[str, Any],
    asker: Asker,
    prompts: Prompts,
) -> Generation:
    """Return a method's run; its filters know the target rows and the pool."""
    from curate.represent.embed import embed_texts

    def embed(texts: Sequence[str]) -> NDArray[Any]:
        return embed_texts(texts, hints["embedder"])

    method = GenerateParams.model_validate({n: told[n] for n in GenerateParams.model_fields})
    leaks = Leaks(prompts[name].fixed_text for name in prompts.names())
    target = (
        read_examples(read_table(inputs["target"].file("rows.parquet")))
        if "target" in inputs
        else []
    )
    return Generation(
        method=told["method"],
        seed=seed,
        target=target,
        pool=scan_table(inputs["pool"].file("rows.parquet")),
        asker=asker,
        prompts=prompts,
        sieve=Sieve(method.filters, embed, leaks, known),
        embed=embed,
        guard=YieldGuard(told["method"], least=method.least_yield, after=JUDGED_AFTER),
    )


def _write(
    out: Path, made: Sequence[Candidate], bill: Mapping[str, Any], stopped: Mapping[str, str]
) -> Counts:
    rows = rows_of(made, SOURCE)
    rows.write_parquet(out / "rows.parquet")
    table_of(made).write_parquet(out / "candidates.parquet")
    methods = {
        name: count_flaws(c for c in made if c.method == name)
        for name in dict.fromkeys(c.method for c in made)
    }
    write_json(out / "bill.json", {**bill, "methods": methods, "stopped": dict(stopped)})
    return {
        "rows_in": len(made),
        "rows_out": rows.height,
        "methods": methods,
        "stopped": dict(stopped),
    }


def _why_nothing(asker: Asker, candidates: Sequence[Candidate], stopped: Mapping[str, str]) -> str:
    """Return why there is no row: a limit, a server without answers, or what candidates lack."""
    if stopped:
        return f"nothing was kept before the end: {next(iter(stopped.values()))}"
    together = asker.faults.together
    if together.sentence is not None and not together.heard:
        return together.sentence
    dropped = count_flaws(candidates)["dropped"]
    why = ", ".join(f"{count} {name}" for name, count in dropped.items()) or "no answer came"
    advice = f"no candidate was kept ({why}); use a larger model or other prompts"
    return f"{advice}. {together.sample()}".removesuffix(". ")
