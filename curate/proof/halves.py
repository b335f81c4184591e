"""Two halves of an eval set: by one a method is chosen, by the other what was chosen is judged.

Which half an example is in follows from its prompt and the seed, not from its place in the file, and
examples with one prompt are in one half. Sources and origins are halved one by one.
"""

import hashlib

import polars as pl

from curate.core.calls import CachedCall, Counted, Table, cached
from curate.core.errors import UserError
from curate.core.preferences import is_pair
from curate.core.rows import normalise, prompt_text

VERSION = 1
CHOICE, VERDICT = "choice", "verdict"
# From so many examples on, the 95 % interval of a paired difference is within half a standard deviation
# of single ones: t(0.975, n - 1) / sqrt(n) <= 1/2. With fewer, all but huge differences are noise.
LEAST = 18


def half_call(eval_rows: Table, examples: Table, half: str, seed: int) -> CachedCall[Table]:
    """Return the call that takes one half of an eval set.

    Args:
        eval_rows: the eval set as it was given, which decides on the halves.
        examples: the same, or as the model reads it.
        half: CHOICE or VERDICT.
        seed: of the run.
    """
    return rows.call(eval_rows, examples, half, seed).named(f"eval-{half}")


@cached(version=VERSION, name="eval-half")
def rows(eval: Table, rows: Table, half: str, seed: int) -> Counted[pl.DataFrame]:
    """Return the examples of one half, in the order of the eval set."""
    of_half = split_examples(eval.read(), seed).filter(half=half)
    examples = rows.read()
    chosen = examples.join(of_half, on="row_id", how="semi", maintain_order="left")
    return Counted(chosen, {"rows_in": examples.height})


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


def check_halves(eval_rows: Table, *, by_pairs: bool = False) -> None:
    """Fail where an eval set is too small to be halved.

    Args:
        eval_rows: the eval set.
        by_pairs: whether models are measured on its pairs alone.

    Raises:
        UserError: it is; how many examples a race needs.
    """
    rows = eval_rows.read()
    if by_pairs:
        rows = rows.filter(is_pair())
    prompts, what = _prompt_keys(rows, 0).n_unique(), "pairs" if by_pairs else "examples"
    if prompts < 2 * LEAST:
        raise UserError(
            f"target.eval has {rows.height} {what} with {prompts} different prompts, so that one half "
            f"of it would have {prompts // 2}; select.method: race needs {LEAST} in each half, by one "
            f"of which it chooses and by the other the winner is judged: give at least {2 * LEAST} "
            "different prompts, or name one method"
        )
