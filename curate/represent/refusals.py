"""Rows that the base model's chat template refuses, dropped before anything is scored.

    Conversation roles must alternate user/assistant/...      two user turns in a row (Gemma, Mistral)
    System role not supported                                 a system turn (Gemma 2)

So are rows of whose responses it leaves nothing as it was, since nothing of them could be labelled.

The verdicts are a stage's: evidence.parquet has one line a row, details.parquet what the template said.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.errors import UserError
from curate.reasons import Reason
from curate.registry import MADE
from curate.represent.chat import has_label, refusal
from curate.rows import Message
from curate.store import Artifact, Counts, Step
from curate.tables import read_table, rows_at_once, scan_table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAME, MERGE = "template", "merge"
VERSION = 3
BATCH_ROWS = 2_000
NAMED = 3
DETAILS = pl.Schema({"row_id": pl.String, "reason": pl.String, "detail": pl.String})


def template_steps(
    rows: Artifact,
    examples: Mapping[str, Artifact],
    identity: Mapping[str, Any],
    hints: Mapping[str, Any],
    system: str,
) -> list[Step]:
    """Return the steps that judge rows, and then examples, by a model's chat template.

    Args:
        rows: the pool.
        examples: those example sets that the model reads, by name.
        identity: of the model.
        hints: where it lies.
        system: "merge" if rows of the pool may be replaced by such without a system turn.
    """
    params = {"model": {k: v for k, v in identity.items() if k in ("tokenizer", "chat_template")}}
    named = {NAME: rows} | {f"{NAME}-{name}": artifact for name, artifact in examples.items()}
    return [
        Step(
            name,
            VERSION,
            write_verdicts,
            {"rows": artifact},
            {**params, "merge": name == NAME and system == "merge"},
            hints,
        )
        for name, artifact in named.items()
    ]


def write_verdicts(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write evidence.parquet, and details.parquet (DETAILS) of the rows that are dropped.

    Where system turns may be merged, made.parquet has the rows that replace others.
    """
    from curate.models import load_tokenizer

    tokenizer = load_tokenizer(Path(hints["folder"]), hints["trust"])
    path = inputs["rows"].file("rows.parquet")
    rows = scan_table(path).select("row_id", "messages")
    parts = [pl.DataFrame(schema=DETAILS)]
    for batch in rows.collect_batches(
        chunk_size=rows_at_once(path, BATCH_ROWS), maintain_order=True
    ):
        parts.append(
            find_refusals(tokenizer, batch["row_id"].to_list(), batch["messages"].to_list())
        )
    details = pl.concat(parts)
    if params["merge"]:
        details = _merge(tokenizer, path, details, out)
    ids = read_table(path, columns=["row_id"])
    reasons = ids.join(
        details.select("row_id", "reason"), on="row_id", how="left", maintain_order="left"
    )
    evidence = reasons.select(
        "row_id",
        keep=pl.col("reason").is_null(),
        reason="reason",
        score=pl.lit(None, dtype=pl.Float64),
        threshold=pl.lit(None, dtype=pl.Float64),
        twin_id=pl.when(pl.col("reason") == Reason.SYSTEM_MERGED.value).then(
            pl.col("row_id").map_elements(_merged_id, return_dtype=pl.String)
        ),
    )
    evidence.write_parquet(out / "evidence.parquet")
    details.write_parquet(out / "details.parquet")
    counts = {"rows_in": ids.height, "rows_out": ids.height - details.height}
    dropped = dict(details.group_by("reason").len().sort("reason").iter_rows())
    return {**counts, "dropped": dropped} if dropped else counts


def _merged_id(row_id: str) -> str:
    from curate.judge.made import made_id

    return made_id(row_id, MERGE)


def _merge(
    tokenizer: "PreTrainedTokenizerBase", path: Path, details: pl.DataFrame, out: Path
) -> pl.DataFrame:
    """Write the rows that the template takes without a system turn; return the details with these."""
    from curate.judge.made import remade

    refused = details.filter(reason=Reason.TEMPLATE_REFUSED.value).select("row_id").lazy()
    rows = scan_table(path).join(refused, on="row_id", how="semi", maintain_order="left").collect()
    merged = [merge_system(messages) for messages in rows["messages"].to_list()]
    fits = [m is not None and refusal(tokenizer, m) is None for m in merged]
    parents = rows.filter(pl.Series(fits, dtype=pl.Boolean))
    turns = [m for m, fit in zip(merged, fits, strict=True) if fit and m is not None]
    remade(parents, turns, MERGE).write_parquet(out / f"{MADE}.parquet")
    replaced = pl.col("row_id").is_in(parents["row_id"].to_list())
    reason = pl.when(replaced).then(pl.lit(Reason.SYSTEM_MERGED.value)).otherwise("reason")
    return details.with_columns(reason=reason)


def merge_system(messages: Sequence[Message]) -> list[Message] | None:
    """Return turns whose first one is the user's, opened by the system text; None if that cannot be."""
    if len(messages) < 2 or [m["role"] for m in messages[:2]] != ["system", "user"]:
        return None
    content = "\n\n".join(m["content"] for m in messages[:2] if m["content"].strip())
    return [{"role": "user", "content": content}, *messages[2:]]


def find_refusals(
    tokenizer: "PreTrainedTokenizerBase",
    row_ids: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> pl.DataFrame:
    """Return the rows that the chat template refuses or rewrites, with what was at fault (DETAILS)."""
    lines = []
    for row_id, messages in zip(row_ids, rows, strict=True):
        words = refusal(tokenizer, messages)
        if words is not None:
            lines.append((row_id, Reason.TEMPLATE_REFUSED.value, words))
        elif not has_label(tokenizer, messages):
            lines.append((row_id, Reason.TEMPLATE_REWRITTEN.value, "no response is as it was"))
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


def refused_rows(verdicts: Sequence[Artifact]) -> str | None:
    """Return what is to be told of the rows that the template refuses; None if it takes them all.

    Args:
        verdicts: on the pool, and then on the examples.

    Raises:
        UserError: it refuses every row, or an example: none of these may be left out.
    """
    pool, *examples = (read_table(artifact.file("details.parquet")) for artifact in verdicts)
    for artifact, details in zip(verdicts[1:], examples, strict=True):
        # An example whose response is rewritten can still be read; the proof counts it as unscored.
        refused = details.filter(reason=Reason.TEMPLATE_REFUSED.value)
        if refused.height:
            raise UserError(
                f"{artifact.name.removeprefix(f'{NAME}-')}: {refusal_sentence(refused)}; take them "
                "out, or choose a models.base whose template takes them"
            )
    merged = pool.filter(reason=Reason.SYSTEM_MERGED.value).height
    pool = pool.filter(pl.col("reason") != Reason.SYSTEM_MERGED.value)
    if pool.height and not verdicts[0].counts["rows_out"] and not merged:
        raise UserError(
            f"pool: {refusal_sentence(pool)}; no row is left, so choose another models.base"
        )
    notes = [f"rows whose system text was put into their first user turn: {merged:,}"] * bool(
        merged
    )
    return "; ".join([*([refusal_sentence(pool)] if pool.height else []), *notes]) or None
