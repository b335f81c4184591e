"""Two halves of an eval set: by one a method is chosen, by the other what was chosen is judged.

Which half an example is in follows from its prompt and the seed, not from its place in the file, and
examples with one prompt are in one half. Sources and origins are halved one by one.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from curate.core.errors import UserError
from curate.core.rows import normalise, prompt_text
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table

VERSION = 1
CHOICE, VERDICT = "choice", "verdict"
# From so many examples on, the 95 % interval of a paired difference is within half a standard deviation
# of single ones: t(0.975, n - 1) / sqrt(n) <= 1/2. With fewer, all but huge differences are noise.
LEAST = 18


def half_step(eval_rows: Artifact, rows: Artifact, half: str, seed: int) -> Step:
    """Return the step that writes one half of an eval set.

    Args:
        eval_rows: the eval set as it was given, which decides on the halves.
        rows: the same, or as the model reads it.
        half: CHOICE or VERDICT.
        seed: of the run.
    """
    inputs = {"eval": eval_rows, "rows": rows}
    return Step(f"eval-{half}", VERSION, write_half, inputs, {"half": half, "seed": seed})


def write_half(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write rows.parquet: the examples of one half, in the order of the eval set."""
    halves = split_examples(read_table(inputs["eval"].file("rows.parquet")), params["seed"])
    rows = read_table(inputs["rows"].file("rows.parquet"))
    of_half = halves.filter(half=params["half"])
    chosen = rows.join(of_half, on="row_id", how="semi", maintain_order="left")
    chosen.write_parquet(out / "rows.parquet")
    return {"rows_in": rows.height, "rows_out": chosen.height}


def split_examples(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return row_id and half of examples; prompts in random order take turns within each origin.

    Args:
        rows: an eval set.
        seed: of the order.
    """
    origin = pl.concat_str("source", pl.col("origin").fill_null(""), separator="\x1f")
    keyed = rows.select("row_id", origin.alias("origin"), prompt=_prompt_keys(rows, seed))
    prompts = keyed.group_by("prompt").agg(pl.col("origin").min()).sort("origin", "prompt")
    # The verdict has the odd one.
    choice = pl.int_range(pl.len()) % 2 == 1
    halves = prompts.select(
        "prompt", half=pl.when(choice).then(pl.lit(CHOICE)).otherwise(pl.lit(VERDICT))
    )
    return keyed.join(halves, on="prompt", maintain_order="left").select("row_id", "half")


def _prompt_keys(rows: pl.DataFrame, seed: int) -> pl.Series:
    """Return a digest of each prompt and the seed, whose order is a random one."""
    texts = [normalise(prompt_text(messages)) for messages in rows["messages"].to_list()]
    digests = (hashlib.blake2b(f"{seed}\x1f{t}".encode(), digest_size=16) for t in texts)
    return pl.Series([digest.hexdigest() for digest in digests], dtype=pl.String)


def check_halves(eval_rows: Artifact) -> None:
    """Fail where an eval set is too small to be halved.

    Raises:
        UserError: it is; how many examples a race needs.
    """
    rows = read_table(eval_rows.file("rows.parquet"))
    prompts = _prompt_keys(rows, 0).n_unique()
    if prompts < 2 * LEAST:
        raise UserError(
            f"target.eval has {rows.height} examples with {prompts} different prompts, so that one half "
            f"of it would have {prompts // 2}; select.method: race needs {LEAST} in each half, by one "
            f"of which it chooses and by the other the winner is judged: give at least {2 * LEAST} "
            "different prompts, or name one method"
        )
