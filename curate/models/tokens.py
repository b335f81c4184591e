"""Token counts of rows in the base model, for budgets and for controls of the same size."""

from pathlib import Path

import numpy as np
import polars as pl

from curate.core.calls import Table, cached, cached_files
from curate.core.keyed import ModelSource
from curate.core.run import StepRun
from curate.core.store import Counts
from curate.core.tables import rows_at_once
from curate.core.turntext import CONVERSATION, conversations
from curate.models.chat import tokenise
from curate.models.imitations import FILE, SCHEMA, find_imitations
from curate.models.load import load_tokenizer, template_source

VERSION = 1
BATCH_ROWS = 2_000


@cached(version=VERSION, name="tokens-uncounted")
def tokens(kept: Table) -> pl.DataFrame:
    """Return row_id and tokens, all null: the kept rows of a recipe without a model."""
    return kept.read(["row_id"]).with_columns(tokens=pl.lit(None, dtype=pl.Int64))


def count_tokens(run: StepRun, rows: Table, kept: Table) -> Table:
    """Return the kept rows (row_id, tokens), counted in tokens of the base model."""
    return Table(run(write_tokens, rows, kept, template_source(run.base)), "tokens")


@cached_files(version=VERSION, name="tokens")
def write_tokens(out: Path, rows: Table, kept: Table, model: ModelSource) -> Counts:
    """Write tokens.parquet (row_id, tokens): lengths of the rendered kept rows, uncut.

    Rows that imitate the chat template are named in imitations.parquet, if there are any.
    """
    tokenizer = load_tokenizer(model.folder, model.trust)
    kept_rows = (
        rows.scan()
        .select("row_id", *CONVERSATION)
        .join(kept.scan().select("row_id"), on="row_id", how="semi", maintain_order="left")
    )
    ids, counts, imitations = [], [np.empty(0, dtype=np.int64)], [pl.DataFrame(schema=SCHEMA)]
    size = rows_at_once(rows.paths, BATCH_ROWS)
    for batch in kept_rows.collect_batches(chunk_size=size, maintain_order=True):
        ids.append(batch["row_id"])
        messages = conversations(batch)
        counts.append(np.array([len(row) for row in tokenise(tokenizer, messages, None)], np.int64))
        imitations.append(find_imitations(tokenizer, batch["row_id"], messages))
    frame = pl.DataFrame(
        {"row_id": pl.concat(ids) if ids else [], "tokens": np.concatenate(counts)},
        schema={"row_id": pl.String, "tokens": pl.Int64},
    )
    frame.write_parquet(out / "tokens.parquet")
    imitating = pl.concat(imitations)
    if imitating.height:
        imitating.write_parquet(out / FILE)
    return {"rows_in": frame.height, "rows_out": frame.height, "tokens": int(frame["tokens"].sum())}
