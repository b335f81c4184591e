"""Token counts of rows in the base model, for budgets and for controls of the same size."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from curate.core.calls import Table, cached, cached_files
from curate.core.keyed import ModelSource
from curate.core.run import StepRun
from curate.core.store import Artifact, Counts
from curate.core.tableparts import SurvivorPart, kept_parts
from curate.core.tables import read_table, write_table
from curate.core.turntext import CONVERSATION, conversations
from curate.models.chat import tokenise
from curate.models.imitations import FILE, SCHEMA, find_imitations
from curate.models.load import load_tokenizer, template_source

VERSION = 1
PARTS_VERSION = 2
BATCH_ROWS = 2_000
TABLE = "tokens"
COUNTS = ("rows_in", "rows_out", "tokens")
TOKENS = pl.Schema({"row_id": pl.String, "tokens": pl.Int64})


@cached(version=VERSION, name="tokens-uncounted")
def tokens(kept: Table) -> pl.DataFrame:
    """Return row_id and tokens, all null: the kept rows of a recipe without a model."""
    return kept.read(["row_id"]).with_columns(tokens=pl.lit(None, dtype=pl.Int64))


def count_tokens(run: StepRun, rows: Table, kept: Table) -> Table:
    """Return the kept rows (row_id, tokens), counted in tokens of the base model.

    Args:
        run: runs the steps, and names the model.
        rows: the pool.
        kept: row_id and position of the rows that are counted.
    """
    parts = run.map(write_tokens, kept_parts(rows, kept), template_source(run.base))
    return Table(parts[0] if len(parts) == 1 else run(write_all_tokens, parts), TABLE)


@cached_files(version=PARTS_VERSION, name="tokens")
def write_tokens(out: Path, rows: SurvivorPart, model: ModelSource) -> Counts:
    """Write tokens.parquet (TOKENS): lengths of the rendered rows of a part, uncut.

    Rows that imitate the chat template are named in imitations.parquet, if there are any.
    """
    tokenizer = load_tokenizer(model.folder, model.trust)
    counts, imitations = [pl.DataFrame(schema=TOKENS)], [pl.DataFrame(schema=SCHEMA)]
    for batch in rows.batches(["row_id", *CONVERSATION], BATCH_ROWS):
        messages = conversations(batch)
        lengths = [len(ids) for ids in tokenise(tokenizer, messages, None)]
        counts.append(pl.DataFrame({"row_id": batch["row_id"], "tokens": lengths}, schema=TOKENS))
        imitations.append(find_imitations(tokenizer, batch["row_id"], messages))
    table = pl.concat(counts)
    table.write_parquet(out / f"{TABLE}.parquet")
    _write_imitations(out, pl.concat(imitations))
    return {"rows_in": table.height, "rows_out": table.height, "tokens": int(table["tokens"].sum())}


@cached_files(version=VERSION, name="tokens-of-all")
def write_all_tokens(out: Path, parts: Sequence[Artifact]) -> Counts:
    """Write tokens.parquet and imitations.parquet of parts, one behind the other."""
    write_table(pl.concat([Table(part, TABLE).scan() for part in parts]), out / f"{TABLE}.parquet")
    imitations = [read_table(part.file(FILE)) for part in parts if FILE in part.files]
    _write_imitations(out, pl.concat([pl.DataFrame(schema=SCHEMA), *imitations]))
    return {name: sum(part.counts[name] for part in parts) for name in COUNTS}


def _write_imitations(out: Path, imitations: pl.DataFrame) -> None:
    if imitations.height:
        imitations.write_parquet(out / FILE)
