"""An eval set from the documents that a recipe's generators leave out: marked, and never in the pool.

The recipe's own method, with its own engine and limits, asks and answers from the held-out part of its
corpus (`corpus: {path, held_out: 0.2}`), under another seed, so that its questions are others. Each row
has `synthetic` in its record, which a proof says in its verdict. What is asked at most is logged
beforehand. A file that is there stays, unless the same examples come once more.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.config.recipe import Config
from curate.core.bucket import open_store
from curate.core.errors import UserError
from curate.core.store import Artifact
from curate.core.tables import read_table
from curate.core.turntext import plain_messages
from curate.generate.corpus import CorpusFiles, document_of
from curate.generate.generation import Generator
from curate.generate.outcome import RowWriter, outcome_line, outcomes_of, writer_of
from curate.generate.settings import GenerationSettings
from curate.generate.step import generate_rows
from curate.pipeline.inputs import input_sets
from curate.pipeline.run import ExecuteAll, Run
from curate.pool.rowset import read_sets
from curate.pool.synthetic import KEY, SyntheticMark
from curate.runs.housekeeping import at_work

LOG = logging.getLogger("curate")
# What a proof can tell apart from chance.
ENOUGH = 100
SEED_STEP = 0x5EED
KEPT_NOTES = ("question", "answerable", "cited", "document")


@dataclass(frozen=True)
class WrittenEvalSet:
    """An eval set as it was written.

    path: of the file, JSON Lines.
    rows: how many examples it has.
    documents: from how many held-out documents they were written.
    lines: a sentence for each method.
    """

    path: Path
    rows: int
    documents: int
    lines: Sequence[str]


def write_eval_set(config: Config, out: Path, execute_all: ExecuteAll) -> WrittenEvalSet:
    """Write an eval set by a recipe's methods from what they hold out of their corpora.

    Raises:
        UserError: no method holds anything out, the file has other examples, an input is at fault, or
            nothing at all was kept.
    """
    methods = held_out_methods(config)
    _check_file(out, methods)
    with at_work(store := open_store(config.store)):
        run = Run(_other_seed(config), store, execute_all)
        artifact = _generate(run, config, methods)
    bill = orjson.loads(artifact.file("bill.json").read_bytes())
    rows = read_table(artifact.file("rows.parquet"))
    writer = writer_of(bill, config.model_dump(mode="json"))
    assert writer is not None, "a method that reads a corpus asks an engine"
    marks = _marks(methods, writer)
    records = list(_records(rows, marks))
    _write(out, b"".join(orjson.dumps(record) + b"\n" for record in records))
    outcomes = outcomes_of(bill, [method.method for method in methods])
    documents = {name for record in records for name in record[KEY]["documents"]}
    return WrittenEvalSet(
        out, len(records), len(documents), [outcome_line(one) for one in outcomes]
    )


def held_out_methods(config: Config) -> list[Generator]:
    """Return the methods that hold a part of their corpus out, reading that part.

    Raises:
        UserError: none does.
    """
    generators = config.generate.methods if config.generate else []
    methods = [
        generator.model_copy(update={"corpus": corpus.model_copy(update={"part": "held_out"})})
        for generator in generators
        if (corpus := _corpus(generator)) and corpus.held_out
    ]
    if not methods:
        raise UserError(
            "evalset: no generator of the recipe holds documents out; give one that reads a corpus a "
            "share, e.g. {method: search_instruct, corpus: {path: docs/, held_out: 0.2}}"
        )
    return methods


def _corpus(generator: Generator) -> CorpusFiles | None:
    corpus = getattr(generator, "corpus", None)
    return corpus if isinstance(corpus, CorpusFiles) else None


def _other_seed(config: Config) -> Config:
    """Return a recipe under whose seed methods ask other questions than under its own."""
    return config.model_copy(update={"seed": (config.seed + SEED_STEP) % 2**63})


def _generate(run: Run, config: Config, methods: Sequence[Generator]) -> Artifact:
    """Return what the methods write; the eval set itself may not be there yet."""
    target = config.target and config.target.model_copy(update={"eval": None})
    without: dict[str, Any] = {"target": target, "protected": [], "prove": None, "rehearse": None}
    sets = input_sets(config.model_copy(update=without))
    read = dict(zip(sets, read_sets(run, list(sets.values())), strict=True))
    assert config.generate is not None
    settings = config.generate
    generate = GenerationSettings.model_construct(
        engine=settings.engine, limits=settings.limits, prompts=settings.prompts, methods=methods
    )
    given = {name: table.height for name, table in read.items()}
    for method in methods:
        LOG.info("evalset: %s", _most_asked(method, given.get("target", 0), given["pool"]))
    system = config.models.system if config.reads_base else None
    return generate_rows(
        run, generate, read["pool"], read.get("target"), read.get("prompts"), system=system
    )


def _most_asked(method: Generator, targets: int, pool_rows: int) -> str:
    """Return what a method asks at most, of the whole corpus: the held-out part is smaller."""
    work = method.cost(targets, pool_rows)
    return (
        f"{method.method} asks at most {work.calls:,} calls with answers up to {work.answer_tokens:,} "
        "tokens, within the recipe's limits"
    )


def _write(out: Path, content: bytes) -> None:
    """Write the file whole.

    Raises:
        UserError: it has other examples.
    """
    if out.exists() and out.read_bytes() != content:
        raise UserError(
            f"{out} has other examples than this recipe writes now; give the name of a new file, or "
            "remove it: the answers are stored, and are not paid for again"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}")
    draft.write_bytes(content)
    draft.replace(out)


def _check_file(out: Path, methods: Sequence[Generator]) -> None:
    """Fail where the file is no eval set of ours, or one of another corpus: it would be lost."""
    if out.suffix != ".jsonl":
        raise UserError(f"{out}: an eval set is JSON Lines; give a name that ends in .jsonl")
    if not out.exists():
        return
    with out.open("rb") as file:
        first = file.readline()
    mark = _mark_of(first)
    if mark is None:
        raise UserError(f"{out} is no eval set that was written here; give the name of a new file")
    if not any(mark.items() >= _part_of(method).items() for method in methods):
        raise UserError(
            f"{out} is an eval set of another method, corpus or held-out part; give the name of a new "
            "file, or remove it"
        )


def _mark_of(line: bytes) -> dict[str, Any] | None:
    """Return the mark of a line of an eval set; None if it has none, whatever else it holds."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    mark = record.get(KEY) if isinstance(record, dict) else None
    return mark if isinstance(mark, dict) else None


def _part_of(method: Generator) -> dict[str, Any]:
    """Return what a method's mark says of the part of its corpus."""
    corpus = _corpus(method)
    assert corpus is not None, "the methods were chosen by their corpus"
    return {
        "method": method.method,
        "corpus": corpus.path,
        "held_out": corpus.held_out,
        "seed": corpus.held_out_seed,
    }


def _marks(methods: Sequence[Generator], writer: RowWriter) -> dict[str, SyntheticMark]:
    """Return the mark of each method's rows, by the model and the engine that wrote them."""
    return {
        method.method: SyntheticMark(writer=writer.model, engine=writer.engine, **_part_of(method))
        for method in methods
    }


def _records(rows: pl.DataFrame, marks: Mapping[str, SyntheticMark]) -> Iterator[dict[str, Any]]:
    """Yield the lines of the file: turns, and the mark with the documents that an answer is from."""
    for row in rows.iter_rows(named=True):
        notes = orjson.loads(row["meta"])
        passages = notes.get("cited") or [notes[name] for name in ("document",) if name in notes]
        # In one field: of others, layouts may think that they are part of the conversation.
        mark = {
            **marks[row["method"]].record(),
            "documents": sorted(set(map(document_of, passages))),
            **{name: notes[name] for name in KEPT_NOTES if name in notes},
        }
        yield {"messages": plain_messages(row["messages"]), KEY: mark}
