"""Rows that the base model's chat template refuses, dropped before anything is scored.

    Conversation roles must alternate user/assistant/...      two user turns in a row (Gemma, Mistral)
    System role not supported                                 a system turn (Gemma 2)
    it leaves the system turn out                             silently (Mistral 7B v0.3, Nemo)

So are rows of whose responses it leaves nothing as it was, since nothing of them could be labelled.

The verdicts are a stage's: evidence.parquet has one line a row, details.parquet what the template said.
The same rule holds for example sets and for rows that a stage makes. Where system turns may be merged, a
row is replaced by another one; an example stays what it is in its file, and is read as merged.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.core.calls import CallRunner, Table, cached_files
from curate.core.derived_rows import derive_rows, derived_id
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.reasons import Reason
from curate.core.rows import SCHEMA
from curate.core.run import StepRun
from curate.core.stage import APPENDED
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Counts
from curate.core.tableparts import SurvivorPart, survivor_parts
from curate.core.tables import read_table, write_table
from curate.core.turntext import CONVERSATION, conversations
from curate.models.acceptance import MERGE, find_fault, merge_system
from curate.models.load import load_tokenizer, template_source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAME = "template"
VERSION = 8
BATCH_ROWS = 2_000
NAMED = 3
DETAILS = pl.Schema({"row_id": pl.String, "reason": pl.String, "detail": pl.String})


def judge_by_template(
    run: CallRunner, base: ModelSource, rows: Table, examples: Mapping[str, Table], system: str
) -> list[Artifact]:
    """Return the verdicts of a model's chat template on rows, and then on examples.

    Args:
        run: runs the steps.
        base: the model.
        rows: the pool.
        examples: those example sets that the model reads, by name.
        system: "merge" if rows and examples may be replaced by such without a system turn.
    """
    model, merge, data = template_source(base), system == MERGE, StageInputs(rows)
    verdicts = write_verdicts.call(data, run.map(write_faults, survivor_parts(data), model, merge))
    on_examples = [
        write_examples.call(table, model, merge).named(f"{NAME}-{name}")
        for name, table in examples.items()
    ]
    return run.results([verdicts, *on_examples])


def judge_appended(run: StepRun, name: str, appended: Table, data: StageInputs) -> Artifact:
    """Return the verdicts on rows that a stage has made, which were no part of the pool before.

    Args:
        run: names the base model.
        name: of the verdicts.
        appended: these rows.
        data: rows, these among them, and the evidence of earlier stages.
    """
    parts = survivor_parts(StageInputs(appended))
    faults = run.map(write_faults, parts, template_source(run.base), merge=False)
    return run.result(write_verdicts.call(data, faults).named(name))


@cached_files(version=VERSION, name=f"{NAME}-faults", title="Try the chat template")
def write_faults(out: Path, rows: SurvivorPart, model: ModelSource, merge: bool) -> Counts:
    """Write details.parquet (DETAILS): the rows of a part that are dropped, and why.

    Where system turns may be merged, made.parquet has the rows that replace others, if there are any.
    """
    tokenizer, count, parts = load_tokenizer(model.folder, model.trust), 0, []
    for batch in rows.batches(["row_id", *CONVERSATION], BATCH_ROWS):
        count += batch.height
        parts.append(find_refusals(tokenizer, batch["row_id"].to_list(), conversations(batch)))
    details = pl.concat([pl.DataFrame(schema=DETAILS), *parts])
    if merge and details.height:
        batches = rows.batches(SCHEMA.names, BATCH_ROWS)
        refused = pl.concat(_refused(batch.drop("position"), details) for batch in batches)
        details, replacing = _merge(tokenizer, refused, details)
        if replacing.height:
            replacing.write_parquet(out / f"{APPENDED}.parquet")
    details.write_parquet(out / "details.parquet")
    return {"rows_in": count, "rows_out": count - details.height}


@cached_files(version=VERSION, name=NAME)
def write_verdicts(out: Path, data: StageInputs, faults: Sequence[Artifact]) -> Counts:
    """Write evidence.parquet, and details.parquet (DETAILS) of the rows that are dropped.

    Where system turns were merged, made.parquet has the rows that replace others.
    """
    details = pl.concat([Table(part, "details").read() for part in faults])
    replacing = [Table(part, APPENDED) for part in faults if f"{APPENDED}.parquet" in part.files]
    if replacing:
        write_table(pl.concat([t.scan() for t in replacing]), out / f"{APPENDED}.parquet")
    reasons_by_id = details.lazy().select("row_id", "reason")
    ids = data.survivors().select("row_id")
    reasons = ids.join(reasons_by_id, on="row_id", how="left", maintain_order="left")
    evidence = reasons.select(
        "row_id",
        keep=pl.col("reason").is_null(),
        reason="reason",
        score=pl.lit(None, dtype=pl.Float64),
        threshold=pl.lit(None, dtype=pl.Float64),
        duplicate_of=pl.when(pl.col("reason") == Reason.SYSTEM_MERGED.value).then(
            pl.col("row_id").map_elements(_merged_id, return_dtype=pl.String)
        ),
    )
    write_table(evidence, out / "evidence.parquet")
    write_table(details, out / "details.parquet")
    rows = ids.select(pl.len()).collect().item()
    counts = {"rows_in": rows, "rows_out": rows - details.height}
    dropped = dict(details.group_by("reason").len().sort("reason").iter_rows())
    return {**counts, "dropped": dropped} if dropped else counts


@cached_files(version=VERSION, name=f"{NAME}-examples")
def write_examples(out: Path, rows: Table, model: ModelSource, merge: bool) -> Counts:
    """Write details.parquet (DETAILS), and rows.parquet if system turns are merged: all the examples.

    A merged one has the id of the example, by which its line in the file is found.
    """
    tokenizer, examples = load_tokenizer(model.folder, model.trust), rows.read()
    ids, messages = examples["row_id"].to_list(), conversations(examples.select(CONVERSATION))
    details, replacing = find_refusals(tokenizer, ids, messages), pl.DataFrame()
    if merge:
        details, replacing = _merge(tokenizer, _refused(examples, details), details)
    details.write_parquet(out / "details.parquet")
    counts = {"rows_in": examples.height, "rows_out": examples.height}
    if not replacing.height:
        return counts
    merged = replacing.with_columns(row_id=pl.col("parents").list.first())
    others = examples.join(merged.select("row_id"), on="row_id", how="anti")
    order = examples.select("row_id")
    order.join(
        pl.concat([others, merged]), on="row_id", how="left", maintain_order="left"
    ).write_parquet(out / "rows.parquet")
    return {**counts, "merged": merged.height}


def _refused(rows: pl.DataFrame, details: pl.DataFrame) -> pl.DataFrame:
    """Return those of some rows that the template refuses."""
    ids = details.filter(reason=Reason.TEMPLATE_REFUSED.value).select("row_id")
    return rows.join(ids, on="row_id", how="semi", maintain_order="left")


def _merged_id(row_id: str) -> str:
    return derived_id(row_id, MERGE)


def _merge(
    tokenizer: "PreTrainedTokenizerBase", rows: pl.DataFrame, details: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the details with those refused rows that are merged, and what replaces these."""
    merged = [merge_system(messages) for messages in conversations(rows)]
    fits = [m is not None and find_fault(tokenizer, m) is None for m in merged]
    parents = rows.filter(pl.Series(fits, dtype=pl.Boolean))
    turns = [m for m, fit in zip(merged, fits, strict=True) if fit and m is not None]
    replaced = pl.col("row_id").is_in(parents["row_id"].to_list())
    reason = pl.when(replaced).then(pl.lit(Reason.SYSTEM_MERGED.value)).otherwise("reason")
    return details.with_columns(reason=reason), derive_rows(parents, turns, MERGE)


def find_refusals(
    tokenizer: "PreTrainedTokenizerBase",
    row_ids: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> pl.DataFrame:
    """Return the rows that the chat template refuses or rewrites, with what was at fault (DETAILS)."""
    faults = [(row_id, find_fault(tokenizer, m)) for row_id, m in zip(row_ids, rows, strict=True)]
    lines = [(row_id, fault[0].value, fault[1]) for row_id, fault in faults if fault]
    return pl.DataFrame(lines, schema=DETAILS, orient="row")


def refusal_sentence(details: pl.DataFrame) -> str:
    """Return how many rows the template refuses or rewrites, why, and the first of them."""
    words = details.group_by("detail").len().sort("len", "detail", descending=[True, False])
    whys = [f"{detail} ({count:,})" for detail, count in words.head(NAMED).iter_rows()]
    ids = details["row_id"].head(NAMED).to_list()
    rest = details.height - len(ids)
    return (
        f"{details.height:,} row{'s are' if details.height > 1 else ' is'} refused by the base "
        f"model's chat template: {'; '.join(whys)}; {', '.join(ids)}"
        + (f" and {rest:,} more" if rest else "")
    )


def refused_rows(verdicts: Sequence[Artifact], rendered: Sequence[str]) -> str | None:
    """Return what is to be told of the rows that the template refuses; None if it takes them all.

    Args:
        verdicts: on the pool, and then on the examples.
        rendered: the sets of examples that the model is bound to read.

    Raises:
        UserError: it refuses every row, or an example: none of these may be left out.
    """
    pool, *examples = (read_table(artifact.file("details.parquet")) for artifact in verdicts)
    merged = {"rows": pool.filter(reason=Reason.SYSTEM_MERGED.value).height}
    for artifact, details in zip(verdicts[1:], examples, strict=True):
        name = artifact.name.removeprefix(f"{NAME}-")
        merged[f"{name} examples"] = artifact.counts.get("merged", 0)
        # An example whose response is rewritten can still be read; the proof counts it as unscored.
        refused = details.filter(reason=Reason.TEMPLATE_REFUSED.value)
        if refused.height and name in rendered:
            raise UserError(
                f"{name}: {refusal_sentence(refused)}; take "
                "them out, or choose a models.base whose template takes them"
            )
    pool = pool.filter(pl.col("reason") != Reason.SYSTEM_MERGED.value)
    if pool.height and not verdicts[0].counts["rows_out"] and not merged["rows"]:
        raise UserError(
            f"pool: {refusal_sentence(pool)}; no row is left, so choose another models.base"
        )
    notes = [
        f"{name} whose system text was put into their first user turn: {count:,}"
        for name, count in merged.items()
        if count
    ]
    return "; ".join([*([refusal_sentence(pool)] if pool.height else []), *notes]) or None
