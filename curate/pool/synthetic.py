"""Rows that a model wrote for an eval set: the mark in records, and what verdicts say of them."""

from dataclasses import asdict, dataclass

import polars as pl

from curate.core.jsontypes import JSON

KEY = "synthetic"
PATH = f"$.{KEY}"


@dataclass(frozen=True)
class SyntheticMark:
    """What the record of each row of a written eval set says under `synthetic`.

    held_out, seed: the share of the corpus that was held out, and by which seed.
    """

    writer: str
    engine: str
    method: str
    corpus: str
    held_out: float
    seed: int

    def record(self) -> dict[str, JSON]:
        """Return the mark as a row's field."""
        return asdict(self)


def synthetic_sentence(rows: pl.DataFrame) -> str | None:
    """Return what a verdict by these eval rows has to say; None if a model wrote none of them."""
    # A field of that name may be a user's own; the mark has these two.
    marks = rows.select(
        pl.col("meta").str.json_path_match(f"{PATH}.{name}").alias(name)
        for name in ("writer", "held_out")
    ).drop_nulls()
    if not marks.height:
        return None
    by = " and ".join(marks["writer"].unique(maintain_order=True))
    whole = marks.height == rows.height
    how_many = f"all {rows.height:,}" if whole else f"{marks.height:,} of {rows.height:,}"
    return (
        f"The eval set is {'' if whole else 'partly '}synthetic: {how_many} examples were written by "
        f"{by} from documents that were held out, and the verdict is on those, not on what users ask."
    )
