"""Token counts of rows in the base model, for budgets and for controls of the same size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table, rows_at_once, scan_table
from curate.models.chat import tokenise
from curate.models.imitations import FILE, SCHEMA, find_imitations
from curate.models.load import load_tokenizer, template_of

VERSION = 1
BATCH_ROWS = 2_000


def tokens_step(
    rows: Artifact, kept: Artifact, identity: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Step:
    """Return the step that counts the kept rows in tokens of a model with this identity."""
    inputs = {"rows": rows, "kept": kept}
    return Step("tokens", VERSION, count_tokens, inputs, {"model": template_of(identity)}, runtime)


def uncounted_step(kept: Artifact) -> Step:
    """Return the step that lists the kept rows without counting them, for recipes without a model."""
    return Step("tokens-uncounted", VERSION, write_uncounted, {"kept": kept})


def write_uncounted(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write tokens.parquet (row_id, tokens), all tokens null."""
    kept = read_table(inputs["kept"].file("kept.parquet"), columns=["row_id"])
    kept.with_columns(tokens=pl.lit(None, dtype=pl.Int64)).write_parquet(out / "tokens.parquet")
    return {"rows_in": kept.height, "rows_out": kept.height}


def count_tokens(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write tokens.parquet (row_id, tokens): lengths of the rendered kept rows, uncut.

    Rows that imitate the chat template are named in imitations.parquet, if there are any.
    """
    tokenizer = load_tokenizer(Path(runtime["folder"]), runtime["trust"])
    rows = scan_table(inputs["rows"].file("rows.parquet"))
    kept = scan_table(inputs["kept"].file("kept.parquet")).select("row_id")
    kept_rows = rows.select("row_id", "messages").join(
        kept, on="row_id", how="semi", maintain_order="left"
    )
    ids, counts, imitations = [], [], [pl.DataFrame(schema=SCHEMA)]
    size = rows_at_once(inputs["rows"].file("rows.parquet"), BATCH_ROWS)
    for batch in kept_rows.collect_batches(chunk_size=size, maintain_order=True):
        ids.append(batch["row_id"])
        messages = batch["messages"].to_list()
        counts += [len(row) for row in tokenise(tokenizer, messages, None)]
        imitations.append(find_imitations(tokenizer, batch["row_id"], messages))
    frame = pl.DataFrame(
        {"row_id": pl.concat(ids) if ids else [], "tokens": counts},
        schema={"row_id": pl.String, "tokens": pl.Int64},
    )
    frame.write_parquet(out / "tokens.parquet")
    imitating = pl.concat(imitations)
    if imitating.height:
        imitating.write_parquet(out / FILE)
    return {"rows_in": frame.height, "rows_out": frame.height, "tokens": sum(counts)}
